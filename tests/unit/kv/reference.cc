#include "tests/unit/kv/reference.h"

#include <algorithm>

namespace baton_test {
namespace {

using baton::GroupKind;
using baton::LayerGroup;
using baton::TensorPlace;
using baton::TokenOrder;

struct Row {
  uint32_t token;
  uint32_t head;  // of the model
  uint64_t target;
  uint64_t source;
  uint32_t source_block;  // position in the list
};

uint32_t list_position(const LayerGroup& group, uint32_t first, uint32_t token) {
  return token / group.block_tokens - first / group.block_tokens;
}

bool holds(const LayerGroup& group, uint32_t head) {
  return head >= group.head_first && head < group.head_first + group.heads;
}

bool is_sent(const RandomCase& c, size_t g, uint32_t head) {
  return c.heads.empty() ||
         (head >= c.heads[g].first && head < c.heads[g].first + c.heads[g].count);
}

std::vector<Row> rows_of(const RandomCase& c, size_t g, size_t place) {
  const LayerGroup& source = c.source.layout.groups[g];
  const LayerGroup& target = c.target.layout.groups[g];
  const uint32_t first = reference_first_token(target, c.tokens);
  std::vector<Row> rows;
  for (uint32_t token = first; token < c.tokens.end; ++token) {
    for (uint32_t head = 0; head < target.heads_total; ++head) {
      if (!holds(source, head) || !holds(target, head) || !is_sent(c, g, head)) continue;
      rows.push_back(
          {token, head,
           reference_address(target, target.places[place], c.target.blocks[g], first, token, head),
           reference_address(source, source.places[place], c.source.blocks[g], first, token, head),
           list_position(source, first, token)});
    }
  }
  return rows;
}

// Appends `length` bytes of a row to the unit's sources; false when that needs one piece too many.
bool append_source(ReferenceUnit& unit, uint32_t& last_block, const Row& row, uint64_t offset,
                   baton::SectionId section, uint32_t length) {
  if (!unit.sources.empty() && last_block == row.source_block &&
      unit.sources.back().offset_bytes + unit.sources.back().length_bytes == offset) {
    unit.sources.back().length_bytes += length;
    return true;
  }
  if (unit.sources.size() == 16) return false;
  unit.sources.push_back({offset, section, length});
  last_block = row.source_block;
  return true;
}

// The units of one target block of one tensor; `rows` in order of address.
void cut(const std::vector<Row>& rows, uint32_t row_bytes, uint32_t unit_bytes,
         baton::SectionId source_section, const ReferenceUnit& empty,
         std::vector<ReferenceUnit>& out) {
  ReferenceUnit unit = empty;
  uint32_t last_block = 0;
  const auto close = [&] {
    if (unit.length_bytes > 0) out.push_back(unit);
    unit = empty;
  };
  for (const Row& row : rows) {
    for (uint32_t part = 0; part < row_bytes; part += unit_bytes) {
      const uint32_t length = std::min(unit_bytes, row_bytes - part);
      const uint64_t at = row.target + part;
      const bool is_next = unit.length_bytes > 0 && unit.offset_bytes + unit.length_bytes == at &&
                           unit.length_bytes + row_bytes <= unit_bytes;
      if (!is_next) close();
      if (!append_source(unit, last_block, row, row.source + part, source_section, length)) {
        close();
        append_source(unit, last_block, row, row.source + part, source_section, length);
      }
      if (unit.length_bytes == 0) unit.offset_bytes = at;
      unit.length_bytes += length;
      unit.last_token = std::max(unit.last_token, row.token);
    }
  }
  close();
}

}  // namespace

uint32_t reference_first_token(const LayerGroup& group, baton::TokenRange tokens) {
  if (group.kind == GroupKind::kLinearState) return tokens.end - 1;
  if (group.kind != GroupKind::kSlidingWindow) return tokens.begin;
  return std::max<uint32_t>(
      tokens.begin, tokens.end > group.window_tokens ? tokens.end - group.window_tokens : 0);
}

uint64_t reference_address(const LayerGroup& group, const TensorPlace& place,
                           const std::vector<uint32_t>& blocks, uint32_t first, uint32_t token,
                           uint32_t head) {
  const uint64_t row = uint64_t{group.head_elements} * baton::dtype_bytes(group.dtype);
  const uint64_t t = token % group.block_tokens;
  const uint64_t h = head - group.head_first;
  const uint64_t index =
      group.order == TokenOrder::kNHD ? t * group.heads + h : h * group.block_tokens + t;
  return place.offset_bytes +
         blocks[list_position(group, first, token)] * place.block_stride_bytes + index * row;
}

std::vector<ReferenceUnit> reference_units(const RandomCase& c) {
  std::vector<ReferenceUnit> units;
  uint32_t ordinal = 0;
  for (size_t g = 0; g < c.target.layout.groups.size(); ++g) {
    const LayerGroup& target = c.target.layout.groups[g];
    const uint32_t first = reference_first_token(target, c.tokens);
    const auto row =
        static_cast<uint32_t>(uint64_t{target.head_elements} * baton::dtype_bytes(target.dtype));
    for (size_t place = 0; place < target.places.size(); ++place) {
      const std::vector<Row> all = rows_of(c, g, place);
      for (uint32_t block = 0; block < c.target.blocks[g].size(); ++block) {
        std::vector<Row> rows;
        for (const Row& r : all) {
          if (list_position(target, first, r.token) == block) rows.push_back(r);
        }
        std::sort(rows.begin(), rows.end(),
                  [](const Row& a, const Row& b) { return a.target < b.target; });
        ReferenceUnit empty;
        empty.layer_ordinal = ordinal + static_cast<uint32_t>(place / target.tensors_per_layer);
        empty.group = static_cast<uint32_t>(g);
        empty.block_position = block;
        empty.section = target.places[place].section.value;
        cut(rows, row, c.unit_bytes, c.source.layout.groups[g].places[place].section, empty, units);
      }
    }
    ordinal += static_cast<uint32_t>(target.layers.size());
  }
  return units;
}

void reference_copy(const RandomCase& c, const std::vector<const uint8_t*>& source,
                    const std::vector<uint8_t*>& target) {
  for (size_t g = 0; g < c.target.layout.groups.size(); ++g) {
    const LayerGroup& from = c.source.layout.groups[g];
    const LayerGroup& to = c.target.layout.groups[g];
    for (size_t place = 0; place < to.places.size(); ++place) {
      const uint8_t* read = source[from.places[place].section.value - 1];
      uint8_t* write = target[to.places[place].section.value - 1];
      for (const Row& row : rows_of(c, g, place)) {
        for (uint64_t byte = 0; byte < baton::row_bytes(to); ++byte) {
          write[row.target + byte] = read[row.source + byte];
        }
      }
    }
  }
}

}  // namespace baton_test
