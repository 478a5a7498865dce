// Four Paths between two Contexts, and a proxy that cuts, stalls and delays some of their data
// sockets in the middle of frames: as long as one lives the hand-off is done, every unit counted
// once and every byte right (promises 1 to 3; pushed: settlement; pulled: what was lost is read
// again), and the dialer opens what was cut again.
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <tuple>

#include "tests/integration/proxy_rig.h"
#include "tests/support/test_seed.h"

namespace baton_test {
namespace {

using baton::StatusCode;
using Cut = TcpProxy::Cut;
using Way = TcpProxy::Way;

constexpr uint32_t kLayers = 8;
constexpr uint32_t kPaths = 4;

// Who dials, how a cut looks, and how the bytes move.
class ProxyPaths : public testing::TestWithParam<std::tuple<bool, Cut, By>> {
 protected:
  ProxyPaths()
      : rig_({.by = std::get<2>(GetParam()),
              .decode_dials = std::get<0>(GetParam()),
              .paths = kPaths}) {
    rig_.connect();
  }
  ~ProxyPaths() override {
    RecordProperty("bytes_checked", std::to_string(rig_.checked_bytes()));
    RecordProperty("foreign_bytes", std::to_string(rig_.foreign_bytes()));
  }

  static Cut cut() { return std::get<1>(GetParam()); }

  void cut_after(uint32_t path, uint64_t bytes) {
    rig_.proxy().cut_after(rig_.data(path), rig_.to_decode(), rig_.proof_bytes() + bytes, cut());
  }
  static void expect_codes(const ProxyRig::Ends& ends, StatusCode target, StatusCode source) {
    EXPECT_EQ(ends.target.code(), target) << ends.target.to_string();
    EXPECT_EQ(ends.source.code(), source) << ends.source.to_string();
  }
  void expect_done(HandOff& handoff) {
    expect_codes(rig_.finish(handoff), StatusCode::kOk, StatusCode::kOk);
  }
  // Nothing came later, over the same peers: they were not given up.
  void expect_the_same_peers_go_on() {
    EXPECT_EQ(rig_.target().memory().check_poisoned(0, rig_.target().memory().size()), "");
    rig_.fill_source();
    auto handoff = rig_.start(kLayers);
    expect_done(handoff);
    EXPECT_EQ(rig_.proxy().count(TcpProxy::Kind::kControl), 1u);
  }

