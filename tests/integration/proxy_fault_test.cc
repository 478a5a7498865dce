// Two Contexts with a proxy between them that cuts, stalls and delays their control connection and
// their data socket apart from each other, under hand-offs that are pushed and such as are pulled:
// verdicts by their codes on both sides, every byte of both pools (promises 1 to 4), and a new
// connection afterwards.
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <thread>
#include <tuple>
#include <vector>

#include "tests/integration/proxy_rig.h"
#include "tests/support/test_seed.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::State;
using baton::StatusCode;
using Cut = TcpProxy::Cut;
using Way = TcpProxy::Way;
using Clock = std::chrono::steady_clock;

constexpr uint32_t kLayers = 8;
constexpr int64_t kSoonMs = 10'000;  // only bounds what is noticed at once

int64_t since_ms(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count();
}

class ProxyTest : public testing::Test {
 protected:
  explicit ProxyTest(bool decode_dials, By by = By::kPush)
      : rig_({.by = by, .decode_dials = decode_dials}),
        without_verdict_(by == By::kPush ? StatusCode::kInDoubt : StatusCode::kPeerLost) {
    rig_.connect();
  }
  ~ProxyTest() override {
    RecordProperty("bytes_checked", std::to_string(rig_.checked_bytes()));
    RecordProperty("foreign_bytes", std::to_string(rig_.foreign_bytes()));
  }

  // All layers but the last are ticked, and the first has arrived: it cannot be done already.
  HandOff start_in_the_middle(uint32_t deadline_ms = 20000) {
    auto handoff = rig_.start(kLayers - 1, deadline_ms);
    require_ok(handoff.target.gate(0).wait(20000), "Gate::wait");
    return handoff;
  }
  static void expect_codes(const ProxyRig::Ends& ends, StatusCode target, StatusCode source) {
    EXPECT_EQ(ends.target.code(), target) << ends.target.to_string();
    EXPECT_EQ(ends.source.code(), source) << ends.source.to_string();
  }
  void expect_new_peers() {
    EXPECT_TRUE(rig_.wait_disconnected());
    rig_.expect_life_goes_on();
  }

  ProxyRig rig_;
  // How the source's side ends when it does not hear how the target's ended, and the peer is lost.
  StatusCode without_verdict_;
};

// Who dials, how a cut looks, and how the bytes move.
class ProxyCut : public ProxyTest, public testing::WithParamInterface<std::tuple<bool, Cut, By>> {
 protected:
  ProxyCut() : ProxyTest(std::get<0>(GetParam()), std::get<2>(GetParam())) {}
  static Cut cut() { return std::get<1>(GetParam()); }
};

// Who dials, and how a cut looks: without a hand-off, or before one.
class ProxyCutOther : public ProxyTest, public testing::WithParamInterface<std::tuple<bool, Cut>> {
 protected:
  ProxyCutOther() : ProxyTest(std::get<0>(GetParam())) {}
  static Cut cut() { return std::get<1>(GetParam()); }
};

// Who dials, and how the bytes move.
class ProxyStall : public ProxyTest, public testing::WithParamInterface<std::tuple<bool, By>> {
 protected:
  ProxyStall() : ProxyTest(std::get<0>(GetParam()), std::get<1>(GetParam())) {}
};

TEST_P(ProxyCut, ControlLostWhileDataFlows) {
  auto handoff = start_in_the_middle();
  const auto start = Clock::now();
  rig_.proxy().cut(rig_.control(), cut());
  const auto ends = rig_.finish(handoff);
  EXPECT_LT(since_ms(start), kSoonMs);
  expect_codes(ends, StatusCode::kPeerLost, without_verdict_);
  EXPECT_NE(ends.source.to_string().find("PEER_LOST"), std::string::npos)
      << ends.source.to_string();
  if (handoff.by == By::kPush) {
    EXPECT_EQ(handoff.source.transfer().failed_blocks().size(), 40u);
  }
  expect_new_peers();
}

TEST_P(ProxyCut, DataLostWhileControlLives) {
  auto handoff = start_in_the_middle();
  const auto start = Clock::now();
  rig_.proxy().cut(rig_.data(), cut());
  const auto ends = rig_.finish(handoff);
  EXPECT_LT(since_ms(start), kSoonMs);
  expect_codes(ends, StatusCode::kPathLost, StatusCode::kPathLost);
  expect_new_peers();
}

