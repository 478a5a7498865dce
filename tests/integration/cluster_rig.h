// Cluster: prefill and decode ranks of one model as Contexts of one process, each with its own
// memory, over one transport. What every byte must be follows from the model (model_bytes.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "baton/context.h"
#include "tests/integration/rig.h"
#include "tests/unit/kv/model_bytes.h"
#include "tests/unit/kv/product_case.h"

namespace baton_test {

struct Transport {
  const char* name;  // of the test
  const char* plugin;
  bool ordered = true;
};

// One rank: a Context and the cache that it publishes as "kv".
class Rank {
 public:
  // Borrows the fabric, which outlives it. Prefill ranks hold the model's bytes, decode ranks
  // poison.
  Rank(const std::string& name, const Transport& transport, baton_loopback_fabric* fabric,
       const Side& side, baton::TokenRange tokens, bool is_prefill, uint32_t max_live);

  baton::Context& context() { return *context_; }
  void destroy_context();
  baton::CacheId cache() const { return cache_.id(); }
  const Side& side() const { return side_; }
  Memory& memory() { return memory_; }
  void poison();

  // "" when the memory holds the model's rows of `tokens` and is otherwise untouched; else what
  // differs.
  std::string check_model(baton::TokenRange tokens) const;
  // "" when every byte is poison.
  std::string check_poisoned() const;

 private:
  const Side side_;
  Memory memory_;
  std::unique_ptr<baton::Context> context_;
  std::vector<baton::Section> sections_;
  baton::KvCache cache_;
};

class Cluster {
 public:
  // Decode rank 0 of `max_live` Grants, everything else without a limit.
  Cluster(const Transport& transport, ClusterCase layouts, uint64_t seed,
          uint32_t decode_max_live = 4096);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  const ClusterCase& layouts() const { return case_; }
  Rank& prefill(size_t rank) { return *prefill_[rank]; }
  Rank& decode(size_t rank) { return *decode_[rank]; }
  size_t prefill_ranks() const { return prefill_.size(); }
  size_t decode_ranks() const { return decode_.size(); }
  // Prefill rank `from` as decode rank `at` knows it.
  baton::PeerId peer(size_t at, size_t from) const { return peers_[at][from]; }

  // All prefill ranks write to decode rank `to`.
  baton::GrantGroupRequest request(size_t to, const std::string& tag) const;
  // Prefill rank `from` answers the Grant with this tag.
  baton::Transfer push(size_t from, const std::string& tag);

 private:
  const ClusterCase case_;
  baton_loopback_fabric* fabric_ = nullptr;
  std::vector<std::unique_ptr<Rank>> prefill_;
  std::vector<std::unique_ptr<Rank>> decode_;
  std::vector<std::vector<baton::PeerId>> peers_;
};

}  // namespace baton_test