  ProxyRig rig_;
};

TEST_P(ProxyPaths, AllCarryUnits) {
  auto handoff = rig_.start(kLayers);
  expect_done(handoff);
  for (uint32_t path = 0; path < kPaths; ++path) {
    EXPECT_GT(rig_.proxy().forwarded(rig_.data(path), rig_.to_decode()), rig_.proof_bytes() + 4096)
        << "path " << path;
  }
}

// In each field of the first header and of the first run, and anywhere in a fair share.
TEST_P(ProxyPaths, OneCutMidFrameAtManyOffsets) {
  std::vector<uint64_t> offsets = {0, 1, 4, 12, 23, 24, 25, 40, 47, 48, 49};
  std::mt19937_64 random(test_seed());
  while (offsets.size() < 24) offsets.push_back(random() % (ProxyRig::kPayloadBytes / kPaths));
  uint32_t cuts = 0;
  for (size_t i = 0; i < offsets.size(); ++i) {
    const uint32_t path = static_cast<uint32_t>(i) % kPaths;
    SCOPED_TRACE("path " + std::to_string(path) + ", offset " + std::to_string(offsets[i]));
    // Of all that this socket has carried so far.
    const uint64_t before = rig_.proxy().forwarded(rig_.data(path), rig_.to_decode());
    const auto victim = rig_.data(path);
    rig_.proxy().cut_after(victim, rig_.to_decode(), before + offsets[i], cut());
    rig_.fill_source();
    auto handoff = rig_.start(kLayers);
    expect_done(handoff);
    EXPECT_EQ(rig_.target().memory().check_poisoned(0, rig_.target().memory().size()), "");
    // One that carried too little is cut now, at rest.
    if (rig_.proxy().is_over(victim)) {
      ++cuts;
    } else {
      rig_.proxy().cut(victim, cut());
    }
    ASSERT_TRUE(rig_.wait_reopened(path));
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(cuts, offsets.size() / 2) << "so that the test tests something";
  EXPECT_EQ(rig_.proxy().count(TcpProxy::Kind::kControl), 1u) << "the peer was never given up";
}

// A Path that is asked for again, and whose socket is lost before it is proven, costs nobody
// anything.
TEST_P(ProxyPaths, OneWhoseNextSocketIsCutWithinItsProof) {
  for (const auto way : {rig_.to_decode(), rig_.to_prefill()}) {
    for (const uint64_t bytes : {uint64_t{0}, uint64_t{10}, uint64_t{39}}) {
      SCOPED_TRACE((way == rig_.to_decode() ? "to decode after " : "to prefill after ") +
                   std::to_string(bytes));
      rig_.fill_source();
      auto handoff = rig_.start(2);
      require_ok(handoff.target.gate(0).wait(20000), "Gate::wait");
      const TcpProxy::Stream next{TcpProxy::Kind::kData, rig_.proxy().count(TcpProxy::Kind::kData)};
      rig_.proxy().cut_after(next, way, bytes, cut());
      rig_.proxy().cut(rig_.data(1), cut());
      ASSERT_TRUE(rig_.proxy().wait_over(next));
      ASSERT_TRUE(rig_.wait_reopened(1, 1));
      require_ok(handoff.word.advance_to(kLayers), "advance_to");
      expect_done(handoff);
      EXPECT_EQ(rig_.proxy().count(TcpProxy::Kind::kControl), 1u) << "the peer was given up";
      if (testing::Test::HasFailure()) return;
    }
  }
}

TEST_P(ProxyPaths, ThreeCutOneAfterTheOther) {
  for (uint32_t path = 0; path < 3; ++path) cut_after(path, 20'000 + path * 50'001);
  auto handoff = rig_.start(kLayers);
  expect_done(handoff);
  for (uint32_t path = 0; path < 3; ++path) EXPECT_TRUE(rig_.proxy().wait_over(rig_.data(path)));
  expect_the_same_peers_go_on();
}

TEST_P(ProxyPaths, ThreeCutAtOnce) {
  auto handoff = rig_.start(kLayers - 1);
  require_ok(handoff.target.gate(0).wait(20000), "Gate::wait");
  for (uint32_t path = 1; path < kPaths; ++path) rig_.proxy().cut(rig_.data(path), cut());
  require_ok(handoff.word.advance_to(kLayers), "advance_to");
  expect_done(handoff);
  expect_the_same_peers_go_on();
}

TEST_P(ProxyPaths, AllCutIsAPathLost) {
  auto handoff = rig_.start(kLayers - 1);
  require_ok(handoff.target.gate(0).wait(20000), "Gate::wait");
  for (uint32_t path = 0; path < kPaths; ++path) rig_.proxy().cut(rig_.data(path), cut());
  expect_codes(rig_.finish(handoff), StatusCode::kPathLost, StatusCode::kPathLost);
  EXPECT_TRUE(rig_.wait_disconnected());
  rig_.expect_life_goes_on();
}

TEST_P(ProxyPaths, OneStalledAndThenCut) {
  rig_.proxy().stall_after(rig_.data(2), rig_.to_decode(), rig_.proof_bytes() + 30'000);
  auto handoff = rig_.start(kLayers);
  ASSERT_TRUE(
      rig_.proxy().wait_forwarded(rig_.data(2), rig_.to_decode(), rig_.proof_bytes() + 30'000));
  EXPECT_FALSE(baton::is_terminal(handoff.target.state()));
  rig_.proxy().cut(rig_.data(2), cut());
  expect_done(handoff);
  expect_the_same_peers_go_on();
}

TEST_P(ProxyPaths, OneStalledPastTheDeadlineAndItsLateBytesNeverLand) {
  const uint64_t middle = rig_.proof_bytes() + 30'000;
  rig_.proxy().stall_after(rig_.data(1), rig_.to_decode(), middle);
  auto handoff = rig_.start(kLayers, 4000);
  ASSERT_TRUE(rig_.proxy().wait_forwarded(rig_.data(1), rig_.to_decode(), middle));
  const auto ends = rig_.finish(handoff);
  expect_codes(ends, StatusCode::kDeadlineExceeded, StatusCode::kDeadlineExceeded);
  rig_.proxy().resume(rig_.data(1), rig_.to_decode());
  EXPECT_TRUE(rig_.proxy().wait_over(rig_.data(1)));
  EXPECT_EQ(rig_.target().memory().check_poisoned(0, rig_.target().memory().size()), "");
}

TEST_P(ProxyPaths, OneSlowPathOnlyDelays) {
  for (const Way way : {Way::kToAcceptor, Way::kToDialer}) {
    rig_.proxy().delay(rig_.data(3), way, std::chrono::milliseconds(60));
  }
  auto handoff = rig_.start(kLayers);
  expect_done(handoff);
  expect_the_same_peers_go_on();
}

TEST_P(ProxyPaths, CutWhileItIsCancelled) {
  for (uint32_t round = 0; round < 8; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    const uint32_t path = round % kPaths;
    rig_.fill_source();
    auto handoff = rig_.start(kLayers - 1);
    require_ok(handoff.target.gate(0).wait(20000), "Gate::wait");
    if (round % 2 == 0) rig_.proxy().cut(rig_.data(path), cut());
    if (round < 4) {
      handoff.source.cancel("preempted");
    } else {
      handoff.target.cancel("aborted");
    }
    if (round % 2 == 1) rig_.proxy().cut(rig_.data(path), cut());
    expect_codes(rig_.finish(handoff), StatusCode::kCancelled, StatusCode::kCancelled);
    ASSERT_TRUE(rig_.wait_reopened(path));
    EXPECT_EQ(rig_.target().memory().check_poisoned(0, rig_.target().memory().size()), "");
  }
  EXPECT_EQ(rig_.proxy().count(TcpProxy::Kind::kControl), 1u);
}

std::string param_name(const testing::TestParamInfo<ProxyPaths::ParamType>& info) {
  return std::string(std::get<0>(info.param) ? "DecodeDials" : "PrefillDials") +
         (std::get<1>(info.param) == Cut::kReset ? "Reset" : "Finish");
}
INSTANTIATE_TEST_SUITE_P(Pushed, ProxyPaths,
                         testing::Combine(testing::Bool(),
                                          testing::Values(Cut::kReset, Cut::kFinish),
                                          testing::Values(By::kPush)),
                         param_name);
INSTANTIATE_TEST_SUITE_P(Pulled, ProxyPaths,
                         testing::Values(std::tuple(true, Cut::kReset, By::kPull),
                                         std::tuple(false, Cut::kFinish, By::kPull)),
                         param_name);

}  // namespace
}  // namespace baton_test
