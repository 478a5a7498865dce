// Rig: what the hand-off tests share. A pool is guarded memory with a layout over it; two Contexts
// hand blocks of one to the other, and a reference that knows nothing of plans says where every
// byte belongs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "baton/context.h"
#include "baton/plugin/loopback.h"
#include "tests/support/guarded_buffer.h"

namespace baton_test {

struct PoolShape {
  uint32_t layers = 4;
  uint32_t block_tokens = 16;
  uint32_t heads = 3;
  uint32_t head_elements = 64;
  uint32_t num_blocks = 32;
  baton::TokenOrder order = baton::TokenOrder::kNHD;
  uint32_t tensors_per_layer = 2;

  uint64_t row_bytes() const { return uint64_t{head_elements} * 2; }
  uint64_t block_bytes() const { return row_bytes() * block_tokens * heads; }
  uint64_t pool_bytes() const { return block_bytes() * num_blocks * layers * tensors_per_layer; }
};

// Memory of one KV cache: [layer][tensor][block], each block dense.
class Pool {
 public:
  explicit Pool(const PoolShape& shape);

  // Registers the memory with `context` and publishes the cache as `name`. Aborts the test on
  // failure.
  void publish(baton::Context& context, const std::string& name);
  void unpublish();

  const PoolShape& shape() const { return shape_; }
  GuardedBuffer& memory() { return memory_; }
  baton::CacheId cache() const { return cache_.id(); }
  baton::SectionId section() const { return section_.id(); }
  baton::Section& section_handle() { return section_; }

  // Offset of one (token, head) row; the token lies in blocks[token / block_tokens - first].
  uint64_t row_offset(uint32_t layer, uint32_t tensor, const std::vector<uint32_t>& blocks,
                      uint32_t first_token, uint32_t token, uint32_t head) const;

 private:
  PoolShape shape_;
  GuardedBuffer memory_;
  baton::Section section_;
  baton::KvCache cache_;
};

// What `target` must hold after the hand-off: its present bytes, with the rows of `tokens` taken
// from `source`.
std::vector<uint8_t> expected_target(const Pool& source, const std::vector<uint32_t>& source_blocks,
                                     Pool& target, const std::vector<uint32_t>& target_blocks,
                                     baton::TokenRange tokens, uint8_t* source_memory);

// `count` distinct block indices below `num_blocks`, from `seed`.
std::vector<uint32_t> pick_blocks(uint32_t count, uint32_t num_blocks, uint64_t seed);
uint32_t blocks_for(baton::TokenRange tokens, uint32_t block_tokens);

// Aborts with the message when it failed.
void require_ok(const baton::Status& status, const char* what);
template <typename T>
T require(baton::Result<T> result, const char* what) {
  require_ok(result.is_ok() ? baton::Status::ok() : result.status(), what);
  return std::move(result).value();
}

// Paths of its peers that were open and are no more.
uint64_t lost_paths(const baton::Context& context);

// Options of a test's Context: a name, quiet log.
baton::ContextOptions quiet_options(const std::string& name);

// Two Contexts of one process, "prefill" and "decode", over one transport.
class ContextPair {
 public:
  struct Options {
    std::string transport = "tcp";
    bool ordered = true;  // loopback: which capability set
    uint64_t seed = 1;
    baton::ProgressMode progress = baton::ProgressMode::kThread;
    uint32_t heartbeat_interval_ms = 1000;
    std::string bind_host = "127.0.0.1";
    std::vector<std::string> plugin_files = {};
    uint32_t paths = 1;
    bool prefill_dials = false;  // else decode does
    // Loopback: this path of the fabric breaks with its post of this number; -1: none.
    int32_t kill_path = -1;
    uint32_t kill_after_posts = 0;
  };
  explicit ContextPair(const Options& options);
  ~ContextPair();
  ContextPair(const ContextPair&) = delete;
  ContextPair& operator=(const ContextPair&) = delete;

  // Afterwards both know each other.
  void connect();
  baton::Context& prefill() { return *prefill_; }
  baton::Context& decode() { return *decode_; }
  void destroy_prefill() { prefill_.reset(); }
  baton::PeerId prefill_peer() const { return prefill_peer_; }  // as decode knows it
  baton::PeerId decode_peer() const { return decode_peer_; }

 private:
  baton::Context make(const std::string& name, const Options& options);

  bool prefill_dials_;
  baton_loopback_fabric* fabric_ = nullptr;
  std::unique_ptr<baton::Context> prefill_;
  std::unique_ptr<baton::Context> decode_;
  baton::PeerId prefill_peer_;
  baton::PeerId decode_peer_;
};

// The first event of this kind within `timeout_ms`; others are dropped. Aborts when none comes.
baton::Event next_event(baton::Context& context, baton::EventKind kind,
                        uint32_t timeout_ms = 20000);

}  // namespace baton_test
