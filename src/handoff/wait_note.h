// WaitNote: what a request waits for, and since when; noted by the data thread, read by whoever
// wants to know.
//
// A reading may mix two notes that follow each other closely: it is a look, not a record.
//
// Thread rule: set() data thread; look() any. Relaxed throughout: it publishes nothing else.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace baton::handoff {

enum class Wait : uint8_t {
  kQueued,  // the data path has not taken it from its queue
  // ---- the receiver
  kUnits,      // units of the writer
  kQuiesced,   // cancelled: the writer's word of what it has signalled
  kSignalled,  // cancelled: units that the writer has signalled
  kRevoked,    // a range Grant, which ends by cancel
  // ---- both
  kFence,  // cancelled: a Path that is being fenced (detail: its place)
  // ---- the writer, or the reader
  kLease,    // the peer's first echoed heartbeat: no lease is held before
  kPath,     // a Path: none is open
  kChunk,    // the caller's next chunk, or seal()
  kWord,     // a ProgressWord (detail: layer; needed, seen)
  kRoom,     // room on a Path: as much as may be is unfinished
  kCredits,  // the receiver's credits on every open Path
  kTurn,     // its turn: it goes on at once
  kOps,      // the transport, to finish posts (needed: how many)
  kFlush,    // the answer to its flush
  kSettle,   // units of a Path that died, to be written again
  kVerdict,  // the receiver's GRANT_END
  // ---- a pulled hand-off
  kReader,    // the source: the reader, to take up the offer
  kReadDone,  // the source: the reader's word
  kReads,     // the reader: tokens that are not final at the source, or reads under way
};

struct WaitSeen {
  Wait why = Wait::kQueued;
  uint32_t detail = 0;
  int64_t since_ns = 0;  // 0: since it was submitted
  uint64_t needed = 0;
  uint64_t seen = 0;
};

class WaitNote {
 public:
  void set(Wait why, int64_t now_ns, uint32_t detail = 0) {
    const uint64_t note = static_cast<uint64_t>(why) << 32 | detail;
    if (note_.load(std::memory_order_relaxed) == note) return;
    since_ns_.store(now_ns, std::memory_order_relaxed);
    note_.store(note, std::memory_order_relaxed);
  }
  void set_word(int64_t now_ns, uint32_t layer, uint64_t needed, uint64_t seen) {
    seen_.store(seen, std::memory_order_relaxed);
    set_count(Wait::kWord, now_ns, needed, layer);
  }
  void set_count(Wait why, int64_t now_ns, uint64_t needed, uint32_t detail = 0) {
    needed_.store(needed, std::memory_order_relaxed);
    set(why, now_ns, detail);
  }

  WaitSeen look() const {
    const uint64_t note = note_.load(std::memory_order_relaxed);
    return {static_cast<Wait>(note >> 32), static_cast<uint32_t>(note),
            since_ns_.load(std::memory_order_relaxed), needed_.load(std::memory_order_relaxed),
            seen_.load(std::memory_order_relaxed)};
  }

 private:
  std::atomic<uint64_t> note_{0};  // why:32 | detail:32
  std::atomic<int64_t> since_ns_{0};
  std::atomic<uint64_t> needed_{0};
  std::atomic<uint64_t> seen_{0};
};

// "progress_word" and so on: stable, for JSON.
const char* wait_name(Wait why);
// "the ProgressWord of layer 5: it is 3, and must be 6".
std::string wait_text(const WaitSeen& wait);

}  // namespace baton::handoff
