// The connecting side of a measurement: asks, moves, measures.
//
// Thread rule: one thread.
#pragma once

#include <functional>
#include <string>

#include "baton/status.h"
#include "perf/pair/result.h"
#include "perf/pair/settings.h"

namespace baton_perf {

using ProgressLine = std::function<void(const std::string&)>;

// Measures against the listener at `address`. kInternal: verification failed; kPeerLost and
// kDeadlineExceeded: the listener is not there, or went away; kInvalidArgument: settings.
baton::Result<PairResult> run_connector(const EndpointSettings& endpoint,
                                        const PairSettings& settings, const std::string& address,
                                        const ProgressLine& progress);

// Connects `count` times, one after another, each until the listener's sections are known.
baton::Result<ConnectResult> measure_connect(const EndpointSettings& endpoint,
                                             const std::string& address, uint32_t count,
                                             const ProgressLine& progress);

}  // namespace baton_perf
