// Whole clusters: the caches of all prefill ranks and of all decode ranks of one model, as tensor
// parallelism slices and replicates its heads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "baton/layout.h"
#include "src/base/random.h"
#include "tests/unit/kv/random_case.h"

namespace baton_test {

enum class ModelShape : uint8_t {
  kKeysAndValuesApart,
  kKeysAndValuesPacked,
  kSlidingWindow,
  kMlaLatent,
  kLinearState,
  kSeveralGroups,
  kGroupsOfOnePool,  // a page of the storage belongs to one group or another
};
inline constexpr uint32_t kNumModelShapes = 7;

struct ClusterAxes {
  uint32_t prefill_ranks = 1;
  uint32_t decode_ranks = 1;
  bool prefill_replicates =
      false;  // half as many slices as ranks, also where there are heads enough
  bool decode_replicates = false;
  baton::TokenOrder prefill_order = baton::TokenOrder::kNHD;
  baton::TokenOrder decode_order = baton::TokenOrder::kNHD;
  ModelShape shape = ModelShape::kKeysAndValuesApart;
};

struct ClusterCase {
  std::vector<Side> prefill;  // by rank
  std::vector<Side> decode;
  baton::TokenRange tokens;
  uint32_t unit_bytes = 0;
  std::vector<baton::TokenRange> chunks;
};

// What the axes leave open is drawn: heads, cuts of the slices, block sizes, storage, prefix hits,
// unit_bytes, chunks, row length, dtype. Every head is on a rank of each side.
ClusterCase make_cluster_case(const ClusterAxes& axes, baton::base::Random& random);

// The heads of each of `ranks`: contiguous, covering [0, heads_total), some held by several ranks.
std::vector<baton::HeadRange> slice_heads(baton::base::Random& random, uint32_t heads_total,
                                          uint32_t ranks, bool replicates);

std::string describe(const ClusterAxes& axes);
std::string describe(const ClusterCase& c);

}  // namespace baton_test
