#include "baton/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <limits>

namespace baton {
namespace {

using testing::HasSubstr;

// Two layers of K and V: blocks of 16 x 3 x 64 x 2 = 6144 bytes.
Layout make_layout() {
  LayerGroup group;
  group.block_tokens = 16;
  group.heads_total = 3;
  group.heads = 3;
  group.head_elements = 64;
  group.tensors_per_layer = 2;
  group.num_blocks = 10;
  group.layers = {4, 5};
  for (uint64_t i = 0; i < 4; ++i) group.places.push_back({SectionId(1), i * 61440, 6144});
  return Layout{{group}};
}

void expect_invalid(const Layout& layout, StatusCode code, const std::string& text) {
  const Status status = validate(layout);
  EXPECT_EQ(status.code(), code) << text;
  EXPECT_THAT(status.message(), HasSubstr(text));
}

// Applies `change` to the only group of a valid layout.
template <typename Change>
Layout changed(Change change) {
  Layout layout = make_layout();
  change(layout.groups[0]);
  return layout;
}

constexpr auto kInvalid = StatusCode::kInvalidArgument;

TEST(LayoutTest, SizesAreProducts) {
  const Layout layout = make_layout();
  EXPECT_TRUE(validate(layout).is_ok());
  EXPECT_EQ(row_bytes(layout.groups[0]), 128u);
  EXPECT_EQ(block_bytes(layout.groups[0]), 6144u);
  EXPECT_EQ(tensor_span_bytes(layout.groups[0], layout.groups[0].places[1]), 61440u);
  EXPECT_EQ(num_layers(layout), 2u);
}

TEST(LayoutTest, NamesAndBytesOfTypes) {
  EXPECT_EQ(dtype_bytes(DType::kF32), 4u);
  EXPECT_EQ(dtype_bytes(DType::kF16), 2u);
  EXPECT_EQ(dtype_bytes(DType::kF8E5M2), 1u);
  EXPECT_EQ(dtype_bytes(static_cast<DType>(6)), 0u);
  EXPECT_EQ(dtype_name(DType::kBf16), "bf16");
  EXPECT_EQ(dtype_name(static_cast<DType>(6)), "?");
  EXPECT_EQ(token_order_name(TokenOrder::kHND), "HND");
  EXPECT_EQ(group_kind_name(GroupKind::kLinearState), "linear_state");
}

TEST(LayoutTest, RefusesCountsOutsideTheirLimits) {
  expect_invalid(Layout{}, kInvalid, "1 to 64 groups, not 0");
  expect_invalid(changed([](LayerGroup& g) { g.block_tokens = 0; }), kInvalid,
                 "group 0 (full_attention): block_tokens is 0, must be in [1, 1048576]");
  expect_invalid(changed([](LayerGroup& g) { g.block_tokens = kMaxBlockTokens + 1; }), kInvalid,
                 "block_tokens is 1048577");
  expect_invalid(changed([](LayerGroup& g) { g.heads_total = 0; }), kInvalid, "heads_total is 0");
  expect_invalid(changed([](LayerGroup& g) { g.heads = 0; }), kInvalid, "heads is 0");
  expect_invalid(changed([](LayerGroup& g) { g.heads = 4; }), kInvalid, "heads is 4");
  expect_invalid(changed([](LayerGroup& g) { g.head_first = 1; }), kInvalid,
                 "heads [1, 4) exceed heads_total 3");
  expect_invalid(changed([](LayerGroup& g) { g.head_first = UINT32_MAX; }), kInvalid,
                 "heads [4294967295, 4294967298) exceed");
  expect_invalid(changed([](LayerGroup& g) { g.head_elements = 0; }), kInvalid,
                 "head_elements is 0");
  expect_invalid(changed([](LayerGroup& g) { g.dtype = static_cast<DType>(9); }), kInvalid,
                 "dtype 9 is unknown");
  expect_invalid(changed([](LayerGroup& g) { g.order = static_cast<TokenOrder>(2); }), kInvalid,
                 "order 2 is unknown");
  expect_invalid(changed([](LayerGroup& g) { g.tensors_per_layer = 0; }), kInvalid,
                 "tensors_per_layer is 0");
  expect_invalid(changed([](LayerGroup& g) { g.num_blocks = 0; }), kInvalid, "num_blocks is 0");
  expect_invalid(changed([](LayerGroup& g) { g.layers.clear(); }), kInvalid,
                 "number of layers is 0");
}

TEST(LayoutTest, RefusesKindsThatContradictThemselves) {
  expect_invalid(changed([](LayerGroup& g) { g.kind = static_cast<GroupKind>(4); }), kInvalid,
                 "group 0 (?): kind 4 is unknown");
  expect_invalid(changed([](LayerGroup& g) { g.window_tokens = 8; }), kInvalid,
                 "window_tokens is 8, must be 0 for this kind");
  expect_invalid(changed([](LayerGroup& g) { g.kind = GroupKind::kSlidingWindow; }), kInvalid,
                 "(sliding_window): window_tokens is 0, must be at least 1");
  expect_invalid(changed([](LayerGroup& g) { g.kind = GroupKind::kMlaLatent; }), kInvalid,
                 "a latent has 1 head and 1 tensor per layer, not 3 and 2");
  expect_invalid(changed([](LayerGroup& g) { g.kind = GroupKind::kLinearState; }), kInvalid,
                 "block_tokens is 16, must be 1: a block holds one state");
}

TEST(LayoutTest, RefusesWrongPlaces) {
  expect_invalid(changed([](LayerGroup& g) {
                   g.layers = {5, 5};
                 }),
                 kInvalid, "group 0 (full_attention): layer 5 twice");
  expect_invalid(changed([](LayerGroup& g) { g.places.pop_back(); }), kInvalid,
                 "3 places for 2 layers of 2 tensors, must be 4");
  expect_invalid(changed([](LayerGroup& g) { g.places[3].block_stride_bytes = 6143; }), kInvalid,
                 "group 0 (full_attention), layer 5, tensor 1: block_stride_bytes 6143 is less "
                 "than a block's 6144 bytes");
  expect_invalid(changed([](LayerGroup& g) { g.places[2].section = SectionId(); }), kInvalid,
                 "layer 5, tensor 0: names no section");
  expect_invalid(changed([](LayerGroup& g) { g.places[0].offset_bytes = UINT64_MAX - 61439; }),
                 StatusCode::kOutOfRange, "layer 4, tensor 0: offset_bytes 18446744073709490176");
  expect_invalid(changed([](LayerGroup& g) { g.places[1].block_stride_bytes = UINT64_MAX / 9; }),
                 StatusCode::kOutOfRange, "end past 2^64");
  EXPECT_TRUE(validate(changed([](LayerGroup& g) {
                g.places[0].offset_bytes = UINT64_MAX - 61440;
              })).is_ok());
}

TEST(LayoutTest, TheLargestBlockOfAllFits64Bits) {
  Layout layout = changed([](LayerGroup& g) {
    g.block_tokens = kMaxBlockTokens;
    g.heads = g.heads_total = kMaxHeads;
    g.head_elements = kMaxHeadElements;
    g.dtype = DType::kF32;
    g.num_blocks = 1;
    for (TensorPlace& place : g.places) place = {SectionId(1), 0, uint64_t{1} << 62};
  });
  EXPECT_TRUE(validate(layout).is_ok()) << validate(layout).to_string();
  EXPECT_EQ(block_bytes(layout.groups[0]), uint64_t{1} << 62);
  layout.groups[0].num_blocks = 4;
  EXPECT_EQ(validate(layout).code(), StatusCode::kOutOfRange);
}

TEST(LayoutTest, LimitsHoldOverAllGroups) {
  Layout layout = make_layout();
  LayerGroup& group = layout.groups[0];
  group.tensors_per_layer = 1;
  group.layers.clear();
  for (uint32_t i = 0; i < 3000; ++i) group.layers.push_back(i);
  group.places.assign(3000, {SectionId(1), 0, 6144});
  EXPECT_TRUE(validate(layout).is_ok());
  layout.groups.push_back(layout.groups[0]);
  expect_invalid(layout, kInvalid, "the layout: number of layers is 6000");
}

TEST(LayoutTest, PlacesLieWithinTheirSections) {
  const Layout layout = make_layout();
  EXPECT_TRUE(validate(layout, std::array{SectionLength{SectionId(1), 245760}}).is_ok());
  const Status shorter = validate(layout, std::array{SectionLength{SectionId(1), 245759}});
  EXPECT_EQ(shorter.code(), StatusCode::kOutOfRange);
  EXPECT_EQ(shorter.message(),
            "group 0 (full_attention), layer 5, tensor 1: ends at byte 245760 of section 1, which "
            "has 245759 bytes");
  const Status unknown = validate(layout, std::array{SectionLength{SectionId(2), 245760}});
  EXPECT_EQ(unknown.code(), StatusCode::kNotFound);
  EXPECT_THAT(unknown.message(), HasSubstr("layer 4, tensor 0: section 1 is unknown"));
}

TEST(LayoutTest, TokensAndBlocksOfKinds) {
  LayerGroup group = make_layout().groups[0];
  EXPECT_EQ(tokens_of_group(group, {5, 40}), (TokenRange{5, 40}));
  EXPECT_EQ(blocks_of_group(group, {5, 40}), 3u);
  EXPECT_EQ(blocks_of_group(group, {15, 17}), 2u);
  EXPECT_EQ(blocks_of_group(group, {16, 32}), 1u);
  EXPECT_EQ(blocks_of_group(group, {0, UINT32_MAX}), 1u << 28);
  group.kind = GroupKind::kSlidingWindow;
  group.window_tokens = 8;
  EXPECT_EQ(tokens_of_group(group, {5, 40}), (TokenRange{32, 40}));
  EXPECT_EQ(tokens_of_group(group, {36, 40}), (TokenRange{36, 40}));
  EXPECT_EQ(blocks_of_group(group, {5, 40}), 1u);
  group.kind = GroupKind::kLinearState;
  EXPECT_EQ(tokens_of_group(group, {5, 40}), (TokenRange{39, 40}));
}

// A change of the function would make new and old versions refuse each other.
TEST(LayoutMatchTest, HashIsStable) { EXPECT_EQ(layout_hash(make_layout()), 4504562670962223659u); }

TEST(LayoutMatchTest, WhatMayDifferDoesNotCount) {
  const Layout source = make_layout();
  const Layout target = changed([](LayerGroup& g) {
    g.block_tokens = 4;
    g.order = TokenOrder::kHND;
    g.head_first = 1;
    g.heads = 2;
    g.num_blocks = 99;
    g.places.assign(4, {SectionId(7), 12, 9999});
  });
  EXPECT_EQ(layout_hash(source), layout_hash(target));
  EXPECT_TRUE(compatible(source, target).is_ok());
}

template <typename Change>
void expect_mismatch(Change change, const std::string& message) {
  const Layout source = make_layout();
  const Layout target = changed(change);
  EXPECT_NE(layout_hash(source), layout_hash(target)) << message;
  const Status status = compatible(source, target);
  EXPECT_EQ(status.code(), StatusCode::kMismatch);
  EXPECT_EQ(status.message(), message);
}

TEST(LayoutMatchTest, NamesTheFirstDifference) {
  expect_mismatch([](LayerGroup& g) { g.heads_total = 6; },
                  "group 0: heads_total: source has 3, target has 6");
  expect_mismatch([](LayerGroup& g) { g.head_elements = 128; },
                  "group 0: head_elements: source has 64, target has 128");
  expect_mismatch([](LayerGroup& g) { g.dtype = DType::kF16; },
                  "group 0: dtype: source has bf16, target has f16");
  expect_mismatch([](LayerGroup& g) { g.tensors_per_layer = 1; },
                  "group 0: tensors_per_layer: source has 2, target has 1");
  expect_mismatch([](LayerGroup& g) { g.kind = GroupKind::kLinearState; },
                  "group 0: kind: source has full_attention, target has linear_state");
  expect_mismatch([](LayerGroup& g) { g.layers.push_back(6); },
                  "group 0: number of layers: source has 2, target has 3");
  expect_mismatch([](LayerGroup& g) { g.layers[1] = 6; },
                  "group 0: layer at position 1: source has 5, target has 6");
  const Status status = compatible(make_layout(), Layout{});
  EXPECT_EQ(status.message(), "number of layer groups: source has 1, target has 0");
}

}  // namespace
}  // namespace baton
