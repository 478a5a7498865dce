// Subject: one thing that is measured, Baton or a baseline. It moves batches between this process
// and the peer and says when each is placed. All subjects of a measurement use the same buffers and
// the same Places.
//
// Invariants:
//  1. A batch is done when its bytes are in the target's memory and this side knows it.
//  2. Batches finish in any order; each that was submitted is reported by wait_one() once.
//  3. After a failure the subject is of no further use.
//
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <string_view>

#include "baton/status.h"

namespace baton_perf {

// Who moves: this side writes into the peer's memory, or reads from it.
enum class Operation : uint8_t { kWrite, kRead };

class Subject {
 public:
  virtual ~Subject() = default;

  virtual std::string_view name() const = 0;
  // Starts batch `index` of the Places. May block while the transport has no room.
  virtual baton::Status submit(uint64_t index) = 0;
  // Blocks until a batch is done and says which. REQUIRES: one is outstanding.
  virtual baton::Result<uint64_t> wait_one() = 0;
};

}  // namespace baton_perf
