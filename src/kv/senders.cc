// assign_senders(): the rule is stated in baton/senders.h.
#include "baton/senders.h"

#include <algorithm>
#include <string>
#include <utility>

#include "src/base/assert.h"

namespace baton {
namespace {

using std::to_string;

// Gives the heads of `target` away, at most `limit` to a source. held[s]: those of them that source
// s holds. False when some head is left whose holders have all been given others.
bool give_away(const std::vector<HeadRange>& held, HeadRange target, uint32_t limit, uint32_t turn,
               std::vector<HeadRange>& out) {
  out.assign(held.size(), HeadRange{});
  std::vector<uint32_t> equals;
  uint32_t head = target.first;
  while (head < target.end()) {
    equals.clear();
    uint32_t end = 0;
    uint32_t next_held = target.end();
    bool is_held = false;
    for (uint32_t source = 0; source < held.size(); ++source) {
      const HeadRange& own = held[source];
      if (own.is_empty()) continue;
      if (own.first > head) next_held = std::min(next_held, own.first);
      if (own.first > head || head >= own.end()) continue;
      is_held = true;
      if (!out[source].is_empty()) continue;
      if (equals.empty() || own.end() < end) {
        equals.clear();
        end = own.end();
      }
      if (own.end() == end) equals.push_back(source);
    }
    if (equals.empty()) {
      if (is_held) return false;
      head = next_held;  // a gap
      continue;
    }
    const uint32_t source = equals[turn % equals.size()];
    out[source] = {head, std::min(limit, end - head)};
    head = out[source].end();
  }
  return true;
}

std::vector<HeadRange> assign_group(const std::vector<HeadRange>& held, HeadRange target,
                                    uint32_t turn) {
  const auto sources = static_cast<uint32_t>(held.size());
  std::vector<HeadRange> out;
  uint32_t low = (target.count + sources - 1) / sources;
  // Without a limit a source that was given heads was given all to its last: none of them is left.
  uint32_t high = target.count;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (give_away(held, target, middle, turn, out)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  const bool given = give_away(held, target, high, turn, out);
  BATON_ASSERT(given, "without a limit every head that is held is given away");
  return out;
}

Status check_held(size_t group, const std::vector<HeadRange>& held, HeadRange target) {
  uint32_t head = target.first;
  bool moved = true;
  while (moved && head < target.end()) {
    moved = false;
    for (const HeadRange& own : held) {
      if (own.is_empty() || own.first > head || own.end() <= head) continue;
      head = own.end();
      moved = true;
    }
  }
  if (head >= target.end()) return Status::ok();
  return Status(StatusCode::kMismatch, "group " + to_string(group) + ": the target holds head " +
                                           to_string(head) + ", none of the " +
                                           to_string(held.size()) + " sources does");
}

Status prefixed(const std::string& who, const Status& status) {
  return status.is_ok() ? status : Status(status.code(), who + status.message());
}

Status check_request(const SenderRequest& request) {
  BATON_ASSERT(request.target != nullptr, "heads are assigned for a target");
  if (request.sources.empty() || request.sources.size() > kMaxSenders) {
    return Status(StatusCode::kInvalidArgument, to_string(request.sources.size()) +
                                                    " sources: must be in [1, " +
                                                    to_string(kMaxSenders) + "]");
  }
  BATON_RETURN_IF_ERROR(prefixed("target: ", validate(*request.target)));
  for (size_t i = 0; i < request.sources.size(); ++i) {
    const std::string who = "source " + to_string(i) + ": ";
    BATON_RETURN_IF_ERROR(prefixed(who, validate(*request.sources[i])));
    BATON_RETURN_IF_ERROR(prefixed(who, compatible(*request.sources[i], *request.target)));
  }
  return Status::ok();
}

}  // namespace

Result<SenderHeads> assign_senders(const SenderRequest& request) {
  BATON_RETURN_IF_ERROR(check_request(request));
  const size_t num_groups = request.target->groups.size();
  SenderHeads heads(request.sources.size(), std::vector<HeadRange>(num_groups));
  std::vector<HeadRange> held(request.sources.size());
  for (size_t g = 0; g < num_groups; ++g) {
    const HeadRange target = heads_of(request.target->groups[g]);
    for (size_t i = 0; i < held.size(); ++i) {
      held[i] = shared_heads(request.sources[i]->groups[g], request.target->groups[g]);
    }
    if (!request.allow_gaps) BATON_RETURN_IF_ERROR(check_held(g, held, target));
    const auto turn =
        static_cast<uint32_t>((uint64_t{request.target_rank} + g) % (uint64_t{1} << 32));
    const std::vector<HeadRange> given = assign_group(held, target, turn);
    for (size_t i = 0; i < given.size(); ++i) heads[i][g] = given[i];
  }
  return heads;
}

}  // namespace baton
