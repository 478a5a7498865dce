// KvCache: a Layout published to peers, so that hand-offs address KV by block index. Register once,
// describe once.
//
// Ownership: names its Sections and does not keep them: once one is closed, a Grant or Transfer
// that needs it is refused. Thread rule: thread-safe; move and destroy from one thread at a time.
#pragma once

#include <memory>
#include <string>

#include "baton/export.h"
#include "baton/ids.h"
#include "baton/layout.h"
#include "baton/status.h"

namespace baton {

namespace api {
class ContextImpl;
}

struct CacheOptions {
  std::string
      name;       // how peers find it; unique in the Context, <= 255 bytes, no control characters
  Layout layout;  // its places name open sections of the same Context
};

// RAII; made by Context::publish_cache.
class BATON_EXPORT KvCache {
 public:
  KvCache() = default;
  KvCache(KvCache&&) noexcept;
  KvCache& operator=(KvCache&&) noexcept;
  ~KvCache();

  bool is_open() const { return layout_ != nullptr; }
  CacheId id() const { return id_; }
  // REQUIRES: is_open().
  const Layout& layout() const { return *layout_; }

  // Withdraws it: no new Grant or Transfer names it; those under way go on.
  void close();

 private:
  friend class api::ContextImpl;
  std::shared_ptr<api::ContextImpl> context_;
  std::shared_ptr<const Layout> layout_;
  CacheId id_;
};

}  // namespace baton
