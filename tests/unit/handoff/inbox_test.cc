#include "src/handoff/inbox.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace baton::handoff {
namespace {

wire::Message notify(size_t bytes) {
  wire::Notify out;
  out.bytes.resize(bytes);
  return out;
}

TEST(InboxTest, HasRoomForSoManyMessages) {
  const auto inbox = std::make_shared<Inbox>();
  std::vector<Inbox::Room> rooms;
  for (size_t i = 0; i < Inbox::kMaxMessages; ++i) {
    auto room = Inbox::take(inbox, notify(1));
    ASSERT_TRUE(room.has_value()) << i;
    rooms.push_back(std::move(*room));
  }
  EXPECT_FALSE(Inbox::take(inbox, notify(1)).has_value());
  EXPECT_EQ(inbox->messages(), Inbox::kMaxMessages);
  rooms.pop_back();
  EXPECT_TRUE(Inbox::take(inbox, notify(1)).has_value()) << "and gives it back at once";
  rooms.clear();
  EXPECT_EQ(inbox->messages(), 0u);
  EXPECT_EQ(inbox->bytes(), 0u);
}

TEST(InboxTest, HasRoomForSoManyBytesOrForOneMessage) {
  const auto inbox = std::make_shared<Inbox>();
  wire::GrantOffer offer;
  offer.ranges.resize(Inbox::kMaxBytes / sizeof(wire::GrantRange) + 1);
  const wire::Message large(std::move(offer));
  ASSERT_GT(held_bytes(large), Inbox::kMaxBytes);
  {
    const auto alone = Inbox::take(inbox, large);
    EXPECT_TRUE(alone.has_value());
    EXPECT_FALSE(Inbox::take(inbox, notify(0)).has_value());
  }
  EXPECT_EQ(inbox->bytes(), 0u);
  const auto first = Inbox::take(inbox, notify(0));
  EXPECT_TRUE(first.has_value());
  EXPECT_FALSE(Inbox::take(inbox, large).has_value());
  EXPECT_TRUE(Inbox::take(inbox, notify(100)).has_value());
}

TEST(InboxTest, CountsWhatAMessageHolds) {
  const size_t empty = held_bytes(wire::Notify{});
  EXPECT_EQ(held_bytes(notify(1000)), empty + 1000);
  wire::GrantOffer offer;
  offer.tag = "tag";
  offer.block_lists = {std::vector<uint32_t>(10), std::vector<uint32_t>(5)};
  EXPECT_EQ(held_bytes(offer), empty + 3 + 2 * sizeof(std::vector<uint32_t>) + 15 * 4);
  wire::Quiesced quiesced;
  quiesced.paths.resize(2);
  quiesced.paths[1].signalled.resize(7);
  EXPECT_EQ(held_bytes(quiesced), empty + 2 * sizeof(wire::Quiesced::OnPath) + 7 * 8);
  wire::Fenced fenced;
  fenced.applied.resize(3);
  EXPECT_EQ(held_bytes(fenced), empty + 3 * sizeof(wire::Fenced::Applied));
}

TEST(InboxTest, ARoomIsGivenBackOnceWhereverItWent) {
  const auto inbox = std::make_shared<Inbox>();
  Inbox::Room kept;
  {
    auto room = Inbox::take(inbox, notify(10));
    Inbox::Room moved(std::move(*room));
    kept = std::move(moved);
  }
  EXPECT_EQ(inbox->messages(), 1u);
  kept = Inbox::Room();
  EXPECT_EQ(inbox->messages(), 0u);
  EXPECT_EQ(inbox->bytes(), 0u);
}

TEST(InboxTest, ARoomOutlivesItsPeersEntry) {
  auto inbox = std::make_shared<Inbox>();
  auto room = Inbox::take(inbox, notify(10));
  const std::weak_ptr<Inbox> watched = inbox;
  inbox.reset();
  EXPECT_FALSE(watched.expired());
  room.reset();
  EXPECT_TRUE(watched.expired());
}

}  // namespace
}  // namespace baton::handoff
