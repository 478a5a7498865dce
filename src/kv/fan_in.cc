#include "src/kv/fan_in.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "src/base/assert.h"
#include "src/kv/request_check.h"

namespace baton::kv {
namespace {

using std::to_string;

Status invalid(std::string message) {
  return Status(StatusCode::kInvalidArgument, std::move(message));
}

Status prefixed(const std::string& who, const Status& status) {
  return status.is_ok() ? status : Status(status.code(), who + status.message());
}

std::string writer_text(size_t writer) { return "writer " + to_string(writer); }

// A window and a state are of the request's last tokens, which a part of them does not know.
bool may_be_parted(GroupKind kind) {
  return kind == GroupKind::kFullAttention || kind == GroupKind::kMlaLatent;
}

Status check_target(const FanInRequest& request) {
  BATON_ASSERT(request.target != nullptr, "a fan-in has a target");
  BATON_RETURN_IF_ERROR(prefixed("target layout: ", validate(*request.target)));
  if (request.tokens.is_empty())
    return invalid("token range " + range_text(request.tokens) + " is empty");
  const auto& groups = request.target->groups;
  if (request.target_blocks.size() != groups.size()) {
    return invalid("target has " + to_string(request.target_blocks.size()) + " block lists for " +
                   to_string(groups.size()) + " layer groups");
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    const std::vector<uint32_t>& blocks = request.target_blocks[g];
    BATON_RETURN_IF_ERROR(check_block_list("target", g, groups[g], request.tokens, blocks));
    BATON_RETURN_IF_ERROR(check_distinct_blocks(g, blocks));
  }
  if (request.writers.empty() || request.writers.size() > kMaxSenders) {
    return invalid(to_string(request.writers.size()) + " writers: must be in [1, " +
                   to_string(kMaxSenders) + "]");
  }
  return Status::ok();
}

Status check_writer(const FanInRequest& request, const FanInRequest::Writer& writer) {
  BATON_ASSERT(writer.layout != nullptr, "a writer has a layout");
  BATON_RETURN_IF_ERROR(validate(*writer.layout));
  BATON_RETURN_IF_ERROR(compatible(*writer.layout, *request.target));
  const auto& groups = request.target->groups;
  const bool is_part = !writer.tokens.is_empty() && writer.tokens != request.tokens;
  if (is_part) {
    if (writer.tokens.begin < request.tokens.begin || writer.tokens.end > request.tokens.end) {
      return Status(StatusCode::kOutOfRange, "tokens " + range_text(writer.tokens) +
                                                 " are not within the request's " +
                                                 range_text(request.tokens));
    }
    for (size_t g = 0; g < groups.size(); ++g) {
      if (may_be_parted(groups[g].kind)) continue;
      return invalid("tokens " + range_text(writer.tokens) + " of " + range_text(request.tokens) +
                     ": group " + to_string(g) + " (" +
                     std::string(group_kind_name(groups[g].kind)) +
                     ") cannot be parted by tokens, only by heads");
    }
  }
  if (writer.heads.empty()) return Status::ok();
  if (writer.heads.size() != groups.size()) {
    return invalid("heads are named for " + to_string(writer.heads.size()) + " of " +
                   to_string(groups.size()) + " layer groups");
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    BATON_RETURN_IF_ERROR(
        check_sent_heads(g, writer.layout->groups[g], groups[g], writer.heads[g]));
  }
  return Status::ok();
}

// Heads for writers that have the same tokens. REQUIRES: each passed check_writer().
Status give_heads(const FanInRequest& request, const std::vector<size_t>& writers,
                  std::vector<WriterShare>& shares) {
  const auto names_heads = [&](size_t writer) { return !request.writers[writer].heads.empty(); };
  const auto other = std::find_if(writers.begin(), writers.end(), [&](size_t writer) {
    return names_heads(writer) != names_heads(writers[0]);
  });
  if (other != writers.end()) {
    const size_t named = names_heads(*other) ? *other : writers[0];
    const size_t unnamed = names_heads(*other) ? writers[0] : *other;
    return invalid(writer_text(named) + " names its heads, " + writer_text(unnamed) +
                   " of the same tokens does not: all or none");
  }
  if (names_heads(writers[0])) {
    for (const size_t writer : writers) {
      const auto& heads = request.writers[writer].heads;
      shares[writer].heads.assign(heads.begin(), heads.end());
    }
    return Status::ok();
  }
  std::vector<const Layout*> sources;
  for (const size_t writer : writers) sources.push_back(request.writers[writer].layout);
  // Gaps are looked for once, over all writers and tokens.
  auto heads = assign_senders({sources, request.target, request.target_rank, true});
  if (!heads.is_ok()) return heads.status();
  for (size_t i = 0; i < writers.size(); ++i) shares[writers[i]].heads = std::move((*heads)[i]);
  return Status::ok();
}

// What one writer writes of one layer group.
struct Area {
  size_t writer = 0;
  TokenRange tokens;
  HeadRange heads;
};

Status check_overlap(size_t group, const std::vector<Area>& areas) {
  for (size_t i = 0; i < areas.size(); ++i) {
    for (size_t j = i + 1; j < areas.size(); ++j) {
      const Area& a = areas[i];
      const Area& b = areas[j];
      const TokenRange tokens{std::max(a.tokens.begin, b.tokens.begin),
                              std::min(a.tokens.end, b.tokens.end)};
      const uint32_t first = std::max(a.heads.first, b.heads.first);
      const uint32_t end = std::min(a.heads.end(), b.heads.end());
      if (tokens.is_empty() || first >= end) continue;
      return invalid("group " + to_string(group) + ": " + writer_text(a.writer) + " and " +
                     writer_text(b.writer) + " would both write tokens " + range_text(tokens) +
                     " of heads " + range_text(HeadRange{first, end - first}));
    }
  }
  return Status::ok();
}

// The first of `heads` that no area holds at this token; heads.end() when none is missing.
uint32_t first_missing(std::vector<Area>& areas, uint32_t token, HeadRange heads) {
  std::sort(areas.begin(), areas.end(),
            [](const Area& a, const Area& b) { return a.heads.first < b.heads.first; });
  uint32_t head = heads.first;
  for (const Area& area : areas) {
    if (token < area.tokens.begin || token >= area.tokens.end) continue;
    if (area.heads.first > head) break;
    head = std::max(head, area.heads.end());
  }
  return head;
}

// REQUIRES: the areas do not overlap, and lie within tokens x heads.
Status check_cover(size_t group, std::vector<Area> areas, TokenRange tokens, HeadRange heads) {
  std::vector<uint32_t> starts = {tokens.begin};
  for (const Area& area : areas) {
    starts.push_back(area.tokens.begin);
    if (area.tokens.end < tokens.end) starts.push_back(area.tokens.end);
  }
  std::sort(starts.begin(), starts.end());
  for (const uint32_t token : starts) {
    const uint32_t head = first_missing(areas, token, heads);
    if (head >= heads.end()) continue;
    return Status(StatusCode::kMismatch, "group " + to_string(group) + ": nobody writes token " +
                                             to_string(token) + " of head " + to_string(head) +
                                             ", which the target takes");
  }
  return Status::ok();
}

Status check_shares(const FanInRequest& request, const std::vector<WriterShare>& shares) {
  for (size_t g = 0; g < request.target->groups.size(); ++g) {
    const LayerGroup& group = request.target->groups[g];
    std::vector<Area> areas;
    for (size_t i = 0; i < shares.size(); ++i) {
      if (shares[i].heads[g].is_empty()) continue;
      areas.push_back({i, tokens_of_group(group, shares[i].tokens), shares[i].heads[g]});
    }
    BATON_RETURN_IF_ERROR(check_overlap(g, areas));
    if (request.allow_gaps) continue;
    BATON_RETURN_IF_ERROR(
        check_cover(g, std::move(areas), tokens_of_group(group, request.tokens), heads_of(group)));
  }
  return Status::ok();
}

// The entries of the request's lists that a writer's tokens touch.
void slice_blocks(const FanInRequest& request, WriterShare& share) {
  for (size_t g = 0; g < request.target->groups.size(); ++g) {
    const LayerGroup& group = request.target->groups[g];
    const uint32_t listed = tokens_of_group(group, request.tokens).begin / group.block_tokens;
    const uint32_t first = tokens_of_group(group, share.tokens).begin / group.block_tokens;
    const auto begin = request.target_blocks[g].begin() + (first - listed);
    share.target_blocks.emplace_back(begin, begin + blocks_of_group(group, share.tokens));
  }
}

}  // namespace

Result<std::vector<WriterShare>> divide_target(const FanInRequest& request) {
  BATON_RETURN_IF_ERROR(check_target(request));
  std::vector<WriterShare> shares(request.writers.size());
  std::map<std::pair<uint32_t, uint32_t>, std::vector<size_t>> by_tokens;
  for (size_t i = 0; i < shares.size(); ++i) {
    const FanInRequest::Writer& writer = request.writers[i];
    BATON_RETURN_IF_ERROR(prefixed(writer_text(i) + ": ", check_writer(request, writer)));
    shares[i].tokens = writer.tokens.is_empty() ? request.tokens : writer.tokens;
    by_tokens[{shares[i].tokens.begin, shares[i].tokens.end}].push_back(i);
  }
  for (const auto& [tokens, writers] : by_tokens) {
    BATON_RETURN_IF_ERROR(give_heads(request, writers, shares));
  }
  BATON_RETURN_IF_ERROR(check_shares(request, shares));
  for (WriterShare& share : shares) {
    const bool has_heads = std::any_of(share.heads.begin(), share.heads.end(),
                                       [](const HeadRange& heads) { return !heads.is_empty(); });
    if (!has_heads) {
      share.heads.clear();
    } else {
      slice_blocks(request, share);
    }
  }
  const bool has_writer = std::any_of(shares.begin(), shares.end(),
                                      [](const WriterShare& one) { return !one.heads.empty(); });
  if (has_writer) return shares;
  return Status(StatusCode::kMismatch, "none of the " + to_string(shares.size()) +
                                           " writers has a head of the target to send");
}

}  // namespace baton::kv