// Neither side can tell the other: each ends by its own.
TEST_P(ProxyCut, DataLostWhileControlIsSilent) {
  auto handoff = start_in_the_middle();
  const auto start = Clock::now();
  rig_.proxy().stall(rig_.control(), Way::kToAcceptor);
  rig_.proxy().stall(rig_.control(), Way::kToDialer);
  rig_.proxy().cut(rig_.data(), cut());
  const auto ends = rig_.finish(handoff);
  EXPECT_LT(since_ms(start), kPeerDeadMs + 2000 + kSoonMs);
  expect_codes(ends, StatusCode::kPathLost, StatusCode::kInDoubt);
  expect_new_peers();
}

// The receiver has it all, and the writer hears no verdict: it cannot know.
TEST_P(ProxyCut, ControlLostBeforeTheVerdict) {
  auto handoff = start_in_the_middle();
  rig_.proxy().stall(rig_.control(), rig_.to_prefill());
  require_ok(handoff.word.advance_to(kLayers), "advance_to");
  require_ok(handoff.target.wait(20000), "wait");
  rig_.proxy().cut(rig_.control(), cut());
  expect_codes(rig_.finish(handoff), StatusCode::kOk, without_verdict_);
  expect_new_peers();
}

// Two calls wait for one dial; the one that dialled has less time.
TEST(ProxyConnect, ATimeoutLeavesTheOthersTheirDial) {
  auto listener = require(baton::Context::create(quiet_options("listener")), "create");
  auto dialer = require(baton::Context::create(quiet_options("dialer")), "create");
  TcpProxy proxy(listener.address());
  const std::string address = proxy.address_of(listener.address());
  const TcpProxy::Stream dial{TcpProxy::Kind::kControl, 0};
  proxy.stall(dial, TcpProxy::Way::kToAcceptor);
  StatusCode first = StatusCode::kOk;
  std::thread hurried([&] { first = dialer.connect(address, 1000).code(); });
  ASSERT_TRUE(proxy.wait_count(TcpProxy::Kind::kControl, 1));
  baton::Result<baton::PeerId> second = baton::Status(StatusCode::kInternal, "no answer");
  std::thread patient([&] { second = dialer.connect(address, 20000); });
  hurried.join();
  EXPECT_EQ(first, StatusCode::kDeadlineExceeded);
  proxy.resume(dial, TcpProxy::Way::kToAcceptor);
  patient.join();
  ASSERT_TRUE(second.is_ok()) << second.status().to_string();
  EXPECT_EQ(proxy.count(TcpProxy::Kind::kControl), 1u) << "dials";
  EXPECT_EQ(dialer.peers(), std::vector<baton::PeerId>{*second});
}

// More offers than wait for a peer that does not read for a moment: BUSY, and nothing is lost.
TEST(ProxyBurst, OfGrantsIsBusyWhileThePeerDoesNotRead) {
  // Neither takes the other for dead, however long the burst takes.
  baton::ContextOptions options = quiet_options("writer");
  options.peer_dead_after_ms = 60000;
  auto writer = require(baton::Context::create(options), "create");
  options.name = "granter";
  auto granter = require(baton::Context::create(std::move(options)), "create");
  std::vector<uint8_t> memory(64);
  baton::SectionOptions section_options;
  section_options.address = memory.data();
  section_options.length_bytes = memory.size();
  auto section = require(granter.register_section(section_options), "register_section");
  TcpProxy proxy(writer.address());
  baton::RangeGrantRequest request;
  request.peer = require(granter.connect(proxy.address_of(writer.address())), "connect");
  request.ranges.resize(65536, {section.id(), 0, 64});
  request.allow_write = true;
  proxy.stall({TcpProxy::Kind::kControl, 0}, TcpProxy::Way::kToAcceptor);
  std::vector<baton::Grant> grants;
  baton::Status refused;
  for (uint32_t i = 0; i < 100 && refused.is_ok(); ++i) {
    request.tag = std::to_string(i);
    auto grant = granter.grant_ranges(request);
    refused = grant.is_ok() ? baton::Status::ok() : grant.status();
    if (grant.is_ok()) grants.push_back(std::move(*grant));
  }
  EXPECT_EQ(refused.code(), StatusCode::kBusy) << refused.to_string();
  EXPECT_GT(grants.size(), 2u);
  proxy.resume({TcpProxy::Kind::kControl, 0}, TcpProxy::Way::kToAcceptor);
  for (size_t i = 0; i < grants.size(); ++i) {
    EXPECT_TRUE(writer.wait_offer(std::to_string(i), 20000).is_ok()) << i;
    EXPECT_EQ(grants[i].state(), State::kActive) << grants[i].status().to_string();
  }
  // There is room again.
  request.tag = "again";
  EXPECT_TRUE(wait_until([&] {
    auto grant = granter.grant_ranges(request);
    if (grant.is_ok()) grants.push_back(std::move(*grant));
    return grant.is_ok();
  }));
  EXPECT_TRUE(writer.wait_offer("again", 20000).is_ok());
}

