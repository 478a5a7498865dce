#include "tests/soak/soak_tally.h"

namespace baton_soak {

namespace {

nlohmann::json to_json(const SoakTally::Way& way) {
  return {{"hand_offs", way.total()},
          {"equal", way.equal},
          {"cancelled", way.cancelled},
          {"lost_to_kills", way.lost}};
}

SoakTally::Way way_from_json(const nlohmann::json& json) {
  return {json["equal"], json["cancelled"], json["lost_to_kills"]};
}

void add(SoakTally::Way& to, const SoakTally::Way& more) {
  to.equal += more.equal;
  to.cancelled += more.cancelled;
  to.lost += more.lost;
}

}  // namespace

SoakTally& SoakTally::operator+=(const SoakTally& other) {
  add(pushed, other.pushed);
  add(pulled, other.pulled);
  kv_bytes_compared += other.kv_bytes_compared;
  poison_bytes_checked += other.poison_bytes_checked;
  return *this;
}

SoakTally tally_from_json(const nlohmann::json& json) {
  return {way_from_json(json["pushed"]), way_from_json(json["pulled"]), json["kv_bytes_compared"],
          json["poison_bytes_checked"]};
}

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
