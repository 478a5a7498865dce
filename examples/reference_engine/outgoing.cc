#include "examples/reference_engine/outgoing.h"

namespace baton_engine {

using baton::Status;

baton::State Outgoing::state() const {
  return std::visit([](const auto& handle) { return handle.state(); }, handle_);
}

Status Outgoing::status() const {
  return std::visit([](const auto& handle) { return handle.status(); }, handle_);
}

Status Outgoing::submit_chunk(const baton::ChunkPlan& chunk) {
  return std::visit([&](auto& handle) { return handle.submit_chunk(chunk); }, handle_);
}

Status Outgoing::seal() {
  return std::visit([](auto& handle) { return handle.seal(); }, handle_);
}

void Outgoing::cancel(const std::string& reason) {
  std::visit([&](auto& handle) { handle.cancel(reason); }, handle_);
}

Status Outgoing::wait(uint32_t timeout_ms) const {
  return std::visit([&](const auto& handle) { return handle.wait(timeout_ms); }, handle_);
}

baton::TransferRecord Outgoing::record() const {
  return std::visit([](const auto& handle) { return handle.record(); }, handle_);
}

}  // namespace baton_engine
