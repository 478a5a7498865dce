// Heartbeats, silence and death of a peer that is up. Time is moved by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <thread>

#include "tests/unit/control/endpoint.h"
#include "tests/unit/control/raw_client.h"

namespace baton::control {
namespace {

using baton_test::Endpoint;
using baton_test::raw_hello;
using baton_test::RawClient;
using baton_test::secret_options;
using baton_test::test_options;
using baton_test::test_secret;

constexpr int64_t kStartNs = 1'000'000'000;
constexpr int64_t kMs = 1'000'000;

// Keeps a control thread in its first on_message until it is told to go on.
class Freeze {
 public:
  explicit Freeze(Endpoint& endpoint) {
    endpoint.on_each_message = [this] {
      if (std::exchange(is_used_, true)) return;
      entered_.set_value();
      go_on_.get_future().wait();
    };
  }
  void wait() { entered_.get_future().wait(); }
  void end() { go_on_.set_value(); }

 private:
  bool is_used_ = false;
  std::promise<void> entered_;
  std::promise<void> go_on_;
};

class Life : public ::testing::TestWithParam<bool> {
 protected:
  static ControlOptions options(const std::string& name) {
    return GetParam() ? secret_options(name) : test_options(name);
  }

  // A peer that is played by hand, and its id at decode_.
  std::pair<RawClient, PeerId> raw_peer(const std::string& name = "raw") {
    RawClient client(decode_.address());
    EXPECT_TRUE(!GetParam() || client.start_tls(test_secret(1), TlsRole::kDialer));
    EXPECT_TRUE(client.become_peer(raw_hello(name)));
    return {std::move(client), decode_.wait_up(raw_peers_++)};
  }

  void expect_lost(PeerId peer, const std::string& part) {
    const auto why = decode_.wait_down(peer);
    ASSERT_TRUE(why);
    EXPECT_EQ(why->code(), StatusCode::kPeerLost) << why->to_string();
    EXPECT_NE(why->message().find(part), std::string::npos) << why->to_string();
  }

