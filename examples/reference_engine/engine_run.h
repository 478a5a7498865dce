// The programs within baton-engine: one process alone, a prefill process, a decode process, and
// `run`, which starts the prefill process and is the decode process itself.
//
// Thread rule: one thread.
#pragma once

#include "baton/status.h"
#include "examples/reference_engine/engine_options.h"

namespace baton_engine {

// Does what the options say, with the result on standard output; returns an ExitCode.
int run_engine(const EngineOptions& options);

}  // namespace baton_engine
