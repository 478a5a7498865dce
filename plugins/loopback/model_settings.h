// How a modelled rail behaves: parsed from its settings.
//
// Thread rule: a value.
#pragma once

#include <cstdint>

#include "baton/plugin/plugin.h"

namespace baton_loopback {

// The transports that are modelled.
//   rc   InfiniBand or RoCE, reliable connected: a NIC places in order; a Path is fenced by itself
//   srd  EFA: a NIC places in any order; a fence closes the endpoint that several Paths share
//   tcp  a stream, which the target's owner places; posts are done when they have left
//   shm  a ring in shared memory: the target's owner copies from the source; posts are done then
enum class Transport : uint8_t { kRc, kSrd, kTcp, kShm };

struct ModelSettings {
  Transport transport = Transport::kRc;
  uint32_t tag = 0;
  uint64_t latency_ns = 2000;  // one way
  uint64_t jitter_ns = 1000;   // up to so much more, drawn for each post
  uint64_t bytes_per_us = 12500;
  uint32_t max_posts = 256;
  uint32_t receive_depth = 64;     // rc, srd
  uint32_t endpoints = 2;          // srd: per rail
  uint64_t fence_ns = 100'000;     // rc, srd: up to so long from fence() to its end
  uint64_t retry_ns = 20'000'000;  // rc, srd: until a post that nobody answers breaks its Path

  bool is_hardware() const { return transport == Transport::kRc || transport == Transport::kSrd; }
  bool is_ordered() const { return transport != Transport::kSrd; }

  // Applies "key=value,...". BATON_RC_INVALID names what is wrong in `error`.
  [[nodiscard]] baton_rc parse(const char* text, char* error);
  void capabilities(baton_capabilities* out) const;
};

}  // namespace baton_loopback