// The dial's own end and the caller's meet, in each order.
TEST(ProxyConnect, NothingIsLeftOfDialsThatNobodyAnswered) {
  auto listener = require(baton::Context::create(quiet_options("listener")), "create");
  baton::ContextOptions options = quiet_options("dialer");
  options.connect_timeout_ms = 20;
  auto dialer = require(baton::Context::create(std::move(options)), "create");
  TcpProxy proxy(listener.address());
  const std::string address = proxy.address_of(listener.address());
  for (uint32_t i = 0; i < 100; ++i) {
    proxy.stall({TcpProxy::Kind::kControl, i}, TcpProxy::Way::kToAcceptor);
    EXPECT_EQ(dialer.connect(address).code(), StatusCode::kDeadlineExceeded);
  }
  EXPECT_TRUE(wait_until([&] {
    return dialer.dump(baton::DumpFormat::kJson).find("\"peers\":[]") != std::string::npos;
  })) << dialer.dump(baton::DumpFormat::kText);
}

TEST_P(ProxyStall, SilentControlIsADeadPeer) {
  for (const bool to_prefill : {true, false}) {
    SCOPED_TRACE(to_prefill ? "to prefill" : "to decode");
    auto handoff = start_in_the_middle();
    const auto start = Clock::now();
    rig_.proxy().stall(rig_.control(), to_prefill ? rig_.to_prefill() : rig_.to_decode());
    const auto ends = rig_.finish(handoff);
    EXPECT_LT(since_ms(start), kPeerDeadMs + 2000 + kSoonMs);
    expect_codes(ends, StatusCode::kPeerLost, without_verdict_);
    expect_new_peers();
    rig_.prefill().disconnect(rig_.prefill().peers().front()).ignore();
    EXPECT_TRUE(rig_.wait_disconnected());
    rig_.connect();
  }
}

TEST_P(ProxyStall, StalledDataEndsAtTheDeadlineAndItsLateBytesNeverLand) {
  auto handoff = rig_.start(0, 4000);
  const uint64_t middle = rig_.proof_bytes() + ProxyRig::kPayloadBytes / 3;
  rig_.proxy().stall_after(rig_.data(), rig_.to_decode(), middle);
  const auto start = Clock::now();
  require_ok(handoff.word.advance_to(kLayers), "advance_to");
  ASSERT_TRUE(rig_.proxy().wait_forwarded(rig_.data(), rig_.to_decode(), middle));
  const auto ends = rig_.finish(handoff);
  EXPECT_LT(since_ms(start), 4000 + 2000 + kSoonMs);
  expect_codes(ends, StatusCode::kDeadlineExceeded, StatusCode::kDeadlineExceeded);
  rig_.proxy().resume(rig_.data(), rig_.to_decode());
  EXPECT_TRUE(rig_.proxy().wait_over(rig_.data()));
  expect_new_peers();
}

TEST_P(ProxyStall, StalledDataGoesOnWhenItMay) {
  const uint64_t middle = rig_.proof_bytes() + ProxyRig::kPayloadBytes / 3;
  rig_.proxy().stall_after(rig_.data(), rig_.to_decode(), middle);
  auto handoff = rig_.start(kLayers);
  ASSERT_TRUE(rig_.proxy().wait_forwarded(rig_.data(), rig_.to_decode(), middle));
  EXPECT_FALSE(handoff.target.all().is_open());
  rig_.proxy().resume(rig_.data(), rig_.to_decode());
  expect_codes(rig_.finish(handoff), StatusCode::kOk, StatusCode::kOk);
}

