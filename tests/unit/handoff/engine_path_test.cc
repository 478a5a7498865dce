// The Engine and its Paths: opened side by side, refused, and lost.
#include <gtest/gtest.h>

#include "tests/unit/handoff/engine_pair.h"

namespace baton_test {
namespace {

using baton::PathEpoch;
using baton::PeerId;
using baton::State;
using baton::Status;
using baton::StatusCode;
using baton::handoff::ConnectPath;
using baton::handoff::PeerDown;
using baton::handoff::PeerUp;
using baton::wire::Fence;
using baton::wire::PathRequest;

constexpr PeerId kOnly(EngineSide::kPeer);  // who the writer is to every other side
constexpr PeerId kOther(2);

// A third Context, and the writer's Path to it: asked for by the third, so that it opens in one
// turn of the writer.
class OtherPeer {
 public:
  explicit OtherPeer(EnginePair& pair) : side_(pair.fabric(), pair.clock(), 4096) {
    side_.control(PeerUp{kOnly, EnginePair::kBlockBytes});
    pair.writer().control(PeerUp{kOther, EnginePair::kBlockBytes});
    const auto request = ask_for_path(side_, kOnly, PathEpoch(78));
    const auto reply = answer_with_path(pair.writer(), kOther, request);
    EXPECT_EQ(reply.code, StatusCode::kOk) << reply.error;
    side_.control(ConnectPath{kOnly, reply.epoch, reply.address});
  }

 private:
  EngineSide side_;
};

TEST(EnginePath, TwoThatOpenAtATimeKeepTheirReportsApart) {
  std::unique_ptr<OtherPeer> other;
  EnginePair pair(EnginePair::default_plan(),
                  [&](EnginePair& dialling) { other = std::make_unique<OtherPeer>(dialling); });
  pair.start();
  pair.seal();
  pair.settle();
  EXPECT_EQ(pair.grant->life.state(), State::kDone) << pair.grant->life.status().to_string();
  EXPECT_EQ(pair.transfer->life.state(), State::kDone) << pair.transfer->life.status().to_string();
  EXPECT_EQ(pair.compare_all(), "");
  other.reset();  // the fabric is the pair's
}

TEST(EnginePath, OneThatWasNeverConnectedIsFencedUnderItsOwnName) {
  EnginePair pair;
  EngineSide& side = pair.receiver();
  side.control(PeerUp{kOther, EnginePair::kBlockBytes});
  ask_for_path(side, kOther, PathEpoch(78));
  side.control(PeerUp{PeerId(3), EnginePair::kBlockBytes});
  ask_for_path(side, PeerId(3), PathEpoch(79));
  for (const PeerId gone : {kOther, PeerId(3)})
    side.control(PeerDown{gone, Status(StatusCode::kPeerLost, "gone")});
  side.turn();
  side.turn();
  // Each is forgotten: nothing is left that could be dialled a second time.
  for (const PeerId again : {kOther, PeerId(3)}) {
    side.control(PeerUp{again, EnginePair::kBlockBytes});
    EXPECT_FALSE(ask_for_path(side, again, PathEpoch(80)).address.empty());
  }
}

// Names are used again for later Paths.
TEST(EnginePath, ALaterPathIsNotTakenForAnEarlierOne) {
  EnginePair pair;
  EngineSide& side = pair.receiver();
  for (uint32_t round = 0; round < 50; ++round) {
    side.control(PeerUp{kOther, EnginePair::kBlockBytes});
    ask_for_path(side, kOther, PathEpoch(100 + round));
    side.control(PeerDown{kOther, Status(StatusCode::kPeerLost, "gone")});
    side.turn();
    side.turn();
  }
  pair.start();
  pair.seal();
  pair.settle();
  EXPECT_EQ(pair.grant->life.state(), State::kDone) << pair.grant->life.status().to_string();
  EXPECT_EQ(pair.compare_all(), "");
}

// The peer's address is of no use: neither side is told that it has a Path.
TEST(EnginePath, OneThatDoesNotConnectIsReportedAsFailed) {
  EnginePair pair;
  EngineSide& asker = pair.writer();
  EngineSide& asked = pair.receiver();
  const std::vector<uint8_t> nonsense(7, 0xff);
  for (EngineSide* side : {&asker, &asked}) {
    side->path_reports.clear();
    side->control(PeerUp{kOther, EnginePair::kBlockBytes});
  }
  const auto reply = answer_with_path(asked, kOther, PathRequest{PathEpoch(78), {}, {}, nonsense});
  EXPECT_EQ(reply.code, StatusCode::kPathLost);
  EXPECT_NE(reply.error.find("7 bytes"), std::string::npos) << reply.error;
  ask_for_path(asker, kOther, PathEpoch(78));
  asker.control(ConnectPath{kOther, PathEpoch(78), nonsense});
  for (EngineSide* side : {&asker, &asked}) {
    ASSERT_EQ(side->path_reports.size(), 1u);
    const Status& failed = side->path_reports[0];
    EXPECT_EQ(failed.code(), StatusCode::kInvalidArgument) << failed.to_string();
    EXPECT_NE(failed.message().find("connecting a path on rail loopback"), std::string::npos);
    EXPECT_TRUE(side->dropped.is_ok()) << "whether others are left is the Context's to say";
  }
}

// The fence ends within the call, and the Path goes a turn later: between the two it is there, and
// carries nothing.
TEST(EnginePath, WhatIsOpenedBehindItsFenceFailsWithIt) {
  EnginePair pair;
  pair.start();
  const auto late_transfer = pair.make_transfer(*pair.grant);
  pair.writer().receive(Fence{PathEpoch(77)});
  ASSERT_EQ(pair.transfer->life.status().code(), StatusCode::kPathLost);
  pair.open(late_transfer);
  EXPECT_EQ(late_transfer->life.status().code(), StatusCode::kPathLost);

  pair.receiver().receive(Fence{PathEpoch(77)});
  ASSERT_EQ(pair.grant->life.status().code(), StatusCode::kPathLost);
  const auto late_grant = pair.make_grant();
  pair.open(late_grant);
  EXPECT_EQ(late_grant->life.status().code(), StatusCode::kPathLost);
  EXPECT_EQ(late_grant->all->poll().code(), StatusCode::kPathLost);

  pair.settle();
  EXPECT_TRUE(late_grant->life.is_terminal());
  EXPECT_TRUE(late_transfer->life.is_terminal());
  EXPECT_EQ(pair.writer().dropped.code(), StatusCode::kPathLost) << "all has ended there";
}

}  // namespace
}  // namespace baton_test
