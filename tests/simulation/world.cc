#include "tests/simulation/world.h"

#include <algorithm>
#include <cstdio>

namespace baton_test {

void World::at(int64_t at_ns, std::function<void()> what) {
  due_.emplace(std::make_pair(std::max(at_ns, now_ns_), next_++), std::move(what));
}

bool World::step(int64_t until_ns) {
  const int64_t ours_ns = due_.empty() ? INT64_MAX : due_.begin()->first.first;
  const int64_t fabric_ns = fabric_ == nullptr ? INT64_MAX : baton_loopback_fabric_next_ns(fabric_);
  const int64_t next_ns = std::min(ours_ns, fabric_ns);
  if (next_ns > until_ns || next_ns == INT64_MAX) {
    now_ns_ = std::max(now_ns_, until_ns);
    return false;
  }
  now_ns_ = std::max(now_ns_, next_ns);
  if (ours_ns > fabric_ns) {
    baton_loopback_fabric_run(fabric_);
    return true;
  }
  const std::function<void()> what = std::move(due_.begin()->second);
  due_.erase(due_.begin());
  what();
  return true;
}

// FNV-1a, eight bytes at a time.
void World::mix(uint64_t value) {
  for (int i = 0; i < 8; ++i) {
    hash_ ^= value & 0xff;
    hash_ *= 0x100000001b3u;
    value >>= 8;
  }
}

void World::note(uint32_t who, const char* what, uint64_t a, uint64_t b, uint64_t c) {
  ++notes_;
  mix(static_cast<uint64_t>(now_ns_));
  mix(who);
  for (const char* at = what; *at != '\0'; ++at) {
    hash_ ^= static_cast<uint8_t>(*at);
    hash_ *= 0x100000001b3u;
  }
  mix(a);
  mix(b);
  mix(c);
  if (!is_tracing_) return;
  std::string text = what;
  if (a != 0 || b != 0 || c != 0) text += "  " + std::to_string(a);
  if (b != 0 || c != 0) text += ", " + std::to_string(b);
  if (c != 0) text += ", " + std::to_string(c);
  tell(who, text);
}

void World::tell(uint32_t who, const std::string& text) const {
  if (!is_tracing_) return;
  const std::string name = who == kNobody ? "fabric  " : "member-" + std::to_string(who);
  std::printf("%14.6f ms  %s  %s\n", static_cast<double>(now_ns_) / 1e6, name.c_str(),
              text.c_str());
}

int64_t MemberClock::world_ns(int64_t at_ns) const {
  return at_ns == INT64_MAX ? INT64_MAX : at_ns - ahead_ns_;
}

void MemberClock::detach() {
  own_ns_ = now_ns();
  is_detached_ = true;
}

}  // namespace baton_test