TEST_P(ProxyStall, SlowConnectionsChangeNothing) {
  for (const auto stream : {rig_.control(), rig_.data()}) {
    for (const Way way : {Way::kToAcceptor, Way::kToDialer}) {
      rig_.proxy().delay(stream, way, std::chrono::milliseconds(40));
    }
  }
  auto handoff = rig_.start(kLayers);
  expect_codes(rig_.finish(handoff), StatusCode::kOk, StatusCode::kOk);
  // And a cancel that comes late is a cancel.
  rig_.source().memory().fill_pattern(test_seed());
  auto other = start_in_the_middle();
  other.source.cancel("preempted");
  expect_codes(rig_.finish(other), StatusCode::kCancelled, StatusCode::kCancelled);
  EXPECT_EQ(rig_.prefill().peers().size(), 1u);
}

// In each field of the first header and of the first run, and anywhere.
TEST_P(ProxyCut, DataCutMidFrameAtManyOffsets) {
  std::vector<uint64_t> offsets = {0,
                                   1,
                                   2,
                                   3,
                                   4,
                                   8,
                                   12,
                                   16,
                                   20,
                                   23,
                                   24,
                                   25,
                                   32,
                                   40,
                                   44,
                                   47,
                                   48,
                                   49,
                                   ProxyRig::kPayloadBytes - 1};
  std::mt19937_64 random(test_seed());
  while (offsets.size() < 30) offsets.push_back(random() % ProxyRig::kPayloadBytes);
  for (const uint64_t offset : offsets) {
    SCOPED_TRACE("offset " + std::to_string(offset));
    // The cut may come at once: not before there is something to lose.
    auto handoff = rig_.start(0);
    rig_.proxy().cut_after(rig_.data(), rig_.to_decode(), rig_.proof_bytes() + offset, cut());
    require_ok(handoff.word.advance_to(kLayers), "advance_to");
    expect_codes(rig_.finish(handoff), StatusCode::kPathLost, StatusCode::kPathLost);
    EXPECT_TRUE(rig_.wait_disconnected());
    EXPECT_EQ(rig_.target().memory().check_poisoned(0, rig_.target().memory().size()), "");
    if (testing::Test::HasFailure()) return;
    rig_.connect();
  }
}

// A dial ends in an error that says so, and the next one is well.
TEST_P(ProxyCutOther, HelloAndProofCutAtManyOffsets) {
  rig_.prefill().disconnect(rig_.prefill().peers().front()).ignore();
  ASSERT_TRUE(rig_.wait_disconnected());
  struct Case {
    TcpProxy::Kind kind;
    Way way;
    std::vector<uint64_t> offsets;
  };
  // Hello and Describe are some hundred bytes; a data socket's opening is 104, its answer 40.
  const Case cases[] = {
      {TcpProxy::Kind::kControl, Way::kToAcceptor, {1, 7, 8, 9, 12, 60, 150}},
      {TcpProxy::Kind::kControl, Way::kToDialer, {1, 3, 4, 5, 40, 100, 150}},
      {TcpProxy::Kind::kData, Way::kToAcceptor, {1, 7, 8, 50, 103}},
      {TcpProxy::Kind::kData, Way::kToDialer, {1, 7, 8, 39}},
  };
  for (const Case& one : cases) {
    for (const uint64_t offset : one.offsets) {
      SCOPED_TRACE("offset " + std::to_string(offset) +
                   (one.way == Way::kToDialer ? " to the dialer" : " to the acceptor") +
                   (one.kind == TcpProxy::Kind::kData ? " of data" : " of control"));
      const TcpProxy::Stream next{one.kind, rig_.proxy().count(one.kind)};
      rig_.proxy().cut_after(next, one.way, offset, cut());
      const auto start = Clock::now();
      const auto failed = rig_.try_connect();
      EXPECT_EQ(failed.code(), one.kind == TcpProxy::Kind::kControl ? StatusCode::kPeerLost
                                                                    : StatusCode::kPathLost)
          << failed.to_string();
      EXPECT_LT(since_ms(start), kSoonMs);
      EXPECT_TRUE(rig_.wait_disconnected());
    }
  }
  rig_.expect_life_goes_on();
}

