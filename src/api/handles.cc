// The public handles: each forwards to the Context that made it.
#include "src/api/context_impl.h"
#include "src/api/counted.h"
#include "src/api/wait_life.h"
#include "src/base/assert.h"

namespace baton {

using api::counted;
using api::wait_life;

// ---- Section
// --------------------------------------------------------------------------------------------------------

Section::Section(std::shared_ptr<api::ContextImpl> context,
                 std::shared_ptr<section::SectionRecord> record)
    : context_(std::move(context)), record_(std::move(record)) {}
Section::Section(Section&&) noexcept = default;
Section& Section::operator=(Section&& other) noexcept {
  if (this != &other) {
    if (record_ != nullptr) context_->drop_section(record_);
    context_ = std::move(other.context_);
    record_ = std::move(other.record_);
  }
  return *this;
}
Section::~Section() {
  if (record_ != nullptr) context_->drop_section(record_);
}

SectionId Section::id() const { return record_->id(); }
void* Section::address() const { return record_->address(); }
uint64_t Section::length_bytes() const { return record_->length_bytes(); }
uint32_t Section::users() const { return record_->users(); }

Status Section::close() {
  if (record_ == nullptr) return Status::ok();
  Status closed = context_->close_section(record_);
  if (!closed.is_ok()) return closed;
  record_.reset();
  context_.reset();
  return Status::ok();
}

// ---- KvCache
// --------------------------------------------------------------------------------------------------------

KvCache::KvCache(KvCache&&) noexcept = default;
KvCache& KvCache::operator=(KvCache&& other) noexcept {
  if (this != &other) {
    close();
    context_ = std::move(other.context_);
    layout_ = std::move(other.layout_);
    id_ = other.id_;
  }
  return *this;
}
KvCache::~KvCache() { close(); }

void KvCache::close() {
  if (layout_ == nullptr) return;
  context_->withdraw_cache(id_);
  layout_.reset();
  context_.reset();
}

// ---- Grant
// ----------------------------------------------------------------------------------------------------------

Grant::Grant(std::shared_ptr<api::ContextImpl> context, std::shared_ptr<handoff::GrantState> state)
    : context_(std::move(context)), state_(std::move(state)) {}
Grant::Grant(Grant&&) noexcept = default;
Grant& Grant::operator=(Grant&& other) noexcept {
  if (this != &other) {
    if (state_ != nullptr) cancel("its handle was replaced");
    context_ = std::move(other.context_);
    state_ = std::move(other.state_);
  }
  return *this;
}
Grant::~Grant() {
  if (state_ != nullptr) cancel("its handle was destroyed");
}

GrantId Grant::id() const { return state_->id; }
State Grant::state() const { return state_->life.state(); }
Status Grant::status() const { return state_->life.status(); }
uint32_t Grant::num_layers() const { return state_->num_layers; }

Gate Grant::gate(uint32_t layer) const {
  BATON_ASSERT(layer < state_->num_layers,
               "Grant::gate: the layer's ordinal is below num_layers()");
  return Gate(state_->layers[layer].gate);
}
Gate Grant::all() const { return Gate(state_->all); }

void Grant::cancel(std::string reason) {
  context_->cancel_grant(state_, Status(StatusCode::kCancelled, std::move(reason)));
}
Status Grant::wait(uint32_t timeout_ms) const {
  return wait_life(*context_, state_->life, timeout_ms, state_->describe());
}
GrantRecord Grant::record() const { return state_->record(); }

// ---- GrantGroup
// -----------------------------------------------------------------------------------------------------

GrantGroup::GrantGroup(std::shared_ptr<api::ContextImpl> context,
                       std::shared_ptr<handoff::GrantGroupState> state, std::vector<Grant> grants)
    : context_(std::move(context)), state_(std::move(state)), grants_(std::move(grants)) {}
GrantGroup::GrantGroup(GrantGroup&&) noexcept = default;
GrantGroup& GrantGroup::operator=(GrantGroup&& other) noexcept {
  if (this != &other) {
    if (state_ != nullptr) cancel("its handle was replaced");
    context_ = std::move(other.context_);
    state_ = std::move(other.state_);
    grants_ = std::move(other.grants_);
  }
  return *this;
}
GrantGroup::~GrantGroup() {
  if (state_ != nullptr) cancel("its handle was destroyed");
}

GrantGroupId GrantGroup::id() const { return state_->id; }
State GrantGroup::state() const { return state_->life.state(); }
Status GrantGroup::status() const { return state_->life.status(); }
uint32_t GrantGroup::num_layers() const { return static_cast<uint32_t>(state_->layers.size()); }

Gate GrantGroup::gate(uint32_t layer) const {
  BATON_ASSERT(layer < state_->layers.size(),
               "GrantGroup::gate: the layer's ordinal is below num_layers()");
  return Gate(state_->layers[layer]);
}
Gate GrantGroup::all() const { return Gate(state_->all); }

const Grant* GrantGroup::grant(uint32_t writer) const {
  BATON_ASSERT(writer < grants_.size(), "GrantGroup::grant: the writer is below num_writers()");
  return grants_[writer].is_valid() ? &grants_[writer] : nullptr;
}
std::vector<GrantRecord> GrantGroup::records() const {
  std::vector<GrantRecord> out(grants_.size());
  for (size_t i = 0; i < grants_.size(); ++i) {
    if (grants_[i].is_valid()) out[i] = grants_[i].record();
  }
  return out;
}

// By its Grants: the first that is cancelled fails the group, and one that was complete by then
// stays so.
void GrantGroup::cancel(std::string reason) {
  for (Grant& grant : grants_) {
    if (grant.is_valid()) grant.cancel(reason);
  }
}
Status GrantGroup::wait(uint32_t timeout_ms) const {
  return wait_life(*context_, state_->life, timeout_ms, state_->describe());
}

// ---- Transfer
// -------------------------------------------------------------------------------------------------------

Transfer::Transfer(std::shared_ptr<api::ContextImpl> context,
                   std::shared_ptr<handoff::TransferState> state)
    : context_(std::move(context)), state_(std::move(state)) {}
Transfer::Transfer(Transfer&&) noexcept = default;
Transfer& Transfer::operator=(Transfer&& other) noexcept {
  if (this != &other) {
    if (state_ != nullptr) cancel("its handle was replaced");
    context_ = std::move(other.context_);
    state_ = std::move(other.state_);
  }
  return *this;
}
Transfer::~Transfer() {
  if (state_ != nullptr) cancel("its handle was destroyed");
}

TransferId Transfer::id() const { return state_->id; }
State Transfer::state() const { return state_->life.state(); }
Status Transfer::status() const { return state_->life.status(); }

Status Transfer::submit_chunk(const ChunkPlan& chunk) {
  return counted(*context_, BusyCall::kSubmitChunk, context_->submit_chunk(state_, chunk));
}
Status Transfer::seal() { return counted(*context_, BusyCall::kSeal, context_->seal(state_)); }

void Transfer::cancel(std::string reason) {
  context_->cancel_transfer(state_, Status(StatusCode::kCancelled, std::move(reason)));
}
Status Transfer::wait(uint32_t timeout_ms) const {
  return wait_life(*context_, state_->life, timeout_ms, state_->describe());
}
TransferRecord Transfer::record() const { return state_->record(); }
std::vector<FailedBlock> Transfer::failed_blocks() const { return state_->failed_blocks(); }

// ---- Context
// --------------------------------------------------------------------------------------------------------

Result<Context> Context::create(ContextOptions options) {
  auto impl = api::ContextImpl::create(std::move(options));
  if (!impl.is_ok()) return impl.status();
  return Context(std::move(impl).value());
}

Context::Context(std::shared_ptr<api::ContextImpl> impl) : impl_(std::move(impl)) {}
Context::Context(Context&&) noexcept = default;
Context& Context::operator=(Context&& other) noexcept {
  if (this != &other) {
    if (impl_ != nullptr) impl_->close(0).ignore();
    impl_ = std::move(other.impl_);
  }
  return *this;
}
Context::~Context() {
  if (impl_ != nullptr) impl_->close(0).ignore();
}

const std::string& Context::address() const { return impl_->address(); }
const std::string& Context::name() const { return impl_->name(); }
Result<Section> Context::register_section(SectionOptions options) {
  return impl_->register_section(std::move(options));
}
Result<KvCache> Context::publish_cache(CacheOptions options) {
  return impl_->publish_cache(std::move(options));
}
Result<ProgressWord> Context::create_progress_word() { return impl_->create_progress_word(); }
Result<PeerId> Context::connect(std::string_view address, uint32_t timeout_ms) {
  return impl_->connect(address, timeout_ms);
}
Status Context::disconnect(PeerId peer) { return impl_->disconnect(peer); }
Result<PeerDescription> Context::describe_peer(PeerId peer) const {
  return impl_->describe_peer(peer);
}
std::vector<PeerId> Context::peers() const { return impl_->peers(); }
Status Context::send_message(PeerId peer, uint64_t tag, std::span<const uint8_t> bytes) {
  return counted(*impl_, BusyCall::kSendMessage, impl_->send_message(peer, tag, bytes));
}
Result<Grant> Context::grant(const GrantRequest& request) {
  return counted(*impl_, BusyCall::kGrant, impl_->grant(request));
}
Result<Grant> Context::grant_ranges(const RangeGrantRequest& request) {
  return counted(*impl_, BusyCall::kGrant, impl_->grant_ranges(request));
}
Result<GrantGroup> Context::grant_group(const GrantGroupRequest& request) {
  return counted(*impl_, BusyCall::kGrant, impl_->grant_group(request));
}
Result<GrantOffer> Context::wait_offer(std::string_view tag, uint32_t timeout_ms) {
  return impl_->wait_offer(tag, timeout_ms);
}
Result<Transfer> Context::push(const PushRequest& request) {
  return counted(*impl_, BusyCall::kPush, impl_->push(request));
}
Result<Transfer> Context::write(const RawRequest& request) {
  return counted(*impl_, BusyCall::kWrite, impl_->raw(request, handoff::TransferKind::kWrite));
}
Result<Transfer> Context::read(const RawRequest& request) {
  return counted(*impl_, BusyCall::kRead, impl_->raw(request, handoff::TransferKind::kRead));
}
Result<ReadGrant> Context::offer_read(const ReadGrantRequest& request) {
  return counted(*impl_, BusyCall::kGrant, impl_->offer_read(request));
}
Result<Pull> Context::pull(const PullRequest& request) {
  return counted(*impl_, BusyCall::kPull, impl_->pull(request));
}
size_t Context::poll_events(std::span<Event> out) { return impl_->poll_events(out); }
int Context::event_fd() const { return impl_->event_fd(); }
Result<Event> Context::wait_event(uint32_t timeout_ms) { return impl_->wait_event(timeout_ms); }
uint32_t Context::progress() { return impl_->progress(); }
Status Context::close(uint32_t drain_ms) { return impl_->close(drain_ms); }
Metrics Context::metrics() const { return impl_->metrics(); }
std::string Context::metrics_text() const { return prometheus_text(impl_->metrics()); }
std::string Context::dump(DumpFormat format) const { return impl_->dump(format); }
std::string Context::metrics_address() const { return impl_->metrics_address(); }

}  // namespace baton
