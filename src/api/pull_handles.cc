// The public handles of pulled hand-offs: each forwards to the Context that made it.
#include "baton/pull.h"
#include "src/api/context_impl.h"
#include "src/api/counted.h"
#include "src/api/wait_life.h"
#include "src/base/assert.h"
#include "src/handoff/pull_state.h"
#include "src/handoff/read_grant_state.h"

namespace baton {

// ---- ReadGrant

ReadGrant::ReadGrant(std::shared_ptr<api::ContextImpl> context,
                     std::shared_ptr<handoff::ReadGrantState> state)
    : context_(std::move(context)), state_(std::move(state)) {}
ReadGrant::ReadGrant(ReadGrant&&) noexcept = default;
ReadGrant& ReadGrant::operator=(ReadGrant&& other) noexcept {
  if (this != &other) {
    if (state_ != nullptr) cancel("its handle was replaced");
    context_ = std::move(other.context_);
    state_ = std::move(other.state_);
  }
  return *this;
}
ReadGrant::~ReadGrant() {
  if (state_ != nullptr) cancel("its handle was destroyed");
}

GrantId ReadGrant::id() const { return state_->grant; }
State ReadGrant::state() const { return state_->life.state(); }
Status ReadGrant::status() const { return state_->life.status(); }

Status ReadGrant::submit_chunk(const ChunkPlan& chunk) {
  return api::counted(*context_, BusyCall::kSubmitChunk, context_->submit_chunk(state_, chunk));
}
Status ReadGrant::seal() {
  return api::counted(*context_, BusyCall::kSeal, context_->seal(state_));
}

void ReadGrant::cancel(std::string reason) {
  context_->cancel_transfer(state_, Status(StatusCode::kCancelled, std::move(reason)));
}
Status ReadGrant::wait(uint32_t timeout_ms) const {
  return api::wait_life(*context_, state_->life, timeout_ms, state_->describe());
}
TransferRecord ReadGrant::record() const { return state_->record(); }

// ---- Pull

Pull::Pull(std::shared_ptr<api::ContextImpl> context, std::shared_ptr<handoff::PullState> state)
    : context_(std::move(context)), state_(std::move(state)) {}
Pull::Pull(Pull&&) noexcept = default;
Pull& Pull::operator=(Pull&& other) noexcept {
  if (this != &other) {
    if (state_ != nullptr) cancel("its handle was replaced");
    context_ = std::move(other.context_);
    state_ = std::move(other.state_);
  }
  return *this;
}
Pull::~Pull() {
  if (state_ != nullptr) cancel("its handle was destroyed");
}

TransferId Pull::id() const { return state_->transfer; }
GrantId Pull::grant() const { return state_->id; }
State Pull::state() const { return state_->life.state(); }
Status Pull::status() const { return state_->life.status(); }
uint32_t Pull::num_layers() const { return state_->num_layers; }

Gate Pull::gate(uint32_t layer) const {
  BATON_ASSERT(layer < state_->num_layers, "Pull::gate: the layer's ordinal is below num_layers()");
  return Gate(state_->layers[layer].gate);
}
Gate Pull::all() const { return Gate(state_->all); }

void Pull::cancel(std::string reason) {
  context_->cancel_grant(state_, Status(StatusCode::kCancelled, std::move(reason)));
}
Status Pull::wait(uint32_t timeout_ms) const {
  return api::wait_life(*context_, state_->life, timeout_ms, state_->describe());
}
GrantRecord Pull::record() const { return state_->record(); }

}  // namespace baton
