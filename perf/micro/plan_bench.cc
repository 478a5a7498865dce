// What a Plan costs per unit and per hand-off: cursor steps on the data thread, create() on the
// caller's. 8,192 tokens of one layer of two tensors, 8 KV heads of 128 bf16 elements.
//
//   build/PRESET/bin/plan_bench --benchmark_min_time=1
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "src/kv/plan.h"

namespace {

using baton::LayerGroup;
using baton::Layout;
using baton::TokenOrder;
using baton::kv::Plan;
using baton::kv::PlanRequest;

constexpr uint32_t kTokens = 8192;

struct Shape {
  TokenOrder order;
  uint32_t block_tokens;
  uint32_t heads;
};

Layout make_layout(const Shape& shape, uint32_t num_layers) {
  LayerGroup group;
  group.block_tokens = shape.block_tokens;
  group.heads_total = 8;
  group.heads = shape.heads;
  group.head_elements = 128;
  group.order = shape.order;
  group.tensors_per_layer = 2;
  group.num_blocks = kTokens / shape.block_tokens;
  for (uint32_t layer = 0; layer < num_layers; ++layer) {
    group.layers.push_back(layer);
    for (uint64_t tensor = 0; tensor < 2; ++tensor) {
      group.places.push_back({baton::SectionId(1), (layer * 2 + tensor) << 30, block_bytes(group)});
    }
  }
  return Layout{{group}};
}

// Both sides of one hand-off, with shuffled blocks.
struct Pair {
  Pair(const Shape& from, const Shape& to, uint32_t num_layers)
      : source(make_layout(from, num_layers)),
        target(make_layout(to, num_layers)),
        source_blocks{shuffled(source.groups[0].num_blocks)},
        target_blocks{shuffled(target.groups[0].num_blocks)} {}

  static std::vector<uint32_t> shuffled(uint32_t count) {
    std::vector<uint32_t> blocks(count);
    // An odd factor permutes a power of 2.
    for (uint32_t i = 0; i < count; ++i) blocks[i] = i * 2654435761u % count;
    return blocks;
  }

  Plan create() const {
    PlanRequest request;
    request.source = &source;
    request.target = &target;
    request.source_blocks = source_blocks;
    request.target_blocks = target_blocks;
    request.tokens = {0, kTokens};
    request.unit_bytes = 1u << 20;
    auto plan = Plan::create(request);
    if (!plan.is_ok()) {
      std::fprintf(stderr, "%s\n", plan.status().to_string().c_str());
      std::exit(1);
    }
    return std::move(plan).value();
  }

  Layout source;
  Layout target;
  std::vector<std::vector<uint32_t>> source_blocks;
  std::vector<std::vector<uint32_t>> target_blocks;
};

void cursor(benchmark::State& state, Shape from, Shape to) {
  const Plan plan = Pair(from, to, 1).create();
  int64_t units = 0;
  int64_t pieces = 0;
  for (auto _ : state) {
    auto steps = plan.cursor(0);
    baton::kv::Unit unit;
    while (steps.next(unit)) {
      benchmark::DoNotOptimize(unit);
      ++units;
      pieces += unit.num_sources;
    }
  }
  state.SetItemsProcessed(units);
  using benchmark::Counter;
  state.counters["per_unit"] =
      Counter(static_cast<double>(units), Counter::kIsRate | Counter::kInvert);
  state.counters["pieces"] = static_cast<double>(pieces) / static_cast<double>(units);
}

void create(benchmark::State& state, Shape from, Shape to) {
  const Pair pair(from, to, 80);
  for (auto _ : state) {
    const Plan plan = pair.create();
    benchmark::DoNotOptimize(plan.total_units());
  }
}

constexpr auto kNHD = TokenOrder::kNHD;
constexpr auto kHND = TokenOrder::kHND;

BENCHMARK_CAPTURE(cursor, nhd16_to_nhd16, Shape{kNHD, 16, 8}, Shape{kNHD, 16, 8});
BENCHMARK_CAPTURE(cursor, hnd16_to_hnd16, Shape{kHND, 16, 8}, Shape{kHND, 16, 8});
BENCHMARK_CAPTURE(cursor, nhd16_to_nhd64, Shape{kNHD, 16, 8}, Shape{kNHD, 64, 8});
BENCHMARK_CAPTURE(cursor, hnd16_to_hnd64, Shape{kHND, 16, 8}, Shape{kHND, 64, 8});
BENCHMARK_CAPTURE(cursor, hnd16_to_nhd16, Shape{kHND, 16, 8}, Shape{kNHD, 16, 8});
BENCHMARK_CAPTURE(cursor, nhd16_half_of_heads, Shape{kNHD, 16, 8}, Shape{kNHD, 16, 4});
BENCHMARK_CAPTURE(create, nhd16_to_nhd16_80_layers, Shape{kNHD, 16, 8}, Shape{kNHD, 16, 8});
BENCHMARK_CAPTURE(create, hnd16_to_nhd64_80_layers, Shape{kHND, 16, 8}, Shape{kNHD, 64, 8});

}  // namespace

BENCHMARK_MAIN();
