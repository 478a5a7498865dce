// The bytes of a request: where they come from, what they are, where they belong.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/simulation/request_group.h"

namespace baton_test {

using baton::TokenRange;

uint8_t Request::final_byte(uint32_t section, uint64_t offset) const {
  // Those of shared blocks are the same for all.
  const uint64_t owner = shares_source() ? (uint64_t{1} << 32) + script_.group : index_;
  uint64_t mixed = scenario_.seed * 0x9e3779b97f4a7c15u + owner * 0x94d049bb133111ebu +
                   (uint64_t{section} << 40) + offset;
  return static_cast<uint8_t>(baton::base::splitmix64(mixed) >> 56);
}

void Request::write_final(const SourceRange& range) {
  ContextMemory& memory = grant_is_source() ? *granter_.memory : *mover_.memory;
  for (uint64_t i = range.offset; i < range.offset + range.length; ++i)
    memory.write_source(range.section, i, final_byte(range.section, i));
}

// As an attention kernel does, just before its layer is said to be final.
void Request::finish_layer(TokenRange chunk, uint32_t layer) {
  for (const ReferenceUnit& unit : units_) {
    const bool is_of_chunk = unit.last_token >= chunk.begin && unit.last_token < chunk.end;
    if (unit.layer_ordinal != layer || !is_of_chunk) continue;
    for (const auto& source : unit.sources)
      write_final({source.section.value - 1, source.offset_bytes, source.length_bytes});
  }
}

void Request::finish_all() {
  for (const SourceRange& range : sources_) write_final(range);
}

// Every source byte becomes one that must not arrive: at the start, because it is not final yet;
// after the end, because the memory has a new owner.
void Request::spoil_source() {
  ContextMemory& memory = grant_is_source() ? *granter_.memory : *mover_.memory;
  for (const SourceRange& range : sources_) {
    for (uint64_t i = range.offset; i < range.offset + range.length; ++i)
      memory.write_source(range.section, i, static_cast<uint8_t>(~final_byte(range.section, i)));
  }
}

bool Request::take_memory() {
  ContextMemory& target = grant_is_source() ? *mover_.memory : *granter_.memory;
  ContextMemory& source = grant_is_source() ? *granter_.memory : *mover_.memory;
  if (!is_handoff()) {
    if (!target.take_slot(Way::kIn, &target_slot_)) return false;
    if (!source.take_slot(Way::kOut, &source_slot_)) {
      target.give_slot_back(Way::kIn, target_slot_);
      return false;
    }
    expect_raw();
    finish_all();
    open_shadow();
    return true;
  }
  if (!take_blocks()) return false;
  prepare_blocks();
  return true;
}

bool Request::take_blocks() {
  ContextMemory& target = grant_is_source() ? *mover_.memory : *granter_.memory;
  ContextMemory& source = grant_is_source() ? *granter_.memory : *mover_.memory;
  if (shares_target()) {
    target_blocks_ = group_->blocks_of(script_.tokens);
  } else if (!target.take_blocks(Way::kIn, script_.tokens, random_, &target_blocks_)) {
    return false;
  }
  if (shares_source()) {
    source_blocks_ = group_->blocks();
  } else if (!source.take_blocks(Way::kOut, script_.tokens, random_, &source_blocks_)) {
    if (!shares_target()) target.give_back(Way::kIn, target_blocks_);
    return false;
  }
  return true;
}

// From here to each side's end its blocks are in use.
void Request::prepare_blocks() {
  expect_handoff();
  spoil_source();
  ContextMemory& target = grant_is_source() ? *mover_.memory : *granter_.memory;
  ContextMemory& source = grant_is_source() ? *granter_.memory : *mover_.memory;
  target.begin_use(Way::kIn, target_blocks_);
  source.begin_use(Way::kOut, source_blocks_);
  open_shadow();
}

// What was taken and not prepared. The group has what is shared.
void Request::give_up_blocks() {
  if (!shares_target()) give_target_back();
  if (!shares_source()) give_source_back();
}

void Request::expect_handoff() {
  ContextMemory& target_memory = grant_is_source() ? *mover_.memory : *granter_.memory;
  ContextMemory& source_memory = grant_is_source() ? *granter_.memory : *mover_.memory;
  RandomCase layouts;
  layouts.source = source_memory.side(Way::kOut);
  layouts.source.blocks = source_blocks_;
  layouts.target = target_memory.side(Way::kIn);
  layouts.target.blocks = target_blocks_;
  layouts.tokens = script_.tokens;
  layouts.heads = script_.heads;
  layouts.unit_bytes = scenario_.unit_bytes;
  units_ = reference_units(layouts);
  units_of_layer_.assign(scenario_.layers, 0);

  // Where each byte goes is asked of the row-by-row copy, not of the units.
  std::vector<Bytes> source_image;
  std::vector<const uint8_t*> source;
  for (const GuardedBuffer& section : source_memory.sections())
    source_image.emplace_back(section.size());
  for (const ReferenceUnit& unit : units_) {
    ++units_of_layer_[unit.layer_ordinal];
    for (const auto& range : unit.sources) {
      const uint32_t section = range.section.value - 1;
      sources_.push_back({section, range.offset_bytes, range.length_bytes});
      for (uint64_t i = range.offset_bytes; i < range.offset_bytes + range.length_bytes; ++i)
        source_image[section][i] = final_byte(section, i);
    }
  }
  for (const Bytes& image : source_image) source.push_back(image.data());
  std::vector<Bytes> target_image;
  std::vector<uint8_t*> target;
  for (const GuardedBuffer& section : target_memory.sections()) {
    target_image.emplace_back(section.size());
  }
  for (Bytes& image : target_image) target.push_back(image.data());
  reference_copy(layouts, source, target);

  for (const ReferenceUnit& unit : units_) {
    const uint32_t section = unit.section - 1;
    Piece piece;
    piece.layer = unit.layer_ordinal;
    piece.at = target_memory.sections()[section].data() + unit.offset_bytes;
    const auto begin =
        target_image[section].begin() + static_cast<std::ptrdiff_t>(unit.offset_bytes);
    piece.expected.assign(begin, begin + unit.length_bytes);
    pieces_.push_back(std::move(piece));
  }
}

void Request::expect_raw() {
  ContextMemory& target = grant_is_source() ? *mover_.memory : *granter_.memory;
  ContextMemory& source = grant_is_source() ? *granter_.memory : *mover_.memory;
  const uint32_t from = source.raw_index(Way::kOut);
  const uint32_t to = target.raw_index(Way::kIn);
  for (const RawPart& part : script_.parts) {
    const uint64_t offset = source_slot_ + part.offset;
    sources_.push_back({from, offset, part.length});
    Piece piece;
    piece.at = target.sections()[to].data() + target_slot_ + part.offset;
    for (uint32_t i = 0; i < part.length; ++i)
      piece.expected.push_back(final_byte(from, offset + i));
    pieces_.push_back(std::move(piece));
  }
}

bool Request::is_using(bool of_granter, size_t section) const {
  const bool is_over_there =
      of_granter ? grant_end_.has_value() : !transfer_id_.has_value() || transfer_end_.has_value();
  if (!is_started() || is_over_there) return false;
  if (of_granter == grant_is_source()) {
    return std::any_of(sources_.begin(), sources_.end(),
                       [section](const SourceRange& range) { return range.section == section; });
  }
  const GuardedBuffer& at = (of_granter ? granter_ : mover_).memory->sections()[section];
  return std::any_of(pieces_.begin(), pieces_.end(), [&at](const Piece& piece) {
    return piece.at >= at.data() && piece.at < at.data() + at.size();
  });
}

void Request::release_source() {
  if (std::exchange(source_released_, true)) return;
  ContextMemory& memory = grant_is_source() ? *granter_.memory : *mover_.memory;
  if (is_handoff()) memory.end_use(Way::kOut, source_blocks_);
  if (shares_source()) {
    group_->on_source_released();
    return;
  }
  spoil_source();
  give_source_back();
}

void Request::give_source_back() {
  ContextMemory& memory = grant_is_source() ? *granter_.memory : *mover_.memory;
  if (is_handoff()) {
    memory.give_back(Way::kOut, source_blocks_);
  } else {
    memory.give_slot_back(Way::kOut, source_slot_);
  }
}

void Request::release_target() {
  if (std::exchange(target_released_, true)) return;
  close_target();
  for (const Piece& piece : pieces_)
    std::fill_n(piece.at, piece.expected.size(), GuardedBuffer::kPoison);
  if (!shares_target()) give_target_back();
}

// From here on nothing may land there.
void Request::close_target() {
  if (std::exchange(target_closed_, true)) return;
  ContextMemory& memory = grant_is_source() ? *mover_.memory : *granter_.memory;
  if (is_handoff()) memory.end_use(Way::kIn, target_blocks_);
  Shadow* shadow = target_shadow();
  if (shadow == nullptr) return;
  for (const Piece& piece : pieces_) shadow->close(piece.at);
}

void Request::give_target_back() {
  ContextMemory& memory = grant_is_source() ? *mover_.memory : *granter_.memory;
  if (is_handoff()) {
    memory.give_back(Way::kIn, target_blocks_);
  } else {
    memory.give_slot_back(Way::kIn, target_slot_);
  }
}

Shadow* Request::target_shadow() const {
  return grant_is_source() ? mover_.shadow : granter_.shadow;
}

void Request::open_shadow() const {
  Shadow* shadow = target_shadow();
  if (shadow == nullptr) return;
  for (const Piece& piece : pieces_)
    shadow->open(piece.at, piece.expected.size(), piece.layer, this);
}

std::string Request::may_land(uint32_t layer, uint64_t grant) const {
  if (!grant_id_.has_value() || grant_id_->value != grant)
    return tag() + "'s memory is written for Grant " + std::to_string(grant);
  if (layer < gates_.size() && gates_[layer].is_open() && gates_[layer].poll().is_ok())
    return tag() + ": layer " + std::to_string(layer) + " is written after it was said to be there";
  return "";
}

std::string Request::compare(std::optional<uint32_t> layer, bool may_be_missing) const {
  for (size_t i = 0; i < pieces_.size(); ++i) {
    const Piece& piece = pieces_[i];
    if (layer.has_value() && piece.layer != *layer) continue;
    tally_->bytes_checked += piece.expected.size();
    for (size_t byte = 0; byte < piece.expected.size(); ++byte) {
      const uint8_t actual = piece.at[byte];
      if (actual == piece.expected[byte]) continue;
      if (may_be_missing && actual == GuardedBuffer::kPoison) continue;
      const bool is_spoiled = actual == static_cast<uint8_t>(~piece.expected[byte]);
      return "piece " + std::to_string(i) + " of " + std::to_string(pieces_.size()) + " (layer " +
             std::to_string(piece.layer) + "), byte " + std::to_string(byte) + " is " +
             std::to_string(actual) + ", expected " + std::to_string(piece.expected[byte]) +
             (actual == GuardedBuffer::kPoison ? ": it never arrived"
              : is_spoiled                     ? ": it was read when it was not to be"
                                               : "");
    }
  }
  return "";
}

}  // namespace baton_test
