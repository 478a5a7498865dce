#include "tests/simulation/shadow.h"

#include <iterator>

namespace baton_test {

void Shadow::open(const uint8_t* at, uint64_t length_bytes, uint32_t layer,
                  const PieceOwner* owner) {
  pieces_[at] = Piece{at + length_bytes, layer, owner};
}

std::string Shadow::check(const uint8_t* at, uint64_t length_bytes, uint64_t grant) const {
  const uint8_t* const end = at + length_bytes;
  while (at < end) {
    auto piece = pieces_.upper_bound(at);
    if (piece == pieces_.begin() || std::prev(piece)->second.end <= at)
      return "a byte lands where no live Grant lets it";
    --piece;
    std::string bad = piece->second.owner->may_land(piece->second.layer, grant);
    if (!bad.empty()) return bad;
    at = piece->second.end;
  }
  return "";
}

}  // namespace baton_test
