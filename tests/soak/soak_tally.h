// SoakTally: how the hand-offs of a soak ended, those of either way on their own.
//
// Thread rule: a value.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

namespace baton_soak {

struct SoakTally {
  struct Way {
    uint64_t equal = 0;
    uint64_t cancelled = 0;
    uint64_t lost = 0;  // to a kill of either process

    uint64_t total() const { return equal + cancelled + lost; }
  };
  Way pushed;
  Way pulled;
  uint64_t kv_bytes_compared = 0;
  uint64_t poison_bytes_checked = 0;

  Way& way(bool is_pull) { return is_pull ? pulled : pushed; }
  uint64_t equal() const { return pushed.equal + pulled.equal; }
  uint64_t cancelled() const { return pushed.cancelled + pulled.cancelled; }
  uint64_t lost() const { return pushed.lost + pulled.lost; }
  uint64_t total() const { return pushed.total() + pulled.total(); }
  SoakTally& operator+=(const SoakTally& other);
};

nlohmann::json to_json(const SoakTally& tally);
// REQUIRES: from to_json().
SoakTally tally_from_json(const nlohmann::json& json);

}  // namespace baton_soak
