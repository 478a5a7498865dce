#include "tests/simulation/scenario.h"

#include <algorithm>
#include <utility>

#include "baton/plugin/plugin.h"
#include "src/base/random.h"
#include "tests/simulation/scenario_draw.h"

namespace baton_test {
namespace {

using baton::DType;
using baton::GroupKind;
using baton::LayerGroup;
using baton::SectionId;
using baton::TokenOrder;
using baton::base::Random;

// What all Contexts of a scenario share, and how long a request may be.
struct Model {
  std::vector<LayerGroup> groups;
  uint32_t max_tokens = 0;
  uint32_t common_head = 0;  // held by everybody
  bool has_small_blocks = false;
};

Model make_model(Random& random) {
  Model model;
  model.max_tokens = pick_skewed(random, 8, 120);
  const bool has_long_rows = random.chance(1, 16);
  // Many units, which fill queues and keep batches open.
  model.has_small_blocks = !has_long_rows && random.chance(1, 4);
  if (model.has_small_blocks) model.max_tokens = 200;
  const uint64_t num_groups = has_long_rows ? 1 : 1 + random.below(3);
  for (uint64_t i = 0; i < num_groups; ++i) {
    LayerGroup group;
    group.kind = static_cast<GroupKind>(random.chance(2, 3) ? 0 : random.below(4));
    group.heads_total = pick_skewed(random, 1, 6);
    group.tensors_per_layer = pick(random, 1, 2);
    if (group.kind == GroupKind::kSlidingWindow) group.window_tokens = pick_skewed(random, 1, 100);
    if (group.kind == GroupKind::kMlaLatent) group.heads_total = group.tensors_per_layer = 1;
    group.dtype = static_cast<DType>(random.below(6));
    group.head_elements = pick_skewed(random, 1, 24);
    if (has_long_rows) {  // longer than the smallest unit
      group.heads_total = group.tensors_per_layer = 1;
      group.head_elements = pick(random, 2000, 6000);
      model.max_tokens = 12;
    }
    const uint32_t num_layers = has_long_rows ? 2 : pick(random, 1, 4);
    for (uint32_t layer = 0; layer < num_layers; ++layer) group.layers.push_back(layer * 3 + 1);
    model.groups.push_back(std::move(group));
  }
  return model;
}

// Tensors of a group: each in an area of its own, or all interleaved block by block; gaps between
// blocks mostly.
void place(Random& random, LayerGroup& group, uint32_t first_section,
           std::vector<uint64_t>& section_bytes) {
  const size_t count = group.layers.size() * group.tensors_per_layer;
  const uint64_t block = block_bytes(group);
  const uint64_t gap = random.chance(1, 4) ? 0 : 1 + random.below(64);
  const bool is_interleaved = random.chance(1, 3);
  const size_t sections = section_bytes.size() - first_section;
  size_t section = first_section + random.below(sections);
  const uint64_t shared_base = section_bytes[section] + random.below(50);
  for (size_t i = 0; i < count; ++i) {
    baton::TensorPlace at;
    if (is_interleaved) {
      at.block_stride_bytes = (block + gap) * count;
      at.offset_bytes = shared_base + (block + gap) * i;
    } else {
      section = first_section + random.below(sections);
      at.block_stride_bytes = block + gap;
      at.offset_bytes = section_bytes[section] + random.below(20);
    }
    at.section = SectionId(static_cast<uint32_t>(section) + 1);
    const uint64_t end = at.offset_bytes + tensor_span_bytes(group, at) + gap;
    section_bytes[section] = std::max(section_bytes[section], end);
    group.places.push_back(at);
  }
}

baton::Layout make_layout(Random& random, const Model& model,
                          std::vector<uint64_t>& section_bytes) {
  const auto first_section = static_cast<uint32_t>(section_bytes.size());
  section_bytes.resize(section_bytes.size() + random.between(1, 2), 1);
  baton::Layout layout;
  // Room for this many requests at once; more wait for blocks.
  const uint32_t requests_at_once = pick(random, 2, 4);
  for (LayerGroup group : model.groups) {
    group.order = random.chance(1, 2) ? TokenOrder::kNHD : TokenOrder::kHND;
    group.block_tokens = random.chance(1, 2) ? 1u << random.below(6) : pick_skewed(random, 1, 40);
    if (model.has_small_blocks) group.block_tokens = pick(random, 1, 3);
    if (group.kind == GroupKind::kLinearState) group.block_tokens = 1;
    const uint32_t common = std::min(model.common_head, group.heads_total - 1);
    group.head_first = random.chance(1, 2) ? 0 : pick(random, 0, common);
    group.heads =
        group.head_first == 0 && random.chance(2, 3)
            ? group.heads_total
            : pick(random, common - group.head_first + 1, group.heads_total - group.head_first);
    const uint32_t most = (model.max_tokens + group.block_tokens - 1) / group.block_tokens + 1;
    group.num_blocks = most * requests_at_once + pick(random, 0, 3);
    place(random, group, first_section, section_bytes);
    layout.groups.push_back(std::move(group));
  }
  return layout;
}

ContextScript make_context(Random& random, const Model& model) {
  ContextScript context;
  context.in.layout = make_layout(random, model, context.section_bytes);
  context.in_sections = static_cast<uint32_t>(context.section_bytes.size());
  context.out.layout = make_layout(random, model, context.section_bytes);
  const uint64_t raw_bytes = kRawSlots * (kRawSlotBytes + kRawGapBytes) + kRawGapBytes;
  context.section_bytes.push_back(raw_bytes);
  context.section_bytes.push_back(raw_bytes);
  return context;
}

// A star around the first, or a line through all Contexts, in random order, and sometimes one link
// more.
std::vector<LinkScript> make_links(Random& random, uint32_t contexts, Topology topology) {
  std::vector<LinkScript> links;
  const auto add = [&](uint32_t a, uint32_t b) {
    if (random.chance(1, 2)) std::swap(a, b);
    links.push_back({a, b});
  };
  const bool is_star = topology != Topology::kDrawn;
  for (uint32_t i = 1; i < contexts; ++i) add(is_star ? 0 : pick(random, 0, i - 1), i);
  if (!is_star && contexts > 2 && random.chance(1, 2)) {
    const uint32_t a = pick(random, 0, contexts - 1);
    const uint32_t b = (a + pick(random, 1, contexts - 1)) % contexts;
    const bool is_new = std::none_of(links.begin(), links.end(), [&](const LinkScript& link) {
      return (link.dialer == a && link.listener == b) || (link.dialer == b && link.listener == a);
    });
    if (is_new) add(a, b);
  }
  return links;
}

void make_plan(Random& random, Scenario& scenario) {
  baton_loopback_plan& plan = scenario.plan;
  baton_loopback_plan_init(&plan);
  plan.seed = random.next();
  if (random.chance(1, 3)) {
    plan.flags = 0;
    if (random.chance(1, 3)) plan.flags = BATON_CAP_ORDERED;
    if (plan.flags == 0) plan.reorder_percent = pick(random, 0, 100);
  }
  constexpr uint32_t kMaxPosts[] = {2, 5, 16, 256};
  plan.max_posts = kMaxPosts[random.below(4)];
  if (random.chance(1, 2)) {
    plan.delay_min_ns = random.chance(1, 2) ? 0 : random.below(50'000);
    plan.delay_max_ns = plan.delay_min_ns + random.below(random.chance(1, 4) ? 2'000'000 : 60'000);
  }
  if (random.chance(1, 3)) plan.bytes_per_progress = random.between(700, 9000);
  // Two paths a link, and some that only a new connection opens.
  const uint64_t paths = 2 * scenario.links.size() + (random.chance(1, 6) ? 4 : 0);
  if (random.chance(1, 6)) {
    plan.stall_path = static_cast<int32_t>(random.below(paths));
    plan.stall_after_posts = pick_skewed(random, 0, 60);
    scenario.stall_ms = random.chance(1, 4) ? -1 : static_cast<int64_t>(random.between(5, 400));
  }
  if (random.chance(1, 5)) {
    plan.kill_path = static_cast<int32_t>(random.below(paths));
    plan.kill_after_posts = pick_skewed(random, 0, 60);
    plan.kill_mode = random.chance(1, 4) ? BATON_LOOPBACK_KILL_QUIETLY : BATON_LOOPBACK_KILL_BOTH;
  }
}

void make_raw(Random& random, RequestScript& script) {
  uint32_t at = pick(random, 0, 100);
  while (at + 1 < kRawSlotBytes && script.parts.size() < 16) {
    RawPart part;
    part.offset = at;
    part.length = pick_skewed(random, 1, std::min(4000u, kRawSlotBytes - at));
    at += part.length + (random.chance(1, 3) ? 0 : pick(random, 1, 60));
    script.parts.push_back(part);
  }
}

RequestScript make_request(Random& random, const Scenario& scenario, uint32_t max_tokens,
                           const ScenarioShape& shape) {
  RequestScript script;
  const LinkScript& link = scenario.links[random.below(scenario.links.size())];
  script.granter = link.dialer;
  script.mover = link.listener;
  if (random.chance(1, 2)) std::swap(script.granter, script.mover);
  const bool is_other_way = shape.topology == Topology::kFanIn    ? script.granter != 0
                            : shape.topology == Topology::kFanOut ? script.mover != 0
                                                                  : false;
  if (is_other_way && random.chance(5, 6)) std::swap(script.granter, script.mover);
  if (random.chance(1, 3)) script.kind = random.chance(1, 2) ? Kind::kWrite : Kind::kRead;
  if (shape.has_pulls && script.kind == Kind::kPush && random.chance(1, 3)) {
    script.kind = Kind::kPull;
    std::swap(script.granter, script.mover);
  }
  script.start_step = pick_skewed(random, 0, 400);
  script.pace = pick_skewed(random, 1, 20);
  script.is_answered = !random.chance(1, 12);
  const bool is_handoff = script.kind == Kind::kPush || script.kind == Kind::kPull;
  if (is_handoff) {
    script.tokens = make_tokens(random, max_tokens);
    make_chunks(random, scenario, script);
  } else {
    make_raw(random, script);
  }
  if (random.chance(1, 3)) script.ending = static_cast<Ending>(1 + random.below(4));
  script.ending_after = pick_skewed(random, 0, random.chance(1, 2) ? 30 : 300);
  // Some prefills stop in the middle: only the deadline ends those.
  const bool stops = is_handoff && random.chance(1, 10);
  if (stops) {
    script.seals = false;
    script.chunks_submitted = pick(random, 0, script.chunks_submitted);
    script.layers_ticked = pick(random, 0, script.layers_ticked);
  }
  const bool hangs =
      stops || !script.is_answered || scenario.stall_ms < 0 ||
      (scenario.plan.kill_path >= 0 && scenario.plan.kill_mode == BATON_LOOPBACK_KILL_QUIETLY);
  const bool is_short = hangs || random.chance(1, 12);
  script.deadline_ms = is_short ? pick(random, 20, 250) : kLongDeadlineMs;
  if (random.chance(1, 15)) script.mover_deadline_ms = pick(random, 10, 200);
  return script;
}

void make_disturbances(Random& random, Scenario& scenario) {
  const auto some_context = [&] { return pick(random, 0, scenario.contexts.size() - 1); };
  if (random.chance(1, 4)) {
    DisturbanceScript cut;
    cut.step = pick_skewed(random, 1, 500);
    cut.link = pick(random, 0, scenario.links.size() - 1);
    const LinkScript& link = scenario.links[cut.link];
    cut.context = random.chance(1, 2) ? link.dialer : link.listener;
    scenario.disturbances.push_back(cut);
  }
  // Also brings back a link that a fault took away.
  if (random.chance(1, 2)) {
    DisturbanceScript again;
    again.what = Disturb::kReconnect;
    again.step = pick(random, 100, 800);
    again.link = pick(random, 0, scenario.links.size() - 1);
    scenario.disturbances.push_back(again);
  }
  if (random.chance(1, 5)) {
    DisturbanceScript freeze;
    freeze.what = Disturb::kFreeze;
    freeze.step = pick_skewed(random, 1, 400);
    freeze.context = some_context();
    freeze.freeze_ms = random.chance(1, 3) ? pick(random, 600, 900) : pick(random, 1, 60);
    scenario.disturbances.push_back(freeze);
  }
  if (random.chance(1, 8)) {
    DisturbanceScript close;
    close.what = Disturb::kClose;
    close.step = pick(random, 50, 500);
    close.context = some_context();
    scenario.disturbances.push_back(close);
  }
}

const char* kind_name(Kind kind) {
  constexpr const char* kNames[] = {"push", "raw write", "raw read", "pull"};
  return kNames[static_cast<size_t>(kind)];
}

const char* ending_name(Ending ending) {
  constexpr const char* kNames[] = {"ends naturally", "granter cancels", "mover cancels",
                                    "grant dropped", "transfer dropped"};
  return kNames[static_cast<size_t>(ending)];
}

std::string number(uint64_t value) { return std::to_string(value); }

}  // namespace

baton::TokenRange make_tokens(Random& random, uint32_t max_tokens) {
  baton::TokenRange tokens;
  tokens.begin = random.chance(1, 3) ? 0 : pick_skewed(random, 0, 90);
  tokens.end = tokens.begin + pick_skewed(random, 1, max_tokens);
  return tokens;
}

void make_chunks(Random& random, const Scenario& scenario, RequestScript& script) {
  std::vector<uint32_t> ends = {script.tokens.end};
  for (uint64_t cuts = random.below(5); cuts > 0; --cuts)
    ends.push_back(pick(random, script.tokens.begin + 1, script.tokens.end));
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  uint32_t words = 0;
  for (const uint32_t end : ends) {
    script.chunks.push_back({end, random.chance(4, 5)});
    if (script.chunks.back().has_word) ++words;
  }
  script.chunks_submitted = static_cast<uint32_t>(script.chunks.size());
  script.layers_ticked = words * scenario.layers;
  script.seals = random.chance(1, 2);
  if (script.seals && random.chance(1, 2)) {  // the seal sends what is missing
    script.chunks_submitted = pick(random, 0, script.chunks_submitted);
    script.layers_ticked = pick(random, 0, script.layers_ticked);
  }
}

Scenario make_scenario(uint64_t seed, const ScenarioShape& shape) {
  Random random(seed);
  Scenario scenario;
  scenario.seed = seed;
  scenario.unit_bytes = random.chance(1, 2) ? 4096 : pick(random, 4096, 20000);
  Model model = make_model(random);
  for (const LayerGroup& group : model.groups) {
    scenario.layers += static_cast<uint32_t>(group.layers.size());
    model.common_head = pick(random, 0, group.heads_total - 1);
  }
  uint32_t contexts = 2 + (random.chance(1, 2) ? 0 : pick(random, 1, 2));
  if (shape.contexts != 0) contexts = shape.contexts;
  for (uint32_t i = 0; i < contexts; ++i) scenario.contexts.push_back(make_context(random, model));
  scenario.links = make_links(random, contexts, shape.topology);
  baton_loopback_plan_init(&scenario.plan);
  if (shape.has_plan) make_plan(random, scenario);
  const uint32_t requests = pick(random, 3, shape.max_requests);
  for (uint32_t i = 0; i < requests; ++i)
    scenario.requests.push_back(make_request(random, scenario, model.max_tokens, shape));
  if (shape.has_plan) make_disturbances(random, scenario);
  if (shape.has_groups && shape.topology != Topology::kDrawn) {
    for (uint64_t groups = random.between(1, 2); groups > 0; --groups)
      make_group(random, shape.topology, model.max_tokens, scenario);
  }
  return scenario;
}

std::string describe(const RequestScript& script) {
  std::string text = std::string(kind_name(script.kind)) + " " + number(script.mover) + "->" +
                     number(script.granter);
  if (script.kind == Kind::kRead || script.kind == Kind::kPull)
    text = std::string(kind_name(script.kind)) + " " + number(script.mover) + "<-" +
           number(script.granter);
  text += " at step " + number(script.start_step) + ", deadline " + number(script.deadline_ms) +
          "/" + number(script.mover_deadline_ms) + " ms, pace " + number(script.pace) + ", " +
          ending_name(script.ending) + " after " + number(script.ending_after);
  if (script.lease_ms != 0) text += ", lease " + number(script.lease_ms) + " ms";
  if (!script.is_answered) text += ", not answered";
  if (script.group != kNoGroup) text += ", of group " + number(script.group);
  if (script.kind == Kind::kWrite || script.kind == Kind::kRead)
    return text + ", " + number(script.parts.size()) + " parts";
  text += ", tokens [" + number(script.tokens.begin) + ", " + number(script.tokens.end) +
          "), chunks end at";
  for (const ChunkScript& chunk : script.chunks)
    text += " " + number(chunk.end) + (chunk.has_word ? "" : "(no word)");
  return text + ", " + number(script.chunks_submitted) + " submitted, " +
         number(script.layers_ticked) + " ticks" + (script.seals ? ", sealed" : "");
}

std::string describe(const Scenario& scenario) {
  const baton_loopback_plan& plan = scenario.plan;
  std::string text = "unit_bytes " + number(scenario.unit_bytes) + ", fabric: flags " +
                     number(plan.flags) + ", max_posts " + number(plan.max_posts) + ", reorder " +
                     number(plan.reorder_percent) + " %, delay " + number(plan.delay_min_ns) +
                     ".." + number(plan.delay_max_ns) + " ns, bytes_per_progress " +
                     number(plan.bytes_per_progress) + ", stall path " +
                     std::to_string(plan.stall_path) + " after " + number(plan.stall_after_posts) +
                     " for " + std::to_string(scenario.stall_ms) + " ms, kill path " +
                     std::to_string(plan.kill_path) + " after " + number(plan.kill_after_posts) +
                     " mode " + number(static_cast<uint64_t>(plan.kill_mode)) + "\n";
  for (const LinkScript& link : scenario.links)
    text += "context " + number(link.dialer) + " dials " + number(link.listener) + "\n";
  for (size_t i = 0; i < scenario.requests.size(); ++i)
    text += "request " + number(i) + ": " + describe(scenario.requests[i]) + "\n";
  constexpr const char* kWhat[] = {"disconnect", "reconnect", "freeze", "close"};
  for (const DisturbanceScript& one : scenario.disturbances) {
    text += std::string(kWhat[static_cast<size_t>(one.what)]) + " at step " + number(one.step) +
            ": link " + number(one.link) + ", context " + number(one.context) + ", " +
            number(one.freeze_ms) + " ms\n";
  }
  return text;
}

}  // namespace baton_test
