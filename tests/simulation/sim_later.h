// SimControl::later, for the files of SimControl alone.
//
// Thread rule: one thread, the World's.
#pragma once

#include <utility>

#include "tests/simulation/sim_network.h"

namespace baton_test {

template <typename What>
void SimControl::later(int64_t at_ns, bool is_timer, uint32_t end, What what) {
  member_.at(at_ns, is_timer, [this, alive = alive_, end, what = std::move(what)] {
    if (!*alive || !is_running_) return;
    SimEnd* found = network_.find(end);
    if (found == nullptr || found->stage == Stage::kClosed) return;
    what(*found);
    member_.wake();
  });
}

}  // namespace baton_test
