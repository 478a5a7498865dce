// Outgoing: one request's KV on its way from one prefill rank to one decode rank, whoever moves the
// bytes: a Transfer, which writes them, or a ReadGrant, under which the decode rank reads them.
//
// Ownership: owns the handle; destroying it cancels what has not ended. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

#include "baton/pull.h"
#include "baton/status.h"
#include "baton/transfer.h"

namespace baton_engine {

class Outgoing {
 public:
  explicit Outgoing(baton::Transfer transfer) : handle_(std::move(transfer)) {}
  explicit Outgoing(baton::ReadGrant grant) : handle_(std::move(grant)) {}

  bool is_read() const { return std::holds_alternative<baton::ReadGrant>(handle_); }

  // As those of Transfer and of ReadGrant.
  baton::State state() const;
  baton::Status status() const;
  baton::Status submit_chunk(const baton::ChunkPlan& chunk);
  baton::Status seal();
  void cancel(const std::string& reason);
  baton::Status wait(uint32_t timeout_ms) const;
  baton::TransferRecord record() const;

 private:
  std::variant<baton::Transfer, baton::ReadGrant> handle_;
};

}  // namespace baton_engine
