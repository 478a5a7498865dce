#include "src/kv/request_check.h"

#include <algorithm>
#include <utility>

namespace baton::kv {
namespace {

using std::to_string;

Status invalid(std::string message) {
  return Status(StatusCode::kInvalidArgument, std::move(message));
}

std::string range_text(uint64_t first, uint64_t end) {
  return "[" + to_string(first) + ", " + to_string(end) + ")";
}

}  // namespace

std::string range_text(TokenRange tokens) { return range_text(tokens.begin, tokens.end); }

// The sum in 64 bits: the range may be what a caller or a peer made up.
std::string range_text(HeadRange heads) {
  return range_text(heads.first, uint64_t{heads.first} + heads.count);
}

Status check_block_list(const char* side, size_t index, const LayerGroup& group, TokenRange tokens,
                        const std::vector<uint32_t>& blocks) {
  const std::string who = std::string(side) + " block list of group " + to_string(index);
  const uint32_t needed = blocks_of_group(group, tokens);
  if (blocks.size() != needed) {
    return invalid(who + " has " + to_string(blocks.size()) + " entries, too " +
                   (blocks.size() < needed ? "few" : "many") + ": tokens " +
                   range_text(tokens_of_group(group, tokens)) + " touch " + to_string(needed) +
                   " blocks of " + to_string(group.block_tokens) + " tokens");
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (blocks[i] < group.num_blocks) continue;
    return Status(StatusCode::kOutOfRange, who + ": entry " + to_string(i) + " is block " +
                                               to_string(blocks[i]) + ", the layout has " +
                                               to_string(group.num_blocks) + " blocks");
  }
  return Status::ok();
}

Status check_distinct_blocks(size_t index, const std::vector<uint32_t>& blocks) {
  std::vector<uint32_t> sorted = blocks;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice == sorted.end()) return Status::ok();
  const auto first = std::find(blocks.begin(), blocks.end(), *twice);
  const auto second = std::find(first + 1, blocks.end(), *twice);
  return invalid("target block list of group " + to_string(index) + ": entries " +
                 to_string(first - blocks.begin()) + " and " + to_string(second - blocks.begin()) +
                 " are both block " + to_string(*twice));
}

Status check_share_heads(size_t index, const LayerGroup& source, const LayerGroup& target) {
  if (!shared_heads(source, target).is_empty()) return Status::ok();
  return Status(StatusCode::kMismatch, "group " + to_string(index) + ": source holds heads " +
                                           range_text(heads_of(source)) + ", target holds " +
                                           range_text(heads_of(target)) + ": none in common");
}

Status check_sent_heads(size_t index, const LayerGroup& source, const LayerGroup& target,
                        HeadRange heads) {
  const HeadRange shared = shared_heads(source, target);
  if (heads.is_empty()) return Status::ok();
  if (heads.first >= shared.first && uint64_t{heads.first} + heads.count <= shared.end())
    return Status::ok();
  return Status(StatusCode::kMismatch, "group " + to_string(index) + ": heads " +
                                           range_text(heads) + " are to be sent; source holds " +
                                           range_text(heads_of(source)) + ", target holds " +
                                           range_text(heads_of(target)));
}

}  // namespace baton::kv
