#include "tests/simulation/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tests/integration/rig.h"

namespace baton_test {
namespace {

constexpr uint8_t kUnwritten = 0x11;  // of a sending section

size_t index_of(Way way) { return static_cast<size_t>(way); }

}  // namespace

ContextMemory::ContextMemory(const ContextScript& script) : script_(script) {
  for (size_t i = 0; i < script.section_bytes.size(); ++i) {
    sections_.emplace_back(script.section_bytes[i]);
    images_.emplace_back();
    if (!is_source(i)) continue;
    std::memset(sections_.back().data(), kUnwritten, sections_.back().size());
    images_.back().assign(script.section_bytes[i], kUnwritten);
  }
  for (const Way way : {Way::kIn, Way::kOut}) {
    for (const baton::LayerGroup& group : side(way).layout.groups) {
      std::deque<uint32_t> blocks;
      for (uint32_t block = 0; block < group.num_blocks; ++block) blocks.push_back(block);
      free_blocks_[index_of(way)].push_back(std::move(blocks));
      users_[index_of(way)].emplace_back(group.num_blocks);
    }
    for (uint32_t slot = 0; slot < kRawSlots; ++slot)
      free_slots_[index_of(way)].push_back(kRawGapBytes + slot * (kRawSlotBytes + kRawGapBytes));
  }
}

bool ContextMemory::is_source(size_t section) const {
  return section >= script_.in_sections && section != script_.raw_in();
}

baton::Section ContextMemory::register_one(baton::Context& context, size_t section) {
  baton::SectionOptions options;
  options.name = "section-" + std::to_string(section);
  options.address = sections_[section].data();
  options.length_bytes = sections_[section].size();
  return require(context.register_section(options), "register_section");
}

baton::Layout ContextMemory::layout(Way way) const {
  baton::Layout layout = side(way).layout;
  for (baton::LayerGroup& group : layout.groups) {
    for (baton::TensorPlace& place : group.places)
      place.section = handles_[place.section.value - 1].id();
  }
  return layout;
}

void ContextMemory::register_again(baton::Context& context, size_t section) {
  handles_[section] = register_one(context, section);
  if (section >= script_.raw_in()) return;
  const Way way = is_source(section) ? Way::kOut : Way::kIn;
  baton::KvCache& cache = way == Way::kIn ? in_ : out_;
  cache.close();
  cache = require(context.publish_cache({way == Way::kIn ? "in" : "out", layout(way)}), "publish");
}

void ContextMemory::publish(baton::Context& context) {
  for (size_t i = 0; i < sections_.size(); ++i) {
    handles_.push_back(register_one(context, i));
    if (handles_.back().id().value != i + 1)
      require_ok({baton::StatusCode::kInternal, "section ids count from 1"}, "register_section");
  }
  in_ = require(context.publish_cache({"in", layout(Way::kIn)}), "publish_cache");
  out_ = require(context.publish_cache({"out", layout(Way::kOut)}), "publish_cache");
}

void ContextMemory::unpublish() {
  in_.close();
  out_.close();
  handles_.clear();
}

bool ContextMemory::take_blocks(Way way, baton::TokenRange tokens, baton::base::Random& random,
                                BlockLists* lists) {
  auto& free_blocks = free_blocks_[index_of(way)];
  const std::vector<baton::LayerGroup>& groups = side(way).layout.groups;
  for (size_t g = 0; g < groups.size(); ++g) {
    if (free_blocks[g].size() < blocks_of_group(groups[g], tokens)) return false;
  }
  lists->clear();
  for (size_t g = 0; g < groups.size(); ++g) {
    std::deque<uint32_t>& from = free_blocks[g];
    const auto count = static_cast<std::ptrdiff_t>(blocks_of_group(groups[g], tokens));
    // Neighbours sometimes: units must not be joined across blocks.
    if (random.chance(1, 3)) {
      std::sort(from.begin(), from.end());
    } else {
      for (size_t i = from.size() - 1; i > 0; --i) std::swap(from[i], from[random.below(i + 1)]);
    }
    lists->emplace_back(from.begin(), from.begin() + count);
    from.erase(from.begin(), from.begin() + count);
  }
  check_unused(way, *lists, "given out");
  return true;
}

void ContextMemory::begin_use(Way way, const BlockLists& lists) {
  for (size_t g = 0; g < lists.size(); ++g) {
    for (const uint32_t block : lists[g]) ++users_[index_of(way)][g][block];
  }
}

void ContextMemory::end_use(Way way, const BlockLists& lists) {
  for (size_t g = 0; g < lists.size(); ++g) {
    for (const uint32_t block : lists[g]) --users_[index_of(way)][g][block];
  }
}

void ContextMemory::check_unused(Way way, const BlockLists& lists, const char* what) const {
  for (size_t g = 0; g < lists.size(); ++g) {
    for (const uint32_t block : lists[g]) {
      EXPECT_EQ(users_[index_of(way)][g][block], 0u)
          << "block " << block << " of group " << g << " is " << what << " while it is in use";
    }
  }
}

void ContextMemory::give_back(Way way, const BlockLists& lists) {
  check_unused(way, lists, "given back");
  for (size_t g = 0; g < lists.size(); ++g) {
    std::deque<uint32_t>& to = free_blocks_[index_of(way)][g];
    to.insert(to.end(), lists[g].begin(), lists[g].end());
  }
}

bool ContextMemory::take_slot(Way way, uint32_t* offset) {
  std::deque<uint32_t>& slots = free_slots_[index_of(way)];
  if (slots.empty()) return false;
  *offset = slots.front();
  slots.pop_front();
  return true;
}

void ContextMemory::give_slot_back(Way way, uint32_t offset) {
  free_slots_[index_of(way)].push_front(offset);
}

void ContextMemory::write_source(uint32_t section, uint64_t offset, uint8_t value) {
  sections_[section].data()[offset] = value;
  images_[section][offset] = value;
}

std::string ContextMemory::check_at_rest() const {
  for (size_t i = 0; i < sections_.size(); ++i) {
    const GuardedBuffer& section = sections_[i];
    std::string bad = section.check_guards();
    if (bad.empty()) {
      bad = is_source(i) ? compare_bytes(images_[i], section.bytes())
                         : section.check_poisoned(0, section.size());
    }
    if (!bad.empty()) return "section " + std::to_string(i + 1) + ": " + bad;
  }
  return "";
}

}  // namespace baton_test