// Raw writes and reads that are half done: nothing lands on either side after their ends.
TEST_P(ProxyCutOther, RawTransfersHalfDone) {
  for (const bool write : {true, false}) {
    SCOPED_TRACE(write ? "write" : "read");
    rig_.source().memory().fill_pattern(test_seed());
    rig_.target().memory().fill_pattern(test_seed() + 2);
    const uint64_t length = rig_.target().memory().size();
    baton::RangeGrantRequest ranges;
    ranges.peer = rig_.decode().peers().front();
    ranges.tag = "ranges";
    ranges.ranges = {{rig_.target().section(), 0, length}};
    ranges.allow_write = write;
    ranges.allow_read = !write;
    auto grant = require(rig_.decode().grant_ranges(ranges), "grant_ranges");
    baton::RawRequest request;
    request.grant = require(rig_.prefill().wait_offer("ranges", 20000), "wait_offer").id;
    request.local_section = rig_.source().section();
    request.remote_section = rig_.target().section();
    request.runs = {{0, 0, length}};
    const Way way = write ? rig_.to_decode() : rig_.to_prefill();
    rig_.proxy().cut_after(rig_.data(), way, length / 2, cut());
    auto transfer = require(write ? rig_.prefill().write(request) : rig_.prefill().read(request),
                            write ? "write" : "read");
    const auto end = transfer.wait(20000);
    // The flush of a write went unanswered: its bytes may have landed.
    EXPECT_EQ(end.code(), write ? StatusCode::kInDoubt : StatusCode::kPathLost) << end.to_string();
    next_event(rig_.prefill(), baton::EventKind::kTransferEnded);
    rig_.source().memory().poison();
    EXPECT_EQ(grant.wait(20000).code(), StatusCode::kPathLost) << grant.status().to_string();
    next_event(rig_.decode(), baton::EventKind::kGrantEnded);
    rig_.target().memory().poison();
    EXPECT_TRUE(rig_.wait_disconnected());
    EXPECT_EQ(rig_.source().memory().check_poisoned(0, length), "");
    rig_.expect_life_goes_on();
    rig_.target().memory().poison();
  }
}

std::string dialer_name(bool decode_dials) { return decode_dials ? "DecodeDials" : "PrefillDials"; }
std::string cut_name(Cut cut) { return cut == Cut::kReset ? "Reset" : "Finish"; }
std::string cut_test_name(const testing::TestParamInfo<ProxyCut::ParamType>& info) {
  return dialer_name(std::get<0>(info.param)) + cut_name(std::get<1>(info.param));
}
std::string stall_test_name(const testing::TestParamInfo<ProxyStall::ParamType>& info) {
  return dialer_name(std::get<0>(info.param));
}
INSTANTIATE_TEST_SUITE_P(Pushed, ProxyCut,
                         testing::Combine(testing::Bool(),
                                          testing::Values(Cut::kReset, Cut::kFinish),
                                          testing::Values(By::kPush)),
                         cut_test_name);
INSTANTIATE_TEST_SUITE_P(Pulled, ProxyCut,
                         testing::Values(std::tuple(true, Cut::kReset, By::kPull),
                                         std::tuple(false, Cut::kFinish, By::kPull)),
                         cut_test_name);
INSTANTIATE_TEST_SUITE_P(Tcp, ProxyCutOther,
                         testing::Combine(testing::Bool(),
                                          testing::Values(Cut::kReset, Cut::kFinish)),
                         [](const auto& one) {
                           return dialer_name(std::get<0>(one.param)) +
                                  cut_name(std::get<1>(one.param));
                         });
INSTANTIATE_TEST_SUITE_P(Pushed, ProxyStall,
                         testing::Combine(testing::Bool(), testing::Values(By::kPush)),
                         stall_test_name);
INSTANTIATE_TEST_SUITE_P(Pulled, ProxyStall,
                         testing::Combine(testing::Bool(), testing::Values(By::kPull)),
                         stall_test_name);

}  // namespace
}  // namespace baton_test
