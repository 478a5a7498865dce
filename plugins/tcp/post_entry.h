// What a path remembers of a post, and of a peer's request that it owes an answer.
#pragma once

#include <cstdint>

#include "baton/plugin/plugin.h"

namespace baton_tcp {

// Source ranges that one post may gather (a read: scatter).
inline constexpr uint32_t kMaxSources = 16;
// Posts and flushes that a path holds unfinished. Each unanswered read or flush is one of them, so
// that the peer's table of answers (kMaxUnanswered) cannot overflow.
inline constexpr uint32_t kMaxPosts = 1024;

enum class EntryKind : uint8_t {
  kWrite,
  kRead,
  kFlush,
  kMoved,  // a read or flush that went to the awaiting ring; only its place in the queue is left
};

struct SourceRange {
  uint8_t* address;
  uint32_t length_bytes;
};

struct PostEntry {
  EntryKind kind;
  bool has_immediate;
  uint32_t immediate;
  uint32_t num_sources;
  uint32_t length_bytes;
  uint32_t arrived_bytes;  // of a read that awaits its answer
  uint64_t op;
  uint64_t grant;
  uint64_t target_key;
  uint64_t target_address;
  SourceRange sources[kMaxSources];
};

struct AnswerEntry {
  bool is_flush;
  bool refused;
  uint32_t length_bytes;
  uint32_t batched_bytes;  // handed to a batch so far
  uint64_t grant;
  uint64_t key;
  uint64_t address;
  uint8_t*
      end_flags;  // the flags byte of its kReadEnd while that lies unsent in the batch; else null
};

// What both directions of a path need to know of it.
struct PathContext {
  const baton_host* host = nullptr;
  uint64_t cookie = 0;
  uint32_t max_message_bytes = 0;
  uint8_t* discard = nullptr;  // kScratchBytes, written by refused chunks, never read
  uint8_t* zeros = nullptr;  // kScratchBytes, fills the rest of an answer that was refused half-way
};
inline constexpr uint32_t kScratchBytes = 256u << 10;

}  // namespace baton_tcp
