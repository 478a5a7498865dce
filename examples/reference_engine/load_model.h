// load_model: from "PATH.gguf" or "tiny:SEED" to a Model.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "baton/status.h"
#include "examples/reference_engine/compute_pool.h"
#include "examples/reference_engine/gguf_file.h"
#include "examples/reference_engine/model.h"

namespace baton_engine {

// Weights ready so far, of how many, in bytes as float32. Called from the loading thread, now and
// then and once at the end.
using LoadProgress = std::function<void(uint64_t done_bytes, uint64_t total_bytes)>;

// `name` is the path of a GGUF file of architecture llama with a byte-level BPE tokenizer, or
// "tiny:SEED" or "tiny:SEED:HEADS:KV_HEADS" with a decimal seed in [0, 2^64). Weights are
// de-quantised to float32 once, here, on the threads of `pool`. Errors name the file and what is
// wrong: kNotFound, kIoError, kOutOfRange (cut short), kInvalidArgument (another format,
// architecture or shape), kExhausted (memory). Of each layer it holds `parts` alone.
baton::Result<std::unique_ptr<Model>> load_model(const std::string& name, ComputePool& pool,
                                                 const LoadProgress& progress = nullptr,
                                                 const IndexRange& parts = kAllParts);

// The same from a parsed file; the Model keeps nothing of it.
baton::Result<std::unique_ptr<Model>> load_gguf_model(const GgufFile& file, ComputePool& pool,
                                                      const LoadProgress& progress = nullptr,
                                                      const IndexRange& parts = kAllParts);

}  // namespace baton_engine
