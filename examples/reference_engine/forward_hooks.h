// ForwardHooks: where a forward pass tells, layer by layer, what the KV hand-off needs to know.
#pragma once

#include <cstdint>
#include <span>

#include "baton/status.h"

namespace baton_engine {

// Rows [begin_token, end_token) of a prompt, prefilled at once.
struct Chunk {
  uint32_t index = 0;
  uint32_t begin_token = 0;
  uint32_t end_token = 0;
  bool is_last = false;
};

// Every function is called on the thread of the forward pass. A Status that is not ok ends the
// pass, which returns it.
class ForwardHooks {
 public:
  virtual ~ForwardHooks() = default;

  // Prefill: the K and V of the chunk's tokens are in the pages of `layer` and stay as they are;
  // called after the append and before the layer's attention, for layer 0, 1, ... in order.
  virtual baton::Status on_layer_kv_final(const Chunk& /*chunk*/, uint32_t /*layer*/) {
    return baton::Status::ok();
  }

  // Decode: the step is about to read the pages of `layer` (and to append its own token's K and V).
  // May block until the layer has arrived.
  virtual baton::Status before_layer_attention(uint32_t /*layer*/) { return baton::Status::ok(); }

  // Both: the hidden state after `layer`, [rows][hidden]. Not called for the last layer of a
  // prefill, which ends with its KV.
  virtual void on_layer_output(uint32_t /*layer*/, std::span<const float> /*rows*/) {}
};

}  // namespace baton_engine
