// Fan-in: how the bytes of one target are divided among several writers, and the check that each is
// written by exactly one of them.
//
// Thread rule: pure functions. Allocates.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "baton/layout.h"
#include "baton/senders.h"
#include "baton/status.h"

namespace baton::kv {

struct FanInRequest {
  struct Writer {
    const Layout* layout = nullptr;
    TokenRange tokens = {};                 // empty: the request's
    std::span<const HeadRange> heads = {};  // one per layer group; empty: by assign_senders()
  };
  const Layout* target = nullptr;
  TokenRange tokens;
  std::span<const std::vector<uint32_t>> target_blocks;
  std::vector<Writer> writers;
  uint32_t target_rank = 0;
  bool allow_gaps = false;
};

// What falls to one writer: the tokens, heads and target blocks of its Plan. Empty heads: nothing.
struct WriterShare {
  TokenRange tokens;
  std::vector<HeadRange> heads;
  std::vector<std::vector<uint32_t>> target_blocks;
};

// By writer. No two shares hold the same (layer group, token, head), and together they hold all
// that the target takes (unless allow_gaps). kInvalidArgument: tokens, block lists, number of
// writers, writers of the same tokens of which some name heads and some do not, parts of the tokens
// where a group has a window or a state, or two writers of the same bytes. kMismatch: a writer's
// layout or heads, or bytes that nobody writes. kOutOfRange: a writer's tokens, or a block index.
Result<std::vector<WriterShare>> divide_target(const FanInRequest& request);

}  // namespace baton::kv
