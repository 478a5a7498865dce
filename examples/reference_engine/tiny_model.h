// A small model of random weights, for tests that need no file: 4 layers, hidden 64, 4 heads over
// 2 KV heads of 16, one token per byte plus three special ones, a context of 2,048.
#pragma once

#include <cstdint>
#include <memory>

#include "baton/status.h"
#include "examples/reference_engine/model.h"

namespace baton_engine {

// For tests that need other heads, or columns that do not divide.
struct TinyShape {
  uint32_t heads = 4;
  uint32_t kv_heads = 2;
  uint32_t feed_forward = 128;
};

// The same weights on every machine for one seed and shape, whichever parts are held.
baton::Result<std::unique_ptr<Model>> make_tiny_model(uint64_t seed, const TinyShape& shape = {},
                                                      const IndexRange& parts = kAllParts);

}  // namespace baton_engine
