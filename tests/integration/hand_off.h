// HandOff: one hand-off between two pools that is pushed or pulled, with the same calls for both,
// so that a test of what happens to hand-offs is written once.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tests/integration/rig.h"

namespace baton_test {

// How the bytes move: written by the source under a Grant, or read by the target under a ReadGrant.
enum class By : uint8_t { kPush, kPull };

// What the side that sends holds: the Transfer of a pushed hand-off, the ReadGrant of a pulled one.
class SourceEnd {
 public:
  SourceEnd() = default;
  explicit SourceEnd(baton::Transfer transfer) : handle_(std::move(transfer)) {}
  explicit SourceEnd(baton::ReadGrant grant) : handle_(std::move(grant)) {}

  bool is_valid() const;
  // REQUIRES of all below: is_valid().
  baton::State state() const;
  baton::Status status() const;
  baton::Status submit_chunk(const baton::ChunkPlan& chunk);
  baton::Status seal();
  void cancel(const std::string& reason);
  baton::Status wait(uint32_t timeout_ms) const;
  baton::TransferRecord record() const;
  baton::EventKind event_kind() const;  // of its end
  // REQUIRES: pushed.
  baton::Transfer& transfer() { return std::get<baton::Transfer>(handle_); }

 private:
  std::variant<baton::Transfer, baton::ReadGrant> handle_;
};

// What the side that receives holds: the Grant of a pushed hand-off, the Pull of a pulled one.
class TargetEnd {
 public:
  TargetEnd() = default;
  explicit TargetEnd(baton::Grant grant) : handle_(std::move(grant)) {}
  explicit TargetEnd(baton::Pull pull) : handle_(std::move(pull)) {}

  bool is_valid() const;
  // REQUIRES of all below: is_valid().
  baton::State state() const;
  baton::Status status() const;
  baton::Gate gate(uint32_t layer) const;
  baton::Gate all() const;
  void cancel(const std::string& reason);
  baton::Status wait(uint32_t timeout_ms) const;
  baton::GrantRecord record() const;
  baton::EventKind event_kind() const;  // of its end

 private:
  std::variant<baton::Grant, baton::Pull> handle_;
};

// One side of a hand-off within the process, on which the other is known as `peer`.
struct HandOffSide {
  baton::Context* context = nullptr;
  baton::PeerId peer;
  Pool* pool = nullptr;  // published as "kv"
  std::vector<uint32_t> blocks;
};

struct HandOffOptions {
  By by = By::kPush;
  std::string tag = "r";
  baton::TokenRange tokens;
  uint32_t deadline_ms = 0;
  uint32_t lease_ms = 0;
};

// The call that a hand-off begins with: the target's of a pushed one, the source's of a pulled one.
baton::GrantRequest grant_request_of(const HandOffSide& target, const HandOffOptions& options);
baton::ReadGrantRequest read_request_of(const HandOffSide& source, const HandOffOptions& options);

struct HandOff {
  By by = By::kPush;
  baton::TokenRange tokens;
  baton::ProgressWord word;
  SourceEnd source;
  TargetEnd target;

  // Offered, and taken up: all but the chunk. Aborts the test when a call fails.
  static HandOff make(const HandOffSide& source, const HandOffSide& target,
                      const HandOffOptions& options);
  // The whole as one chunk, of which `layers` are ticked.
  void submit(uint32_t layers);
};

}  // namespace baton_test
