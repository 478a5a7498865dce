#include "tests/integration/hand_off.h"

#include <type_traits>

namespace baton_test {

using baton::EventKind;
using baton::Status;

baton::GrantRequest grant_request_of(const HandOffSide& target, const HandOffOptions& options) {
  baton::GrantRequest request;
  request.peer = target.peer;
  request.cache = target.pool->cache();
  request.source_cache = "kv";
  request.tag = options.tag;
  request.tokens = options.tokens;
  request.block_lists = {target.blocks};
  request.deadline_ms = options.deadline_ms;
  request.lease_ms = options.lease_ms;
  return request;
}

baton::ReadGrantRequest read_request_of(const HandOffSide& source, const HandOffOptions& options) {
  baton::ReadGrantRequest request;
  request.peer = source.peer;
  request.cache = source.pool->cache();
  request.target_cache = "kv";
  request.tag = options.tag;
  request.tokens = options.tokens;
  request.block_lists = {source.blocks};
  request.deadline_ms = options.deadline_ms;
  request.lease_ms = options.lease_ms;
  return request;
}

namespace {

template <typename Handles>
EventKind event_kind_of(const Handles& handle) {
  const bool is_grant = std::visit(
      [](const auto& one) {
        using Handle = std::decay_t<decltype(one)>;
        return std::is_same_v<Handle, baton::Grant> || std::is_same_v<Handle, baton::ReadGrant>;
      },
      handle);
  return is_grant ? EventKind::kGrantEnded : EventKind::kTransferEnded;
}

SourceEnd make_push(const HandOffSide& source, const HandOffOptions& options) {
  baton::PushRequest request;
  request.grant = require(source.context->wait_offer(options.tag, 20000), "wait_offer").id;
  request.cache = source.pool->cache();
  request.block_lists = {source.blocks};
  return SourceEnd(require(source.context->push(request), "push"));
}

TargetEnd make_pull(const HandOffSide& target, const HandOffOptions& options) {
  baton::PullRequest request;
  request.grant = require(target.context->wait_offer(options.tag, 20000), "wait_offer").id;
  request.cache = target.pool->cache();
  request.block_lists = {target.blocks};
  return TargetEnd(require(target.context->pull(request), "pull"));
}

}  // namespace

bool SourceEnd::is_valid() const {
  return std::visit([](const auto& one) { return one.is_valid(); }, handle_);
}
baton::State SourceEnd::state() const {
  return std::visit([](const auto& one) { return one.state(); }, handle_);
}
Status SourceEnd::status() const {
  return std::visit([](const auto& one) { return one.status(); }, handle_);
}
Status SourceEnd::submit_chunk(const baton::ChunkPlan& chunk) {
  return std::visit([&](auto& one) { return one.submit_chunk(chunk); }, handle_);
}
Status SourceEnd::seal() {
  return std::visit([](auto& one) { return one.seal(); }, handle_);
}
void SourceEnd::cancel(const std::string& reason) {
  std::visit([&](auto& one) { one.cancel(reason); }, handle_);
}
Status SourceEnd::wait(uint32_t timeout_ms) const {
  return std::visit([&](const auto& one) { return one.wait(timeout_ms); }, handle_);
}
baton::TransferRecord SourceEnd::record() const {
  return std::visit([](const auto& one) { return one.record(); }, handle_);
}
EventKind SourceEnd::event_kind() const { return event_kind_of(handle_); }

bool TargetEnd::is_valid() const {
  return std::visit([](const auto& one) { return one.is_valid(); }, handle_);
}
baton::State TargetEnd::state() const {
  return std::visit([](const auto& one) { return one.state(); }, handle_);
}
Status TargetEnd::status() const {
  return std::visit([](const auto& one) { return one.status(); }, handle_);
}
baton::Gate TargetEnd::gate(uint32_t layer) const {
  return std::visit([&](const auto& one) { return one.gate(layer); }, handle_);
}
baton::Gate TargetEnd::all() const {
  return std::visit([](const auto& one) { return one.all(); }, handle_);
}
void TargetEnd::cancel(const std::string& reason) {
  std::visit([&](auto& one) { one.cancel(reason); }, handle_);
}
Status TargetEnd::wait(uint32_t timeout_ms) const {
  return std::visit([&](const auto& one) { return one.wait(timeout_ms); }, handle_);
}
baton::GrantRecord TargetEnd::record() const {
  return std::visit([](const auto& one) { return one.record(); }, handle_);
}
EventKind TargetEnd::event_kind() const { return event_kind_of(handle_); }

HandOff HandOff::make(const HandOffSide& source, const HandOffSide& target,
                      const HandOffOptions& options) {
  HandOff made;
  made.by = options.by;
  made.tokens = options.tokens;
  if (options.by == By::kPush) {
    made.target =
        TargetEnd(require(target.context->grant(grant_request_of(target, options)), "grant"));
    made.source = make_push(source, options);
  } else {
    made.source = SourceEnd(
        require(source.context->offer_read(read_request_of(source, options)), "offer_read"));
    made.target = make_pull(target, options);
  }
  made.word = require(source.context->create_progress_word(), "create_progress_word");
  return made;
}

void HandOff::submit(uint32_t layers) {
  require_ok(source.submit_chunk({tokens, &word, 0}), "submit_chunk");
  if (layers > 0) require_ok(word.advance_to(layers), "advance_to");
}

}  // namespace baton_test
