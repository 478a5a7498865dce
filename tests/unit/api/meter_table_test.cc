#include "src/api/meter_table.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace baton::api {
namespace {

const PeerMetrics* find(const std::vector<PeerMetrics>& peers, std::string_view name) {
  const auto found = std::find_if(peers.begin(), peers.end(),
                                  [&](const PeerMetrics& peer) { return peer.name == name; });
  return found == peers.end() ? nullptr : &*found;
}

TEST(MeterTable, APeerThatComesBackCountsOn) {
  MeterTable table;
  table.open("decode-0")->placed_bytes.add(5);
  EXPECT_TRUE(find(table.read(), "decode-0")->is_up);
  table.close("decode-0");
  EXPECT_FALSE(find(table.read(), "decode-0")->is_up);
  table.open("decode-0")->placed_bytes.add(7);
  const auto peers = table.read();
  ASSERT_EQ(peers.size(), 1u);
  EXPECT_EQ(peers[0].placed_bytes, 12u);
  EXPECT_TRUE(peers[0].is_up);
}

// The new connection comes up before everything of the old one has ended.
TEST(MeterTable, TwoConnectionsOfOneName) {
  MeterTable table;
  const auto first = table.open("decode-0");
  const auto second = table.open("decode-0");
  EXPECT_EQ(first, second);
  table.close("decode-0");
  EXPECT_TRUE(find(table.read(), "decode-0")->is_up);
  table.close("decode-0");
  EXPECT_FALSE(find(table.read(), "decode-0")->is_up);
}

TEST(MeterTable, TheOldestThatAreGoneAreFoldedAndNoCountIsLost) {
  MeterTable table;
  constexpr size_t kPeers = 3 * kGonePeersKept;
  const auto stays = table.open("stays");
  stays->placed_bytes.add(1000);
  for (size_t i = 0; i < kPeers; ++i) {
    const std::string name = "peer-" + std::to_string(i);
    const auto meters = table.open(name);
    meters->placed_bytes.add(1);
    meters->of(RequestKind::kPush).started.add(2);
    meters->of(RequestKind::kPush).end(StatusCode::kPeerLost);
    meters->paths[i % 8].transport.store("tcp");
    meters->paths[i % 8].posted_bytes.add(10);
    meters->paths[i % 8].fences[static_cast<size_t>(FenceCause::kPeerLost)].add();
    meters->detection.observe(1'000'000);
    table.close(name);
    EXPECT_LE(table.size(), 1 + kGonePeersKept + 2);
  }
  // The last was still held when it was closed.
  const auto peers = table.read();
  EXPECT_EQ(find(peers, "peer-0"), nullptr);
  ASSERT_NE(find(peers, "peer-" + std::to_string(kPeers - 1)), nullptr);
  ASSERT_NE(find(peers, kFoldedPeers), nullptr);
  EXPECT_FALSE(find(peers, kFoldedPeers)->is_up);
  EXPECT_GE(find(peers, kFoldedPeers)->placed_bytes, kPeers - kGonePeersKept - 1);
  uint64_t placed = 0;
  uint64_t started = 0;
  uint64_t lost = 0;
  uint64_t posted = 0;
  uint64_t fences = 0;
  uint64_t found_dead = 0;
  for (const PeerMetrics& peer : peers) {
    placed += peer.placed_bytes;
    const RequestMetrics& push = peer.requests[static_cast<size_t>(RequestKind::kPush)];
    started += push.started;
    lost += push.ended[static_cast<size_t>(StatusCode::kPeerLost)];
    found_dead += peer.detection.total();
    for (const PathMetrics& path : peer.paths) {
      posted += path.posted_bytes;
      fences += path.fences[static_cast<size_t>(FenceCause::kPeerLost)];
    }
  }
  EXPECT_EQ(placed, 1000 + kPeers);
  EXPECT_EQ(started, 2 * kPeers);
  EXPECT_EQ(lost, kPeers);
  EXPECT_EQ(posted, 10 * kPeers);
  EXPECT_EQ(fences, kPeers);
  EXPECT_EQ(found_dead, kPeers);
}

// A Grant that is not quiet yet counts its end long after its peer has gone.
TEST(MeterTable, WhatIsStillWrittenToIsNotFolded) {
  MeterTable table;
  const auto held = table.open("held");
  table.close("held");
  for (size_t i = 0; i < 2 * kGonePeersKept; ++i) {
    table.open("peer-" + std::to_string(i));
    table.close("peer-" + std::to_string(i));
  }
  held->placed_bytes.add(3);
  const auto peers = table.read();
  ASSERT_NE(find(peers, "held"), nullptr);
  EXPECT_EQ(find(peers, "held")->placed_bytes, 3u);
}

}  // namespace
}  // namespace baton::api
