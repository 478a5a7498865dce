#include "examples/reference_engine/byte_pair_merger.h"

#include <queue>
#include <tuple>

#include "examples/reference_engine/engine_assert.h"

namespace baton_engine {

// A doubly linked list in a vector; a symbol that was merged into its left neighbour has no token.
struct BytePairMerger::Symbol {
  uint32_t token = kNoToken;
  size_t previous = 0;
  size_t next = 0;
};

// A merge of the symbol at `left` with its successor, valid while both still have these tokens.
struct BytePairMerger::Candidate {
  uint32_t rank = 0;
  size_t left = 0;
  uint32_t left_token = 0;
  uint32_t right_token = 0;

  // priority_queue serves the greatest: the lowest rank, then the leftmost.
  bool operator<(const Candidate& other) const {
    return std::tie(rank, left) > std::tie(other.rank, other.left);
  }
};

BytePairMerger::BytePairMerger(const std::array<uint32_t, 256>& byte_tokens,
                               const std::vector<Merge>& merges)
    : byte_tokens_(byte_tokens) {
  merges_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    merges_.try_emplace(pair_key(merge.left, merge.right),
                        Ranked{static_cast<uint32_t>(rank), merge.result});
  }
}

const BytePairMerger::Ranked* BytePairMerger::find(uint32_t left, uint32_t right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void BytePairMerger::encode(std::string_view piece, std::vector<uint32_t>& tokens) const {
  const size_t count = piece.size();
  std::vector<Symbol> symbols(count);
  std::priority_queue<Candidate> queue;
  // Index `count` stands for "none" at the right end; the left end is index 0.
  const auto offer = [&](size_t left) {
    const size_t right = symbols[left].next;
    if (right == count) return;
    const Ranked* merge = find(symbols[left].token, symbols[right].token);
    if (merge != nullptr) {
      queue.push({merge->rank, left, symbols[left].token, symbols[right].token});
    }
  };
  for (size_t i = 0; i < count; ++i) {
    symbols[i] = {byte_tokens_[static_cast<uint8_t>(piece[i])], i == 0 ? count : i - 1, i + 1};
    ENGINE_ASSERT(symbols[i].token != kNoToken);
  }
  for (size_t i = 0; i < count; ++i) offer(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.left];
    if (left.token != best.left_token || left.next == count ||
        symbols[left.next].token != best.right_token) {
      continue;
    }
    Symbol& right = symbols[left.next];
    left.token = find(best.left_token, best.right_token)->result;
    left.next = right.next;
    right.token = kNoToken;
    if (left.next != count) symbols[left.next].previous = best.left;
    if (left.previous != count) offer(left.previous);
    offer(best.left);
  }
  for (size_t i = 0; i < count; i = symbols[i].next) tokens.push_back(symbols[i].token);
}

}  // namespace baton_engine
