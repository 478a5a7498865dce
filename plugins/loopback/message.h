// A post on its way through the fabric, and a report on its way to the host.
#pragma once

#include <cstdint>

#include "baton/plugin/plugin.h"

namespace baton_loopback {

inline constexpr uint32_t kMaxSources = 16;
inline constexpr uint32_t kMaxMessageBytes = 64u << 20;
// Bytes that are resolved and copied as one.
inline constexpr uint32_t kChunkBytes = 64u << 10;

enum class MessageKind : uint8_t { kWrite, kRead, kFlush };

struct SourceRange {
  uint8_t* address;
  uint32_t length_bytes;
};

struct Message {
  MessageKind kind;
  bool in_use;
  bool lost;  // took effect, and its report got lost (BATON_LOOPBACK_KILL_QUIETLY)
  bool has_immediate;
  uint32_t immediate;
  uint32_t num_sources;
  uint32_t length_bytes;
  uint32_t moved_bytes;
  uint64_t op;
  uint64_t grant;
  uint64_t target_key;
  uint64_t target_address;
  uint64_t sequence;  // counts the posts of its path
  int64_t due_ns;
  SourceRange sources[kMaxSources];
};

// The address of byte `offset` of what `message` gathers (or scatters), and how many bytes lie
// there in one piece.
inline SourceRange locate(const Message& message, uint32_t offset) {
  for (uint32_t i = 0; i < message.num_sources; ++i) {
    const SourceRange& range = message.sources[i];
    if (offset < range.length_bytes) return {range.address + offset, range.length_bytes - offset};
    offset -= range.length_bytes;
  }
  return {nullptr, 0};
}

struct Report {
  bool is_immediate;
  uint32_t immediate;
  uint64_t op;
  baton_op_status status;
};

}  // namespace baton_loopback