  base::ManualClock clock_{kStartNs};
  Endpoint decode_{options("decode-0"), &clock_};
  size_t raw_peers_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Auth, Life, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "Psk" : "None"; });

TEST_P(Life, TheFirstHeartbeatComesAtOnceAndOneEachInterval) {
  auto [client, peer] = raw_peer();
  for (uint64_t seq = 1; seq < 5; ++seq) {
    const auto beat = client.read_next<wire::Heartbeat>();
    ASSERT_TRUE(beat);
    EXPECT_EQ(*beat, (wire::Heartbeat{seq, 0, 0, 0}));
    decode_.advance_ms(999);
    EXPECT_TRUE(client.is_quiet());
    decode_.advance_ms(1);
  }
}

TEST_P(Life, HeartbeatsAndProbesAreAnsweredAtOnce) {
  auto [client, peer] = raw_peer();
  ASSERT_TRUE(client.read_next<wire::Heartbeat>());
  ASSERT_TRUE(client.send(wire::Heartbeat{7, 0, 0, 0}));
  auto answer = client.read_next<wire::Heartbeat>();
  ASSERT_TRUE(answer);
  EXPECT_EQ(*answer, (wire::Heartbeat{0, 7, 0, 0}));
  ASSERT_TRUE(client.send(wire::Heartbeat{0, 0, 0xfedcba9876543210u, 0}));
  answer = client.read_next<wire::Heartbeat>();
  ASSERT_TRUE(answer);
  EXPECT_EQ(*answer, (wire::Heartbeat{0, 7, 0, 0xfedcba9876543210u}));
  // An echo alone is not answered, or two planes would never rest.
  ASSERT_TRUE(client.send(wire::Heartbeat{0, 1, 0, 0}));
  decode_.settle();
  EXPECT_TRUE(client.is_quiet());
}

TEST_P(Life, AnEchoTellsWhenItsHeartbeatWasSent) {
  auto [client, peer] = raw_peer();
  for (int i = 0; i < 3; ++i) decode_.advance_ms(1000);  // heartbeats 1 to 4, 1 s apart
  ASSERT_TRUE(client.send(wire::Heartbeat{0, 2, 0, 0}));
  ASSERT_TRUE(client.send(wire::Heartbeat{0, 1, 0, 0}));  // late: says nothing new
  ASSERT_TRUE(client.send(wire::Heartbeat{0, 4, 0, 0}));
  ASSERT_TRUE(client.send(wire::Heartbeat{0, 4, 0, 0}));
  ASSERT_TRUE(client.send(wire::Notify{}));
  ASSERT_TRUE(decode_.wait_messages(1));
  decode_.stop();
  EXPECT_EQ(decode_.echoes, (std::vector<int64_t>{kStartNs + 1000 * kMs, kStartNs + 3000 * kMs}));
}

TEST_P(Life, SilenceIsDeathAfterFiveSeconds) {
  auto [client, peer] = raw_peer();
  decode_.advance_ms(4999);
  EXPECT_FALSE(decode_.is_down(peer));
  decode_.advance_ms(1);
  expect_lost(peer, "\"raw\" at 127.0.0.1:");
  expect_lost(peer, "was silent for 5000 ms");
  EXPECT_TRUE(client.is_closed_by_peer());
  decode_.stop();
  EXPECT_EQ(decode_.silences, std::vector<int64_t>{5000 * kMs});
}

TEST_P(Life, AnyBytesAreASignOfLife) {
  auto [client, peer] = raw_peer();
  const uint8_t byte = 9;  // of the length of a frame that never comes
  for (int i = 0; i < 3; ++i) {
    decode_.advance_ms(4999);
    EXPECT_FALSE(decode_.is_down(peer));
    ASSERT_TRUE(client.send(std::span(&byte, 1)));
    decode_.settle();
  }
  decode_.advance_ms(5000);
  expect_lost(peer, "silent");
}

TEST_P(Life, AClosedOrBrokenConnectionIsDeathAtOnce) {
  {
    auto [client, peer] = raw_peer();
    client.end_output();
    expect_lost(peer, "was closed by the other end");
  }
  auto [client, peer] = raw_peer();
  client.reset();
  expect_lost(peer, "broke");
}

// It was this side that did not run; what the peer sent meanwhile lies in the socket.
TEST_P(Life, AThreadThatStoodStillBlamesNobody) {
  Freeze freeze(decode_);
  auto [client, peer] = raw_peer();
  ASSERT_TRUE(client.send(wire::Notify{}));
  freeze.wait();
  ASSERT_TRUE(client.send(wire::Heartbeat{1, 0, 0, 0}));
  clock_.advance_ns(60'000 * kMs);
  freeze.end();
  decode_.settle();
  EXPECT_FALSE(decode_.is_down(peer));
  decode_.advance_ms(4999);
  EXPECT_FALSE(decode_.is_down(peer));
  decode_.advance_ms(1);
  expect_lost(peer, "silent");
}

TEST_P(Life, TwoPlanesKeepEachOtherAlive) {
  Endpoint prefill(options("prefill-0"), &clock_);
  const PeerId to_decode = prefill.dial_and_wait(decode_.address());
  const PeerId to_prefill = decode_.wait_up();
  ASSERT_TRUE(to_decode && to_prefill);
  for (int i = 0; i < 60; ++i) {
    decode_.advance_ms(500);
    prefill.settle();
    decode_.settle();
  }
  EXPECT_FALSE(decode_.is_down(to_prefill));
  EXPECT_FALSE(prefill.is_down(to_decode));
  decode_.stop();
  EXPECT_GE(decode_.echoes.size(), 25u);
  EXPECT_TRUE(std::is_sorted(decode_.echoes.begin(), decode_.echoes.end()));
}

TEST_P(Life, OfAFrozenPeerBothSidesLearn) {
  Endpoint prefill(options("prefill-0"), &clock_);
  Freeze freeze(prefill);
  const PeerId to_decode = prefill.dial_and_wait(decode_.address());
  const PeerId to_prefill = decode_.wait_up();
  ASSERT_TRUE(decode_.plane().send(to_prefill, wire::Notify{}).is_ok());
  freeze.wait();
  decode_.settle();
  decode_.advance_ms(5000);
  expect_lost(to_prefill, "silent");
  EXPECT_FALSE(prefill.is_down(to_decode));
  freeze.end();
  const auto why = prefill.wait_down(to_decode);
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kPeerLost) << why->to_string();
}

TEST_P(Life, AGoodbyeSaysWhy) {
  struct Case {
    wire::Goodbye goodbye;
    StatusCode wanted;
  };
  const Case cases[] = {{{StatusCode::kOk, "it shut down"}, StatusCode::kPeerLost},
                        {{StatusCode::kMismatch, "a layout changed"}, StatusCode::kMismatch}};
  for (const Case& one : cases) {
    auto [client, peer] = raw_peer();
    ASSERT_TRUE(client.send(one.goodbye));
    const auto why = decode_.wait_down(peer);
    ASSERT_TRUE(why);
    EXPECT_EQ(why->code(), one.wanted);
    EXPECT_NE(why->message().find(one.goodbye.reason), std::string::npos) << why->message();
    EXPECT_TRUE(client.is_closed_by_peer());
  }
  decode_.stop();
  EXPECT_TRUE(decode_.silences.empty()) << "whoever takes leave has not died unnoticed";
}

TEST_P(Life, StopSaysGoodbyeAndCallsNobody) {
  auto [client, peer] = raw_peer();
  decode_.plane().stop();
  const auto goodbye = client.read_next<wire::Goodbye>();
  ASSERT_TRUE(goodbye);
  EXPECT_EQ(*goodbye, (wire::Goodbye{StatusCode::kOk, "it shut down"}));
  EXPECT_TRUE(client.is_closed_by_peer());
  EXPECT_EQ(decode_.plane().dial("baton://127.0.0.1:1/x").code(), StatusCode::kFailedPrecondition);
  // Neither is taken any more, though the peer was up until the end.
  EXPECT_EQ(decode_.plane().send(peer, wire::Notify{}).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(decode_.plane().expect_stream(peer, PathEpoch(1)).code(),
            StatusCode::kFailedPrecondition);
  decode_.plane().stop();
  EXPECT_TRUE(decode_.downs.empty());
}

// What was sent before stop() leaves, also when the control thread was about to look at nothing but
// whether it should stop.
TEST_P(Life, StopSendsWhatWasTakenBeforeIt) {
  auto [client, peer] = raw_peer();
  std::promise<void> entered;
  std::promise<void> go_on;
  decode_.alarm = [&](int64_t) {  // a turn's commands are done by then
    entered.set_value();
    go_on.get_future().wait();
    return INT64_MAX;
  };
  decode_.plane().set_alarm(0);
  entered.get_future().wait();
  for (uint64_t tag = 0; tag < 3; ++tag) {
    ASSERT_TRUE(decode_.plane().send(peer, wire::Notify{tag, {1, 2, 3}}).is_ok());
  }
  auto stopped = std::async(std::launch::async, [this] { decode_.plane().stop(); });
  while (decode_.plane().dial("baton://127.0.0.1:1/x").code() != StatusCode::kFailedPrecondition) {
    std::this_thread::yield();
  }
  go_on.set_value();
  stopped.wait();
  for (uint64_t tag = 0; tag < 3; ++tag) {
    const auto notify = client.read_next<wire::Notify>();
    ASSERT_TRUE(notify) << tag;
    EXPECT_EQ(*notify, (wire::Notify{tag, {1, 2, 3}}));
  }
  EXPECT_TRUE(client.read_next<wire::Goodbye>());
  EXPECT_TRUE(client.is_closed_by_peer());
}

// A peer that does not read does not keep stop() for longer than it is given.
TEST_P(Life, StopEndsThoughAPeerDoesNotRead) {
  auto [client, peer] = raw_peer();
  Status sent;
  while (sent.is_ok()) {
    sent = decode_.plane().send(peer, wire::Notify{0, std::vector<uint8_t>(wire::kMaxNotifyBytes)});
  }
  EXPECT_EQ(sent.code(), StatusCode::kBusy);
  decode_.stop();
}

TEST(Alarm, NeverEarlyAndTheEarliestOfThose) {
  Endpoint endpoint(test_options("decode-0"));
  const int64_t set_ns = base::monotonic_now_ns() + 2 * kMs;
  endpoint.plane().set_alarm(set_ns + 3'600'000 * kMs);
  endpoint.plane().set_alarm(set_ns);
  endpoint.plane().set_alarm(set_ns + 1'800'000 * kMs);
  ASSERT_TRUE(endpoint.wait_for([&] { return !endpoint.alarms.empty(); }));
  endpoint.stop();
  ASSERT_EQ(endpoint.alarms.size(), 1u);
  EXPECT_GE(endpoint.alarms[0], set_ns);
}

TEST(Alarm, WhatItReturnsIsTheNextOne) {
  Endpoint endpoint(test_options("decode-0"));
  endpoint.alarm = [&](int64_t now_ns) {
    return endpoint.alarms.size() < 4 ? now_ns + kMs : INT64_MAX;
  };
  endpoint.plane().set_alarm(0);
  ASSERT_TRUE(endpoint.wait_for([&] { return endpoint.alarms.size() == 4; }));
  endpoint.stop();
  ASSERT_EQ(endpoint.alarms.size(), 4u);
  for (size_t i = 1; i < 4; ++i) EXPECT_GE(endpoint.alarms[i], endpoint.alarms[i - 1] + kMs);
}

}  // namespace
}  // namespace baton::control
