// A small model of random weights, for tests that need no file: 4 layers, hidden 64, 4 heads over
// 2 KV heads of 16, one token per byte plus three special ones, a context of 2,048.
#pragma once

#include <cstdint>
#include <memory>

#include "baton/status.h"
#include "examples/reference_engine/model.h"

namespace baton_engine {

// The same weights on every machine for one seed.
baton::Result<std::unique_ptr<Model>> make_tiny_model(uint64_t seed);

}  // namespace baton_engine
