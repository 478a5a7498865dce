// Each limit of messages.h, at its edge and past it.
#include <gtest/gtest.h>

#include <functional>

#include "src/wire/messages.h"
#include "src/wire/validate.h"
#include "tests/unit/wire/sample_messages.h"

namespace baton::wire {
namespace {

using baton_test::sample_layout;

// Encoding refuses with this code, and says this.
void expect_refused(const Message& message, StatusCode code, const std::string& part) {
  const auto frame = encode(message);
  ASSERT_FALSE(frame.is_ok()) << part;
  EXPECT_EQ(frame.code(), code) << frame.status().to_string();
  EXPECT_NE(frame.status().message().find(part), std::string::npos) << frame.status().to_string();
}

GrantOffer kv_offer() {
  GrantOffer offer;
  offer.grant = GrantId(1);
  return offer;
}

TEST(Limits, NotifyBytes) {
  EXPECT_TRUE(encode(Notify{1, std::vector<uint8_t>(kMaxNotifyBytes)}).is_ok());
  expect_refused(Notify{1, std::vector<uint8_t>(kMaxNotifyBytes + 1)}, StatusCode::kOutOfRange,
                 "Notify: length of bytes is 65537, at most 65536");
}

TEST(Limits, StateBytesAndFormats) {
  EXPECT_TRUE(encode(StateReply{std::string(kMaxStateBytes, 'x')}).is_ok());
  expect_refused(StateReply{std::string(kMaxStateBytes + 1, 'x')}, StatusCode::kOutOfRange,
                 "StateReply: length of text is 16777217");
  expect_refused(StateRequest{StateFormat{2}}, StatusCode::kInvalidArgument, "format is 2");
  Hello hello;
  hello.protocol_min = hello.protocol_max = 1;
  hello.incarnation = 1;
  hello.role = HelloRole::kObserver;
  const auto frame = encode(hello);
  ASSERT_TRUE(frame.is_ok());
  const auto back = decode(std::span(*frame).subspan(kFramePrefixBytes));
  ASSERT_TRUE(back.is_ok());
  EXPECT_TRUE(*back == Message(hello));
  hello.role = HelloRole{2};
  expect_refused(hello, StatusCode::kInvalidArgument, "role is 2");
}

TEST(Limits, TagBytes) {
  GrantOffer offer = kv_offer();
  offer.tag.assign(kMaxTagBytes, '\n');
  EXPECT_TRUE(encode(offer).is_ok());
  offer.tag += 'x';
  expect_refused(offer, StatusCode::kOutOfRange, "length of tag is 4097");
}

TEST(Limits, BlocksOverAllGroups) {
  GrantOffer offer = kv_offer();
  offer.block_lists.assign(2, std::vector<uint32_t>(kMaxBlocks / 2));
  EXPECT_TRUE(encode(offer).is_ok());
  offer.block_lists[1].push_back(0);
  expect_refused(offer, StatusCode::kOutOfRange, "count of blocks is 1048577");
}

TEST(Limits, HeadsOfAGrant) {
  GrantOffer offer = kv_offer();
  offer.heads.assign(kMaxGroups, HeadRange{kMaxHeads - 1, 1});
  EXPECT_TRUE(encode(offer).is_ok());
  offer.heads[3] = {kMaxHeads, 1};
  expect_refused(offer, StatusCode::kOutOfRange, "end of heads[3] is 65537");
  offer.heads[3] = {UINT32_MAX, UINT32_MAX};
  expect_refused(offer, StatusCode::kOutOfRange, "end of heads[3] is 8589934590");
  offer.heads.assign(kMaxGroups + 1, HeadRange{});
  expect_refused(offer, StatusCode::kOutOfRange, "count of heads is 65");
}

TEST(Limits, SlotsAndTheirUnitsAgree) {
  GrantOffer offer = kv_offer();
  offer.slots = {{1, 1}};
  expect_refused(offer, StatusCode::kInvalidArgument, "0 units_per_slot for 1 slots");
  offer.units_per_slot = {1};
  EXPECT_TRUE(encode(offer).is_ok());
  offer.slots[0].slot = kMaxSlotIndex + 1;
  expect_refused(offer, StatusCode::kOutOfRange, "slots[0].slot is 262144");
  offer.slots[0] = {1, kMaxGeneration + 1};
  expect_refused(offer, StatusCode::kOutOfRange, "slots[0].generation is 64");
}

TEST(Limits, AGrantThatIsReadHasNoSlots) {
  GrantOffer offer = kv_offer();
  offer.kind = GrantKind::kKvRead;
  offer.units_per_slot.assign(kMaxLayers, 1);
  EXPECT_TRUE(encode(offer).is_ok());
  offer.units_per_slot.push_back(1);
  expect_refused(offer, StatusCode::kOutOfRange, "count of units_per_slot is 4097");
  offer.units_per_slot = {1};
  offer.slots = {{1, 1}};
  expect_refused(offer, StatusCode::kInvalidArgument, "1 slots in a Grant that is read");
  offer.kind = GrantKind{3};
  expect_refused(offer, StatusCode::kInvalidArgument, "kind is 3");
}

TEST(Limits, AReadStartsWithASlotForEachLayer) {
  ReadStart start{GrantId(1), std::vector<SlotReference>(kMaxLayers), {}};
  expect_refused(start, StatusCode::kInvalidArgument, "ReadStart: 0 units_per_slot for 4096 slots");
  start.units_per_slot.assign(kMaxLayers, 1);
  EXPECT_TRUE(encode(start).is_ok());
  start.slots[7].slot = kMaxSlotIndex + 1;
  expect_refused(start, StatusCode::kOutOfRange, "slots[7].slot is 262144");
  start.slots.resize(kMaxLayers + 1);
  expect_refused(start, StatusCode::kOutOfRange, "count of slots is 4097");
  expect_refused(ReadStart{}, StatusCode::kInvalidArgument, "grant is 0");
}

TEST(Limits, AReadDoneHasACode) {
  EXPECT_TRUE(encode(ReadDone{GrantId(1), StatusCode::kOk, 0, ""}).is_ok());
  expect_refused(ReadDone{GrantId(1), StatusCode{200}, 0, ""}, StatusCode::kInvalidArgument,
                 "ReadDone: code is 200");
  expect_refused(ReadDone{}, StatusCode::kInvalidArgument, "grant is 0");
}

TEST(Limits, TokenRangeIsARange) {
  GrantOffer offer = kv_offer();
  offer.tokens = {5, 4};
  expect_refused(offer, StatusCode::kInvalidArgument, "token range [5, 4)");
}

TEST(Limits, RangesHaveBytesAndDoNotWrap) {
  GrantOffer offer = kv_offer();
  offer.ranges = {{SectionId(1), 0, 1}, {SectionId(1), 8, 0}};
  expect_refused(offer, StatusCode::kInvalidArgument, "ranges[1].length_bytes is 0");
  offer.ranges[1] = {SectionId(1), UINT64_MAX, 2};
  expect_refused(offer, StatusCode::kOutOfRange, "ranges[1]: offset + length goes past 2^64");
}

TEST(Limits, PathsOfOneQuiesced) {
  Quiesced quiesced{GrantId(1), std::vector<Quiesced::OnPath>(8)};
  for (auto& path : quiesced.paths) path.epoch = PathEpoch(1);
  EXPECT_TRUE(encode(quiesced).is_ok());
  quiesced.paths.push_back(quiesced.paths.back());
  expect_refused(quiesced, StatusCode::kOutOfRange, "count of paths is 9, at most 8");
}

TEST(Limits, UnitBytes) {
  Describe describe;
  for (const uint32_t wrong : {0u, kMinUnitBytes - 1, kMaxUnitBytes + 1}) {
    describe.unit_bytes = wrong;
    expect_refused(describe, StatusCode::kOutOfRange, "unit_bytes is " + std::to_string(wrong));
  }
  describe.unit_bytes = kMinUnitBytes;
  EXPECT_TRUE(encode(describe).is_ok());
}

TEST(Limits, NamesPrintAndAreShort) {
  SectionsChanged changed;
  changed.added.resize(2);
  changed.added[0].id = SectionId(1);
  changed.added[1].id = SectionId(2);
  changed.added[1].name = "a\nb";
  expect_refused(changed, StatusCode::kInvalidArgument,
                 "added[1].name has a control character at byte 1");
  changed.added[1].name.assign(kMaxNameBytes + 1, 'x');
  expect_refused(changed, StatusCode::kOutOfRange, "length of added[1].name is 256");
}

TEST(Limits, SectionRangesDoNotWrap) {
  SectionsChanged changed;
  changed.added.resize(1);
  changed.added[0].id = SectionId(1);
  changed.added[0].length_bytes = 2;
  changed.added[0].keys = {{RailIndex(0), 1, UINT64_MAX}};
  expect_refused(changed, StatusCode::kOutOfRange, "added[0].keys[0]: base + length");
}

TEST(Limits, LayoutCountsAgree) {
  const std::vector<std::pair<std::function<void(LayerGroup&)>, std::string>> cases = {
      {[](LayerGroup& g) { g.places.pop_back(); }, "has 3 places for 2 layers of 2 tensors"},
      {[](LayerGroup& g) { g.block_tokens = 0; }, "block_tokens is 0"},
      {[](LayerGroup& g) { g.heads = kMaxHeads + 1; }, "heads is 65537"},
      {[](LayerGroup& g) { g.dtype = DType{17}; }, "dtype is 17"},
      {[](LayerGroup& g) { g.kind = GroupKind{17}; }, "kind is 17"},
      {[](LayerGroup& g) { g.order = TokenOrder{17}; }, "order is 17"},
      {[](LayerGroup& g) { g.tensors_per_layer = 17; }, "tensors_per_layer is 17"},
      {[](LayerGroup& g) { g.layers.clear(); }, "count of layers is 0"},
  };
  for (const auto& [damage, part] : cases) {
    CachesChanged changed{{{CacheId(1), "x", sample_layout()}}, {}};
    ASSERT_TRUE(encode(changed).is_ok());
    damage(changed.added[0].layout.groups[0]);
    const auto frame = encode(changed);
    ASSERT_FALSE(frame.is_ok()) << part;
    EXPECT_NE(frame.status().message().find(part), std::string::npos) << frame.status().to_string();
  }
}

TEST(Limits, UnknownEnumValuesAreRefused) {
  expect_refused(Goodbye{StatusCode{200}, ""}, StatusCode::kInvalidArgument, "code is 200");
  SectionsChanged changed;
  changed.added.resize(1);
  changed.added[0].id = SectionId(1);
  changed.added[0].kind = MemoryKind{9};
  expect_refused(changed, StatusCode::kInvalidArgument, "added[0].kind is 9");
}

TEST(Limits, ACancelHasACause) {
  EXPECT_TRUE(encode(Cancel{GrantId(1), StatusCode::kCancelled, ""}).is_ok());
  expect_refused(Cancel{GrantId(1), StatusCode::kOk, ""}, StatusCode::kInvalidArgument,
                 "Cancel: code is OK");
}

TEST(Limits, ZeroIdsAreRefused) {
  expect_refused(GrantEndAck{}, StatusCode::kInvalidArgument, "grant is 0");
  expect_refused(Fence{}, StatusCode::kInvalidArgument, "epoch is 0");
  expect_refused(PathRequest{}, StatusCode::kInvalidArgument, "epoch is 0");
}

TEST(Limits, HelloFitsWhatAStrangerMaySend) {
  Hello hello;
  hello.protocol_min = hello.protocol_max = 1;
  hello.incarnation = 1;
  hello.name.assign(kMaxNameBytes, 'n');
  hello.address.assign(kMaxTextBytes, 'a');
  const auto frame = encode(hello);
  ASSERT_TRUE(frame.is_ok());
  EXPECT_LE(frame->size(), kMaxHelloBytes);
}

}  // namespace
}  // namespace baton::wire
