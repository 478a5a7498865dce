#include "tests/soak/soak_tally.h"

namespace baton_soak {

namespace {

nlohmann::json to_json(const SoakTally::Way& way) {
  return {{"hand_offs", way.total()},
          {"equal", way.equal},
          {"cancelled", way.cancelled},
          {"lost_to_kills", way.lost}};
}

}  // namespace

nlohmann::json to_json(const SoakTally& tally) {
  return {{"hand_offs", tally.total()},
          {"equal", tally.equal()},
          {"cancelled", tally.cancelled()},
          {"lost_to_kills", tally.lost()},
          {"pushed", to_json(tally.pushed)},
          {"pulled", to_json(tally.pulled)},
          {"kv_bytes_compared", tally.kv_bytes_compared},
          {"poison_bytes_checked", tally.poison_bytes_checked}};
}

}  // namespace baton_soak
