// The decode process of a soak that is to be killed: it hands over beside the one that lives, from
// the same prefill process, compares as that does, and dies in the middle of a hand-off.
//
// On standard output: "BEGINS" when it is connected, and "DIES json" right before its end: the
// SoakTally, in which what is under way is lost. It kills itself: no other process could do so at a
// layer.
#pragma once

#include <string>

#include "tests/soak/soak_options.h"

namespace baton_soak {

// Dies in the hand-off after options.hand_offs, or returns 1 as the exit status of the process,
// with what did not hold on standard error.
int run_doomed_decode(const SoakOptions& options, const std::string& address);

}  // namespace baton_soak
