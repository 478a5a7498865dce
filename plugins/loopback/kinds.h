// What the two kinds of fabric have in common: the one with a plan (fabric.h), which is the
// border's specification, and the modelled one (model_fabric.h), which behaves as a transport of
// the field does. plugin.cc sees no more than this.
//
// Thread rule: as the border's (baton/plugin/plugin.h); AnyFabric from any thread.
#pragma once

#include <cstdint>

#include "baton/plugin/plugin.h"

namespace baton_loopback {

class AnyPath {
 public:
  virtual void address(uint8_t* out, uint32_t* length_bytes) const = 0;
  [[nodiscard]] virtual baton_rc connect(const uint8_t* peer_address, uint32_t length_bytes,
                                         char* error) = 0;
  virtual baton_rc post(const baton_post* posts, uint32_t count, uint32_t* accepted) = 0;
  virtual baton_rc flush(uint64_t op) = 0;
  virtual void fence() = 0;
  // Takes it from its rail and frees it. REQUIRES: fenced.
  virtual void close() = 0;

 protected:
  ~AnyPath() = default;
};

class AnyRail {
 public:
  virtual void capabilities(baton_capabilities* out) const = 0;
  virtual baton_rc region_register(void* address, uint64_t length_bytes, uint64_t tag,
                                   baton_region** out, baton_region_key* key) = 0;
  virtual void region_unregister(baton_region* region) = 0;
  [[nodiscard]] virtual baton_rc path_open(const baton_path_options& options, AnyPath** out,
                                           char* error) = 0;
  virtual uint32_t progress(uint64_t budget_bytes) = 0;
  [[nodiscard]] virtual int wait_fd() const = 0;
  virtual uint32_t arm() = 0;
  // Frees it.
  virtual void close() = 0;

 protected:
  ~AnyRail() = default;
};

// What a baton_loopback_fabric is.
class AnyFabric {
 public:
  virtual ~AnyFabric() = default;
  virtual baton_rc rail_open(const baton_host* host, const baton_rail_options& options,
                             AnyRail** out, char* error) = 0;
};

// Null, or what is wrong with a post.
const char* check_post(const baton_post& post, uint32_t max_message_bytes);

}  // namespace baton_loopback
