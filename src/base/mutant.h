// Mutants: deliberate faults in the protocol, one at a time, for the simulator to find. They exist
// only in a build with BATON_MUTANTS, which is never installed; elsewhere mutant_is() is a constant
// false and leaves no code.
//
// Thread rule: set_mutant() before the first Context; mutant_is() from any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace baton::base {

enum class Mutant : uint8_t {
  kNone,
  kSettleTwice,          // settlement counts twice
  kFenceForgetsSlot,     // a snapshot leaves out a slot that counted something
  kSlotFreedEarly,       // a cancelled Grant ends before its memory is quiet
  kCreditReturnedTwice,  // the receiver returns each credit twice
  kGateNotOpened,        // a failure leaves its gates closed
  kCancelAckedEarly,     // QUIESCED is sent while something is still to be posted or flushed
  kRetryBeforeFence,     // units of a dead Path are settled before the peer has fenced it
  kRewriteOwedZero,      // units are rewritten in slots that owe none
};
inline constexpr uint8_t kNumMutants = 9;

#ifdef BATON_MUTANTS
// False: there is none of that name ("settle-twice" and so on).
bool set_mutant(std::string_view name);
std::string_view mutant_name(Mutant mutant);
bool mutant_is(Mutant mutant);
#else
constexpr bool mutant_is(Mutant) { return false; }
#endif

}  // namespace baton::base
