// Records of what a Grant or Transfer did. All times are CLOCK_MONOTONIC nanoseconds of the
// recording process; 0: has not happened.
//
// Thread rule: values.
#pragma once

#include <cstdint>
#include <vector>

namespace baton {

// One layer, seen by the sender. Times are those of the chunk that completes the layer.
struct SentLayer {
  uint32_t layer = 0;     // ordinal
  int64_t ticked_ns = 0;  // the data thread saw the ProgressWord pass it
  int64_t posted_ns = 0;  // its last unit was accepted by a plug-in
  uint64_t units = 0;
  uint64_t bytes = 0;
};

struct TransferRecord {
  uint64_t bytes = 0;  // posted
  uint64_t units = 0;  // posted (pushed Transfers)
  uint64_t posts = 0;  // writes or reads handed to plug-ins, after merging
  uint64_t immediates = 0;
  int64_t submitted_ns = 0;
  int64_t first_post_ns = 0;
  int64_t last_post_ns = 0;
  int64_t ended_ns = 0;
  // When Paths died under it: how often what they may have lost was placed again, how much that
  // was, and how long it took, from the deaths as noticed here to the words that said so.
  uint64_t settlements = 0;
  uint64_t units_settled = 0;
  uint64_t bytes_rewritten = 0;
  int64_t settling_ns = 0;
  std::vector<SentLayer> layers;
};

// One layer, seen by the receiver.
struct PlacedLayer {
  uint32_t layer = 0;
  int64_t first_ns = 0;   // first immediate counted
  int64_t placed_ns = 0;  // last unit counted
  int64_t opened_ns = 0;  // gate opened
  uint64_t units = 0;
};

struct GrantRecord {
  uint64_t units = 0;  // counted
  uint64_t bytes = 0;  // of the plan
  int64_t granted_ns = 0;
  int64_t ended_ns = 0;
  // Of a pull, when Paths died under it: how many layers were read again, each time counted, and
  // how long some were missing, from the deaths as noticed here to the last of them whole.
  uint64_t layers_read_again = 0;
  int64_t settling_ns = 0;
  std::vector<PlacedLayer> layers;
};

struct FailedBlock {
  uint32_t group = 0;
  uint32_t position = 0;  // in the Grant's block list of that group
  uint32_t block = 0;     // its index there
};

}  // namespace baton
