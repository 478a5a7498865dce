// The program of a tensor-parallel rank that another process of the engine has started: it loads
// its part of the model, opens a Context of its own, and does what the leader says until that
// closes the pipe.
//
// Thread rule: one thread.
#pragma once

#include "baton/status.h"
#include "examples/reference_engine/engine_options.h"

namespace baton_engine {

// REQUIRES: options.mode is kRank. OK when the leader has closed the pipe.
baton::Status run_rank(const EngineOptions& options);

}  // namespace baton_engine
