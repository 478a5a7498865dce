#include "src/base/mutant.h"

#ifdef BATON_MUTANTS

#include <array>
#include <atomic>

namespace baton::base {

namespace {

std::atomic<Mutant> active{Mutant::kNone};

constexpr std::array<std::string_view, kNumMutants> kNames = {"none",
                                                              "settle-twice",
                                                              "fence-forgets-slot",
                                                              "slot-freed-early",
                                                              "credit-twice",
                                                              "gate-not-opened",
                                                              "cancel-acked-early",
                                                              "retry-before-fence",
                                                              "rewrite-owed-zero"};

}  // namespace

bool set_mutant(std::string_view name) {
  for (uint8_t i = 0; i < kNumMutants; ++i) {
    if (kNames[i] != name) continue;
    active.store(Mutant{i});
    return true;
  }
  return false;
}

std::string_view mutant_name(Mutant mutant) { return kNames[static_cast<uint8_t>(mutant)]; }

bool mutant_is(Mutant mutant) { return active.load(std::memory_order_relaxed) == mutant; }

}  // namespace baton::base

#endif
