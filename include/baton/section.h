// Section: one registered range of memory (later also storage) that peers may be granted access to.
//
// Invariants:
//  1. A Section is registered on every rail of its Context from register_section until it is
//  closed.
//  2. It counts its users (Grants, Transfers). It is never deregistered with work in
//  flight.
//
// Ownership: the memory stays the caller's, and outlives the Section. Thread rule: thread-safe;
// move and destroy from one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "baton/export.h"
#include "baton/ids.h"
#include "baton/status.h"

namespace baton {

namespace section {
class SectionRecord;
}
namespace api {
class ContextImpl;
}

enum class MemoryKind : uint8_t {
  kDram = 0,
  kHbm = 1,     // device memory (not supported by this version: UNAVAILABLE)
  kNvme = 2,    // a file or block device (not supported by this version: UNAVAILABLE)
  kObject = 3,  // an object store (not supported by this version: UNAVAILABLE)
};

BATON_EXPORT std::string_view memory_kind_name(MemoryKind kind);

struct MemoryLocation {
  int numa_node = -1;  // -1: not known
  int device = -1;     // GPU or drive index; -1: none
};

struct SectionOptions {
  std::string name;  // for logs and peers; unique in the Context unless empty; <= 255 bytes, no
                     // control characters
  MemoryKind kind = MemoryKind::kDram;
  MemoryLocation location;
  void* address = nullptr;
  uint64_t length_bytes = 0;
};

// RAII registration; made by Context::register_section.
class BATON_EXPORT Section {
 public:
  Section() = default;
  Section(Section&&) noexcept;
  Section& operator=(Section&&) noexcept;
  // Closes; see close(). A failure is logged; the memory stays registered, and is not the caller's
  // alone, until the Context is closed.
  ~Section();

  bool is_open() const { return record_ != nullptr; }
  // REQUIRES of all below: is_open().
  SectionId id() const;
  void* address() const;
  uint64_t length_bytes() const;
  uint32_t users() const;  // a moment's value

  // Withdraws the section: peers are told, no new Grant or Transfer can name it, those that do are
  // cancelled. Returns when none is left and the memory is quiet: in kThread mode it waits for
  // that, at most 2 s past a fence; in kCaller mode it drives progress itself. After it the memory
  // is the caller's alone. OK when already closed.
  Status close();

 private:
  friend class api::ContextImpl;
  Section(std::shared_ptr<api::ContextImpl> context,
          std::shared_ptr<section::SectionRecord> record);

  std::shared_ptr<api::ContextImpl> context_;
  std::shared_ptr<section::SectionRecord> record_;
};

}  // namespace baton
