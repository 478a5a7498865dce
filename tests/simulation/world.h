// World: virtual time of a simulation. What is due happens in the order of time, and of the calls
// where times are equal: on one thread, without a wall clock, a socket or a thread. A modelled
// fabric (baton/plugin/loopback.h) takes part with what is due in it.
//
// Everything that happens is noted, and the notes make up a hash: two runs of one seed are the same
// run if their hashes are.
//
// Thread rule: one thread. step() may be called from within what step() runs (a call that blocks
// its member lets the world go on).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "baton/plugin/loopback.h"
#include "src/base/clock.h"
#include "src/base/random.h"

namespace baton_test {

inline constexpr uint32_t kNobody = UINT32_MAX;

class World {
 public:
  World(uint64_t seed, bool is_tracing) : random_(seed), is_tracing_(is_tracing) {}
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int64_t now_ns() const { return now_ns_; }
  const int64_t* now() const { return &now_ns_; }
  baton::base::Random& random() { return random_; }

  void at(int64_t at_ns, std::function<void()> what);
  // The next thing, if it is due by `until_ns`; otherwise the time becomes that. False: nothing
  // was.
  bool step(int64_t until_ns);
  // Its turn comes with everybody else's. Borrowed; null: no more.
  void set_fabric(baton_loopback_fabric* fabric) { fabric_ = fabric; }

  // `what` is a constant text. Numbers must not depend on the machine: no addresses, no real time.
  void note(uint32_t who, const char* what, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0);
  // More about it, for a reader; not part of the hash.
  bool is_tracing() const { return is_tracing_; }
  void tell(uint32_t who, const std::string& text) const;
  uint64_t hash() const { return hash_; }
  uint64_t notes() const { return notes_; }

 private:
  void mix(uint64_t value);

  baton::base::Random random_;
  const bool is_tracing_;
  int64_t now_ns_ = 1'000'000'000;
  std::map<std::pair<int64_t, uint64_t>, std::function<void()>> due_;
  uint64_t next_ = 0;
  baton_loopback_fabric* fabric_ = nullptr;
  uint64_t hash_ = 0xcbf29ce484222325u;
  uint64_t notes_ = 0;
};

// A member's own view of the time: it may jump ahead of the others', and once its process is dead
// it runs by itself.
class MemberClock final : public baton::base::Clock {
 public:
  explicit MemberClock(const World& world) : world_(world) {}

  int64_t now_ns() const override { return is_detached_ ? own_ns_ : world_.now_ns() + ahead_ns_; }
  void jump(int64_t ahead_ns) { ahead_ns_ += ahead_ns; }
  // When the member's clock shows `at_ns`.
  int64_t world_ns(int64_t at_ns) const;
  void detach();
  // REQUIRES: detached.
  void sleep_until(int64_t at_ns) { own_ns_ = at_ns > own_ns_ ? at_ns : own_ns_ + 1000; }
  bool is_detached() const { return is_detached_; }

 private:
  const World& world_;
  int64_t ahead_ns_ = 0;
  bool is_detached_ = false;
  int64_t own_ns_ = 0;
};

}  // namespace baton_test
