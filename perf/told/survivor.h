// The survivor: strikes its peer in random phases of a few hand-offs at once, and takes the time
// until every Gate, Grant or Transfer of its own has ended.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "baton/status.h"
#include "perf/told/result.h"

namespace baton_perf {

// Strikes settings.kills and settings.stops times, as writer and as receiver in turn. kInternal: an
// end with another code than the strike calls for; errors of calls. `progress` gets a line a
// strike.
baton::Result<ToldResult> measure_told(const ToldSettings& settings,
                                       const std::function<void(const std::string&)>& progress);

}  // namespace baton_perf
