// ToldCache: a published KV cache with room for a few hand-offs at once, of which each is far more
// than sockets hold: so that whoever is struck is struck in the middle.
//
// Ownership: owns its memory, Section and cache. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "baton/context.h"
#include "baton/status.h"

namespace baton_perf {

class ToldCache {
 public:
  static constexpr uint32_t kRequests = 3;
  static constexpr uint32_t kLayers = 8;
  static constexpr baton::TokenRange kTokens{0, 1024};

  static baton::Result<ToldCache> create(baton::Context& context);

  baton::CacheId id() const { return cache_.id(); }
  // Of request [0, kRequests): no two share one.
  static std::vector<uint32_t> blocks(uint32_t request);
  static std::string tag(uint32_t request) { return "told " + std::to_string(request); }

  // A Grant of this request, of the peer's cache by the same name.
  baton::Result<baton::Grant> grant(baton::Context& context, baton::PeerId peer, uint32_t request,
                                    uint32_t deadline_ms) const;
  // Waits for the offer of this request, and answers it.
  baton::Result<baton::Transfer> push(baton::Context& context, uint32_t request,
                                      uint32_t timeout_ms) const;

 private:
  std::vector<uint8_t> memory_;
  baton::Section section_;
  baton::KvCache cache_;
};

}  // namespace baton_perf
