// assign_senders(): the rule is stated in baton/senders.h.
#include "baton/senders.h"

#include <algorithm>
#include <string>
#include <utility>

#include "src/base/assert.h"

namespace baton {
namespace {

using std::to_string;

// Of the sources that hold `head` and have been given nothing: those whose heads end first.
struct Candidates {
  bool is_held = false;    // by any source, also one that has been given others
  uint32_t next_held = 0;  // the next head that somebody holds from its beginning
  uint32_t end = 0;        // where the candidates' heads end; 0: there are none
};

Candidates find_candidates(const std::vector<HeadRange>& held, const std::vector<HeadRange>& out,
                           HeadRange target, uint32_t head) {
  Candidates found;
  found.next_held = target.end();
  for (size_t source = 0; source < held.size(); ++source) {
    const HeadRange& own = held[source];
    if (own.is_empty()) continue;
    if (own.first > head) found.next_held = std::min(found.next_held, own.first);
    if (own.first > head || own.end() <= head) continue;
    found.is_held = true;
    if (!out[source].is_empty()) continue;
    if (found.end == 0 || own.end() < found.end) found.end = own.end();
  }
  return found;
}

// Gives the heads of `target` away, at most `limit` to a source. held[s]: those of them that source
// s holds. False when some head is left whose holders have all been given others.
bool give_away(const std::vector<HeadRange>& held, HeadRange target, uint32_t limit, uint64_t turn,
               std::vector<HeadRange>& out) {
  out.assign(held.size(), HeadRange{});
  std::vector<size_t> equals;
  uint32_t equals_end = 0;
  uint64_t first = 0;  // of the equals: where their turn begins
  uint32_t head = target.first;
  while (head < target.end()) {
    const Candidates found = find_candidates(held, out, target, head);
    if (found.end == 0) {
      if (found.is_held) return false;
      head = found.next_held;  // a gap
      continue;
    }
    equals.clear();
    for (size_t source = 0; source < held.size(); ++source) {
      const HeadRange& own = held[source];
      if (own.first <= head && own.end() == found.end) equals.push_back(source);
    }
    if (equals_end != found.end) {
      equals_end = found.end;
      first = turn * ((found.end - head + limit - 1) / limit);
    }
    size_t source = 0;
    uint64_t place = first;
    do {
      source = equals[place++ % equals.size()];
    } while (!out[source].is_empty());
    out[source] = {head, std::min(limit, found.end - head)};
    head = out[source].end();
  }
  return true;
}

std::vector<HeadRange> assign_group(const std::vector<HeadRange>& held, HeadRange target,
                                    uint64_t turn) {
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
    const std::vector<HeadRange> given =
        assign_group(held, target, uint64_t{request.target_rank} + g);
    for (size_t i = 0; i < given.size(); ++i) heads[i][g] = given[i];
  }
  return heads;
}

}  // namespace baton
