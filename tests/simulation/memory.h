// ContextMemory: every byte of one simulated Context. Sections that receive are poisoned wherever
// nothing is expected; sections that send hold what the test wrote, and nobody else may write them.
//
// Thread rule: the driver's thread.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "baton/context.h"
#include "src/base/random.h"
#include "tests/simulation/scenario.h"
#include "tests/support/guarded_buffer.h"

namespace baton_test {

// Which of a Context's two caches.
enum class Way : uint8_t { kIn, kOut };

// Block lists of one request, one per group; or the number of a slot of a raw section.
using BlockLists = std::vector<std::vector<uint32_t>>;

class ContextMemory {
 public:
  explicit ContextMemory(const ContextScript& script);

  // Registers the sections and publishes the caches "in" and "out".
  void publish(baton::Context& context);
  size_t num_sections() const { return sections_.size(); }
  // Withdraws one section, and returns when it is quiet. Then registers it anew, and publishes the
  // caches that lie in it: all have other ids.
  baton::Status withdraw(size_t section) { return handles_[section].close(); }
  void register_again(baton::Context& context, size_t section);
  // Before the Context goes.
  void unpublish();

  const Side& side(Way way) const { return way == Way::kIn ? script_.in : script_.out; }
  baton::CacheId cache(Way way) const { return way == Way::kIn ? in_.id() : out_.id(); }
  // Among sections(), and its id now.
  uint32_t raw_index(Way way) const {
    return way == Way::kIn ? script_.raw_in() : script_.raw_out();
  }
  baton::SectionId raw_section(Way way) const { return handles_[raw_index(way)].id(); }
  std::vector<GuardedBuffer>& sections() { return sections_; }

  // Blocks for these tokens; false when too few are free.
  bool take_blocks(Way way, baton::TokenRange tokens, baton::base::Random& random,
                   BlockLists* lists);
  // A failure, as giving them out is, while somebody has them in use.
  void give_back(Way way, const BlockLists& lists);
  // A Grant over these blocks has begun, or has ended: while there is one, they may be read, or
  // written, by whom it names.
  void begin_use(Way way, const BlockLists& lists);
  void end_use(Way way, const BlockLists& lists);
  // A slot's first byte within the raw section; false when none is free.
  bool take_slot(Way way, uint32_t* offset);
  void give_slot_back(Way way, uint32_t offset);

  // A byte of a sending section, for good: also what check_at_rest() expects there.
  void write_source(uint32_t section, uint64_t offset, uint8_t value);

  // With no request alive: empty, or the first byte that is not what it must be.
  std::string check_at_rest() const;

 private:
  bool is_source(size_t section) const;
  baton::Section register_one(baton::Context& context, size_t section);
  // As in the script, with the ids that the sections have now.
  baton::Layout layout(Way way) const;
  void check_unused(Way way, const BlockLists& lists, const char* what) const;

  const ContextScript& script_;
  std::vector<GuardedBuffer> sections_;
  std::vector<std::vector<uint8_t>> images_;  // of sending sections; empty for the others
  std::vector<baton::Section> handles_;
  baton::KvCache in_;
  baton::KvCache out_;
  std::vector<std::deque<uint32_t>> free_blocks_[2];  // per group
  std::vector<std::vector<uint32_t>> users_[2];       // per group, of each block
  std::deque<uint32_t> free_slots_[2];
};

}  // namespace baton_test
