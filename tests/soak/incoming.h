// Incoming: one request's KV on its way into the decode process, whoever moves the bytes: a Grant,
// into which prefill writes, or a Pull, which reads what prefill offered.
//
// Ownership: owns the handle; destroying it cancels what has not ended. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

#include "baton/gate.h"
#include "baton/grant.h"
#include "baton/pull.h"
#include "baton/status.h"

namespace baton_soak {

class Incoming {
 public:
  explicit Incoming(baton::Grant grant) : handle_(std::move(grant)) {}
  explicit Incoming(baton::Pull pull) : handle_(std::move(pull)) {}

  // As those of Grant and of Pull.
  baton::State state() const {
    return std::visit([](const auto& handle) { return handle.state(); }, handle_);
  }
  baton::Gate gate(uint32_t layer) const {
    return std::visit([layer](const auto& handle) { return handle.gate(layer); }, handle_);
  }
  void cancel(const std::string& reason) {
    std::visit([&reason](auto& handle) { handle.cancel(reason); }, handle_);
  }
  baton::Status wait(uint32_t timeout_ms) const {
    return std::visit([timeout_ms](const auto& handle) { return handle.wait(timeout_ms); },
                      handle_);
  }

  // Which its ending event names: Grants by their ids, Pulls by those of Transfers.
  uint64_t id() const {
    return is_pull() ? std::get<baton::Pull>(handle_).id().value
                     : std::get<baton::Grant>(handle_).id().value;
  }
  bool is_pull() const { return std::holds_alternative<baton::Pull>(handle_); }

 private:
  std::variant<baton::Grant, baton::Pull> handle_;
};

}  // namespace baton_soak
