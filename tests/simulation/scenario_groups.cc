// Hand-offs of several requests: who takes part, and which part is whose.
#include <algorithm>
#include <numeric>
#include <utility>

#include "baton/senders.h"
#include "tests/simulation/scenario_draw.h"

namespace baton_test {
namespace {

using baton::GroupKind;
using baton::TokenRange;
using baton::base::Random;

// Some of the Contexts around the first one, mostly all of them, in random order.
std::vector<uint32_t> draw_others(Random& random, const Scenario& scenario) {
  std::vector<uint32_t> others(scenario.contexts.size() - 1);
  std::iota(others.begin(), others.end(), 1u);
  for (size_t i = others.size() - 1; i > 0; --i) std::swap(others[i], others[random.below(i + 1)]);
  if (random.chance(1, 2)) others.resize(random.between(2, others.size()));
  return others;
}

// A window or a state is not written in parts.
bool can_part(const Scenario& scenario, TokenRange tokens) {
  if (tokens.end - tokens.begin < 2) return false;
  const auto& groups = scenario.contexts[0].in.layout.groups;
  return std::all_of(groups.begin(), groups.end(), [](const baton::LayerGroup& group) {
    return group.kind == GroupKind::kFullAttention || group.kind == GroupKind::kMlaLatent;
  });
}

// Divides the heads of one part of the tokens among its writers. Who is left with none of them is
// no writer of it.
void add_writers(Random& random, std::vector<uint32_t> movers, TokenRange tokens,
                 const GroupScript& group, Scenario& scenario,
                 std::vector<RequestScript>& writers) {
  const baton::Layout& target = scenario.contexts[0].in.layout;
  for (bool has_idle = true; has_idle && !movers.empty();) {
    std::vector<const baton::Layout*> sources;
    for (const uint32_t mover : movers) sources.push_back(&scenario.contexts[mover].out.layout);
    const auto heads = *baton::assign_senders({sources, &target, group.target_rank, true});
    std::vector<uint32_t> senders;
    std::vector<RequestScript> scripts;
    for (size_t i = 0; i < movers.size(); ++i) {
      const bool sends = std::any_of(heads[i].begin(), heads[i].end(),
                                     [](const auto& range) { return range.count > 0; });
      if (!sends) continue;
      senders.push_back(movers[i]);
      scripts.emplace_back();
      scripts.back().mover = movers[i];
      scripts.back().tokens = tokens;
      scripts.back().heads = heads[i];
    }
    has_idle = senders.size() < movers.size();
    movers = std::move(senders);
    if (has_idle) continue;
    for (RequestScript& script : scripts) {
      make_chunks(random, scenario, script);
      writers.push_back(std::move(script));
    }
  }
}

bool has_gaps(const Scenario& scenario, const std::vector<std::vector<uint32_t>>& parts,
              uint32_t target_rank) {
  return std::any_of(parts.begin(), parts.end(), [&](const std::vector<uint32_t>& movers) {
    std::vector<const baton::Layout*> sources;
    for (const uint32_t mover : movers) sources.push_back(&scenario.contexts[mover].out.layout);
    return !baton::assign_senders({sources, &scenario.contexts[0].in.layout, target_rank, false})
                .is_ok();
  });
}

// One part of the tokens for all of them, or parts of one or more writers each.
std::vector<RequestScript> make_writers(Random& random, GroupScript& group, Scenario& scenario) {
  const std::vector<uint32_t> others = draw_others(random, scenario);
  std::vector<std::vector<uint32_t>> parts = {others};
  if (can_part(scenario, group.tokens) && random.chance(1, 2)) {
    const auto middle = static_cast<std::ptrdiff_t>(random.between(1, others.size() - 1));
    parts = {{others.begin(), others.begin() + middle}, {others.begin() + middle, others.end()}};
  }
  group.target_rank = pick(random, 0, 3);
  group.names_heads = random.chance(1, 2);
  group.allow_gaps = has_gaps(scenario, parts, group.target_rank) || random.chance(1, 2);
  std::vector<RequestScript> writers;
  TokenRange tokens = group.tokens;
  for (size_t i = 0; i < parts.size(); ++i) {
    const bool is_last = i + 1 == parts.size();
    tokens.end = is_last ? group.tokens.end : pick(random, tokens.begin + 1, group.tokens.end - 1);
    add_writers(random, parts[i], tokens, group, scenario, writers);
    tokens.begin = tokens.end;
  }
  return writers;
}

std::vector<RequestScript> make_readers(Random& random, const GroupScript& group,
                                        const Scenario& scenario) {
  std::vector<RequestScript> readers;
  for (const uint32_t other : draw_others(random, scenario)) {
    RequestScript script;
    script.kind = Kind::kPull;
    script.mover = other;
    script.tokens = group.tokens;
    make_chunks(random, scenario, script);
    readers.push_back(std::move(script));
  }
  return readers;
}

}  // namespace

void make_group(Random& random, Topology topology, uint32_t max_tokens, Scenario& scenario) {
  GroupScript group;
  group.kind = topology == Topology::kFanIn ? Kind::kPush : Kind::kPull;
  group.tokens = make_tokens(random, max_tokens);
  std::vector<RequestScript> scripts = group.kind == Kind::kPush
                                           ? make_writers(random, group, scenario)
                                           : make_readers(random, group, scenario);
  if (scripts.empty()) return;
  // One member that goes wrong ends a GrantGroup: of most groups none does.
  const uint64_t odds = group.kind == Kind::kPush ? 3 * scripts.size() : 3;
  const uint32_t start_step = pick_skewed(random, 0, 400);
  bool hangs = random.chance(1, 12);
  for (RequestScript& script : scripts) {
    script.group = static_cast<uint32_t>(scenario.groups.size());
    script.start_step = start_step;
    script.pace = pick_skewed(random, 1, 20);
    script.is_answered = !random.chance(1, 4 * odds);
    if (random.chance(1, odds)) script.ending = static_cast<Ending>(1 + random.below(4));
    script.ending_after = pick_skewed(random, 0, random.chance(1, 2) ? 30 : 300);
    const bool stops = random.chance(1, 4 * odds);
    if (stops) {
      script.seals = false;
      script.chunks_submitted = pick(random, 0, script.chunks_submitted);
      script.layers_ticked = pick(random, 0, script.layers_ticked);
    }
    hangs = hangs || stops || !script.is_answered;
    if (random.chance(1, 5 * odds)) script.mover_deadline_ms = pick(random, 10, 200);
  }
  const uint32_t deadline_ms = hangs ? pick(random, 20, 250) : kLongDeadlineMs;
  for (RequestScript& script : scripts) {
    script.deadline_ms = deadline_ms;
    group.members.push_back(static_cast<uint32_t>(scenario.requests.size()));
    scenario.requests.push_back(std::move(script));
  }
  scenario.groups.push_back(std::move(group));
}

}  // namespace baton_test
