// The prefill process of a soak: computes what is asked for, hands it over while it computes,
// cancels where it is told to, and lives until it is killed or its standard input ends.
//
// Its pages are poisoned when their Transfer or ReadGrant ends: bytes that were read later would be
// no KV.
//
// On standard output: "ADDRESS address", and for each line of input "IDLE json" once nothing is
// under way, or does not come to its end: pages free and in all, free counter slots, requests
// alive, offers that stand, peers, and "wrong_end", the last end that nobody asked for.
#pragma once

namespace baton_soak {

// The exit status of the process.
int run_prefill();

}  // namespace baton_soak
