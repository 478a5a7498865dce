// The prefill process of a soak: computes what is asked for, hands it over while it computes,
// cancels where it is told to, and lives until it is killed or its standard input ends.
//
// Its pages are poisoned when its Transfer ends: bytes that were read later would be no KV.
//
// On standard output: "ADDRESS address", and for each line of input "IDLE free total done cancelled
// failed" once nothing is under way: pages free and in all, Transfers by their ends.
#pragma once

namespace baton_soak {

// The exit status of the process.
int run_prefill();

}  // namespace baton_soak
