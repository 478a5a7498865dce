#include "tests/soak/leak_watch.h"

namespace baton_soak {

namespace {

constexpr uint64_t kSpan = 16;  // hand-offs

nlohmann::json numbers_json(const ProcessNumbers& one) {
  return {{"descriptors", one.descriptors},
          {"threads", one.threads},
          {"mappings", one.mappings},
          {"resident_bytes", one.resident_bytes},
          {"free_counter_slots", one.free_counter_slots}};
}

}  // namespace

std::string LeakWatch::look(const ProcessNumbers& numbers, uint64_t hand_offs) {
  last_ = numbers;
  last_hand_offs_ = hand_offs;
  if (first_) return growth(*first_, last_);
  if (hand_offs < warm_up_) return "";
  first_ = numbers;
  first_hand_offs_ = hand_offs;
  return "";
}

bool LeakWatch::is_compared() const {
  return first_ && last_hand_offs_ >= first_hand_offs_ + kSpan;
}

nlohmann::json LeakWatch::to_json() const {
  return {{"compared", is_compared()},
          {"hand_offs_between", is_compared() ? last_hand_offs_ - first_hand_offs_ : 0},
          {"after_warm_up", first_ ? numbers_json(*first_) : nlohmann::json()},
          {"at_the_end", numbers_json(last_)}};
}

}  // namespace baton_soak
