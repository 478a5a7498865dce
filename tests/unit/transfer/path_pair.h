// PathPair: a PathChannel over the loopback plug-in, and at the other end of its Path a receiver
// that records what arrives and where.
//
// Thread rule: the test's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "baton/plugin/loopback.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/counter/immediate.h"
#include "src/transfer/path_channel.h"
#include "src/transport/rail.h"
#include "tests/support/guarded_buffer.h"

namespace baton::counter {

inline void PrintTo(const Immediate& immediate, std::ostream* out) {
  *out << "slot " << immediate.slot.value << " generation " << unsigned{immediate.generation}
       << " weight " << immediate.weight;
}

}  // namespace baton::counter

namespace baton_test {

// A request's books, as the channel keeps them for it. Outlives the pair, whose end answers what is
// out.
class RecordingOwner : public baton::transfer::PostOwner {
 public:
  void on_accepted(uint32_t path, uint64_t bytes) override;
  void on_refused(uint32_t path, uint64_t bytes) override;
  void on_signalled(uint32_t path, uint32_t ordinal, uint32_t units) override;
  void on_op_done(uint32_t path, bool is_flush, baton_op_status status) override;

  // Lengths of the posts that are, or were, with the plug-in; flushes are not among them.
  std::vector<uint64_t> posts;
  std::vector<uint64_t> signalled;  // units, by slot ordinal
  uint64_t signals = 0;
  uint64_t ops_out = 0;
  uint64_t ops_done = 0;
  uint64_t ops_in_doubt = 0;
  uint64_t flushes_done = 0;
};

class PathPair {
 public:
  static constexpr uint64_t kKey = 7;  // of the receiver's memory

  // `max_post_bytes`: the agreed unit_bytes.
  explicit PathPair(const baton_loopback_plan& plan, size_t memory_bytes = 1u << 20,
                    uint32_t max_post_bytes = 1u << 20);
  ~PathPair();
  PathPair(const PathPair&) = delete;
  PathPair& operator=(const PathPair&) = delete;

  baton::transfer::PathChannel& channel() { return *channel_; }
  GuardedBuffer& source() { return source_; }
  GuardedBuffer& target() { return target_; }

  // `length` bytes at `from` of the source, to `to` of the target.
  bool stage_unit(RecordingOwner& owner, const baton::transfer::SlotRef& slot, uint64_t from,
                  uint64_t to, uint32_t length, uint64_t key = kKey);
  bool stage_write(RecordingOwner& owner, uint64_t from, uint64_t to, uint32_t length);

  // Until neither end has anything to do.
  void settle();
  void receive() { receiver_->plugin().progress(receiver_->handle(), UINT64_MAX); }

  const std::vector<baton::counter::Immediate>& immediates() const {
    return receiver_events_.immediates;
  }
  // Units that the receiver counted for a slot.
  uint64_t counted(baton::counter::SlotIndex slot) const;
  bool is_broken() const { return sender_events_.broken; }

 private:
  struct Events : baton::transport::RailEvents {
    void on_op_done(uint64_t, uint64_t op, baton_op_status status) override;
    void on_units_arrived(uint64_t, uint32_t immediate) override;
    void on_path_broken(uint64_t, const char*) override { broken = true; }
    void on_fenced(uint64_t) override;
    baton_resolved on_resolve(uint64_t, uint64_t, uint64_t key, uint64_t address, uint32_t length,
                              baton_access) override;

    baton::transfer::PathChannel* channel = nullptr;  // of the sender
    GuardedBuffer* memory = nullptr;                  // of the receiver
    std::vector<baton::counter::Immediate> immediates;
    bool broken = false;
    bool fenced = false;
  };

  baton::base::MonotonicClock clock_;
  baton::base::Logger logger_;
  GuardedBuffer source_;
  GuardedBuffer target_;
  baton_loopback_fabric* fabric_ = nullptr;
  Events sender_events_;
  Events receiver_events_;
  std::unique_ptr<baton::transport::Rail> sender_;
  std::unique_ptr<baton::transport::Rail> receiver_;
  baton_path* receiver_path_ = nullptr;
  std::unique_ptr<baton::transfer::PathChannel> channel_;
};

// Plans without faults.
baton_loopback_plan covering_plan();   // ordered, immediates cover what came before
baton_loopback_plan ordered_plan();    // ordered only
baton_loopback_plan unordered_plan();  // half of the posts overtake others

}  // namespace baton_test
