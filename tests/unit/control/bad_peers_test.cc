// Peers that have proven themselves and then misbehave: told why, dropped, and nobody else is hurt.
#include <gtest/gtest.h>

#include <future>

#include "src/base/random.h"
#include "tests/support/test_seed.h"
#include "tests/unit/control/endpoint.h"
#include "tests/unit/control/raw_client.h"
#include "tests/unit/wire/sample_messages.h"

namespace baton::control {
namespace {

using baton_test::Endpoint;
using baton_test::raw_hello;
using baton_test::RawClient;
using baton_test::secret_options;
using baton_test::test_options;
using baton_test::test_secret;

std::vector<uint8_t> frame_of(const wire::Message& message) {
  auto frame = wire::encode(message);
  EXPECT_TRUE(frame.is_ok()) << frame.status().to_string();
  return frame.is_ok() ? std::move(frame).value() : std::vector<uint8_t>();
}

class BadPeers : public ::testing::TestWithParam<bool> {
 protected:
  static ControlOptions options(const std::string& name) {
    ControlOptions options = GetParam() ? secret_options(name) : test_options(name);
    options.dead_after_ms = 3'600'000;
    options.limits.send_queue_bytes = size_t{1} << 20;
    return options;
  }

  void SetUp() override {
    good_id_ = good_.dial_and_wait(decode_.address());
    ASSERT_TRUE(good_id_);
    ASSERT_TRUE(decode_.wait_up());
  }

  void TearDown() override {
    // The peer that did nothing wrong has noticed nothing.
    ASSERT_TRUE(good_.plane().send(good_id_, wire::Notify{4711, {}}).is_ok());
    const wire::Message wanted = wire::Notify{4711, {}};
    EXPECT_TRUE(decode_.wait_for(
        [&] { return !decode_.messages.empty() && decode_.messages.back().second == wanted; }));
    EXPECT_FALSE(good_.is_down(good_id_));
  }

  std::pair<RawClient, PeerId> raw_peer(const std::string& name = "bad") {
    RawClient client(decode_.address());
    EXPECT_TRUE(!GetParam() || client.start_tls(test_secret(1), TlsRole::kDialer));
    EXPECT_TRUE(client.become_peer(raw_hello(name)));
    return {std::move(client), decode_.wait_up(++raw_peers_)};
  }

  // It is dropped for a protocol error that says this, and told so.
  void expect_protocol_error(RawClient& client, PeerId peer, const std::string& part) {
    const auto why = decode_.wait_down(peer);
    ASSERT_TRUE(why) << part;
    EXPECT_EQ(why->code(), StatusCode::kProtocolError) << why->to_string();
    EXPECT_NE(why->message().find(part), std::string::npos) << why->to_string();
    EXPECT_TRUE(decode_.wait_log(why->message()));
    const auto goodbye = client.read_next<wire::Goodbye>();
    ASSERT_TRUE(goodbye) << part;
    EXPECT_EQ(goodbye->code, StatusCode::kProtocolError) << part;
    EXPECT_EQ(goodbye->reason, why->message());
    EXPECT_TRUE(client.is_closed_by_peer()) << part;
  }

  Endpoint decode_{options("decode-0")};
  Endpoint good_{options("good")};
  PeerId good_id_;
  size_t raw_peers_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Auth, BadPeers, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "Psk" : "None"; });

TEST_P(BadPeers, MessagesThatAreOutOfPlace) {
  struct Case {
    std::vector<wire::Message> messages;
    const char* part;
  };
  const Case cases[] = {
      {{raw_hello("bad")}, "Hello after the hello"},
      {{baton_test::raw_welcome("bad", {})}, "Welcome after the hello"},
      {{baton_test::sample_describe()}, "Describe after the hello"},
      {{wire::Confirm{}}, "Confirm after the hello"},
      {{wire::Heartbeat{2, 0, 0, 0}, wire::Heartbeat{2, 0, 0, 0}}, "heartbeat 2 after 2"},
      {{wire::Heartbeat{2, 0, 0, 0}, wire::Heartbeat{1, 0, 0, 0}}, "heartbeat 1 after 2"},
      {{wire::Heartbeat{0, 1000, 0, 0}}, "echo of heartbeat 1000, which was never sent"},
  };
  for (const Case& one : cases) {
    auto [client, peer] = raw_peer();
    for (const wire::Message& message : one.messages) ASSERT_TRUE(client.send(message));
    expect_protocol_error(client, peer, one.part);
  }
}

TEST_P(BadPeers, FramesThatAreNone) {
  std::vector<uint8_t> damaged = frame_of(wire::Notify{1, {1, 2, 3}});
  damaged[4] = 0xff;
  const std::pair<std::vector<uint8_t>, const char*> cases[] = {
      {{0, 0, 0, 0}, "frame of 0 bytes; 1 to 67108864"},
      {{1, 0, 0, 4}, "frame of 67108865 bytes; 1 to 67108864"},
      {{0xff, 0xff, 0xff, 0xff}, "frame of 4294967295 bytes"},
      {{3, 0, 0, 0, 1, 2, 3}, "a message of 3 bytes is none"},
      {damaged, "is damaged (FlatBuffers verifier)"},
  };
  for (const auto& [bytes, part] : cases) {
    auto [client, peer] = raw_peer();
    ASSERT_TRUE(client.send(std::span<const uint8_t>(bytes)));
    expect_protocol_error(client, peer, part);
  }
}

TEST_P(BadPeers, WhatCameBeforeTheFaultIsHeardNothingAfterIt) {
  auto [client, peer] = raw_peer();
  std::vector<uint8_t> bytes;
  for (const wire::Message& message :
       {wire::Message(wire::Notify{1, {}}), wire::Message(wire::Notify{2, {}}),
        wire::Message(wire::Confirm{}), wire::Message(wire::Notify{3, {}})}) {
    const std::vector<uint8_t> frame = frame_of(message);
    bytes.insert(bytes.end(), frame.begin(), frame.end());
  }
  ASSERT_TRUE(client.send(std::span<const uint8_t>(bytes)));
  expect_protocol_error(client, peer, "Confirm after the hello");
  EXPECT_TRUE(decode_.wait_for([&] { return decode_.messages.size() == 2; }));
}

// Its socket stays open, and what it would still send could be kept without bound.
TEST_P(BadPeers, ACloseNotifyIsTheEnd) {
  if (!GetParam()) return;
  auto [client, peer] = raw_peer();
  ASSERT_TRUE(client.send(wire::Notify{1, {1, 2, 3}}));
  ASSERT_TRUE(client.end_tls());
  const auto why = decode_.wait_down(peer);
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kPeerLost) << why->to_string();
  EXPECT_NE(why->message().find("close_notify"), std::string::npos) << why->to_string();
  EXPECT_TRUE(client.is_closed_by_peer());
  const wire::Message wanted = wire::Notify{1, {1, 2, 3}};
  EXPECT_TRUE(decode_.wait_for(
      [&] { return decode_.messages.size() == 1 && decode_.messages[0].second == wanted; }));
}

TEST_P(BadPeers, AMessageThatIsCut) {
  const std::vector<uint8_t> frame = frame_of(wire::Notify{1, std::vector<uint8_t>(100)});
  for (const size_t length : {size_t{1}, size_t{4}, size_t{5}, frame.size() - 1}) {
    auto [client, peer] = raw_peer();
    ASSERT_TRUE(client.send(std::span(frame).first(length)));
    client.end_output();
    const auto why = decode_.wait_down(peer);
    ASSERT_TRUE(why);
    EXPECT_EQ(why->code(), StatusCode::kPeerLost) << why->to_string();
    EXPECT_TRUE(client.is_closed_by_peer());
  }
  EXPECT_TRUE(decode_.wait_for([&] { return decode_.messages.empty(); }));
}

TEST_P(BadPeers, DamagedMessagesOfEveryKind) {
  base::Random random(baton_test::test_seed());
  for (const wire::Message& message : baton_test::sample_messages()) {
    for (int round = 0; round < 8; ++round) {
      auto [client, peer] = raw_peer();
      std::vector<uint8_t> frame = frame_of(message);
      for (uint64_t i = random.between(1, 3); i > 0; --i) {
        const uint64_t bit = random.between(32, frame.size() * 8 - 1);
        frame[bit / 8] = static_cast<uint8_t>(frame[bit / 8] ^ (1u << (bit % 8)));
      }
      client.send(std::span<const uint8_t>(frame));
      client.end_output();
      EXPECT_TRUE(client.is_closed_by_peer()) << wire::message_name(message);
      const auto why = decode_.wait_down(peer);
      ASSERT_TRUE(why) << wire::message_name(message);
      EXPECT_FALSE(why->is_ok());
    }
  }
}

// A flood is heard piece by piece: others wait for a piece of it, not for its end.
TEST_P(BadPeers, OneThatFloodsDoesNotHoldUpTheOthers) {
  constexpr uint64_t kFlood = 2000;
  std::promise<void> entered;
  std::promise<void> go_on;
  decode_.on_each_message = [&, first = true]() mutable {
    if (!std::exchange(first, false)) return;
    entered.set_value();
    go_on.get_future().wait();
  };
  auto [client, peer] = raw_peer();
  std::vector<uint8_t> bytes;
  for (uint64_t tag = 0; tag < kFlood; ++tag) {
    const std::vector<uint8_t> frame = frame_of(wire::Notify{tag, {}});
    bytes.insert(bytes.end(), frame.begin(), frame.end());
  }
  ASSERT_TRUE(client.send(std::span<const uint8_t>(bytes)));
  entered.get_future().wait();
  ASSERT_TRUE(good_.plane().send(good_id_, wire::Notify{kFlood, {1}}).is_ok());
  good_.settle();  // it lies in the socket now
  go_on.set_value();
  ASSERT_TRUE(decode_.wait_messages(kFlood + 1));
  uint64_t next = 0;
  size_t good_at = 0;
  EXPECT_TRUE(decode_.wait_for([&] {
    for (size_t i = 0; i < decode_.messages.size(); ++i) {
      const wire::Message& message = decode_.messages[i].second;
      if (message == wire::Message(wire::Notify{kFlood, {1}})) {
        good_at = i;
      } else {
        EXPECT_EQ(message, wire::Message(wire::Notify{next, {}}));
        ++next;
      }
    }
    return true;
  }));
  EXPECT_EQ(next, kFlood);
  EXPECT_LT(good_at, kFlood / 2);
}

TEST_P(BadPeers, OneThatDoesNotReadIsBusyAndLosesNothing) {
  auto [client, peer] = raw_peer();
  uint64_t taken = 0;
  Status sent;
  while (sent.is_ok()) {
    sent = decode_.plane().send(
        peer, wire::Notify{taken, std::vector<uint8_t>(50'000, static_cast<uint8_t>(taken))});
    if (sent.is_ok()) ++taken;
    ASSERT_LT(taken, 10'000u) << "the queue has no end";
  }
  EXPECT_EQ(sent.code(), StatusCode::kBusy);
  EXPECT_NE(sent.message().find("does not read"), std::string::npos) << sent.message();
  for (uint64_t i = 0; i < taken; ++i) {
    const auto notify = client.read_next<wire::Notify>();
    ASSERT_TRUE(notify) << i;
    ASSERT_EQ(*notify, (wire::Notify{i, std::vector<uint8_t>(50'000, static_cast<uint8_t>(i))}));
  }
  EXPECT_TRUE(decode_.plane().send(peer, wire::Notify{7, {}}).is_ok());
  EXPECT_TRUE(client.read_next<wire::Notify>());
}

TEST_P(BadPeers, OneThatDoesNotReadMissesNoBroadcastItIsDropped) {
  auto [client, peer] = raw_peer();
  const wire::Notify big{1, std::vector<uint8_t>(50'000)};
  while (decode_.plane().send(peer, big).is_ok()) {
  }
  // A broadcast is taken until the limit is passed, by one message at most.
  for (size_t i = 0; i < 100 && !decode_.is_down(peer); ++i) {
    ASSERT_TRUE(decode_.plane().broadcast(big).is_ok());
    ASSERT_TRUE(good_.wait_messages(i + 1));
  }
  const auto why = decode_.wait_down(peer);
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kBusy) << why->to_string();
}

TEST_P(BadPeers, UnknownOnesAreNotFoundOrIgnored) {
  EXPECT_EQ(decode_.plane().send(PeerId(999), wire::Notify{}).code(), StatusCode::kNotFound);
  EXPECT_EQ(decode_.plane().expect_stream(PeerId(999), PathEpoch(1)).code(), StatusCode::kNotFound);
  decode_.plane().disconnect(PeerId(999), Status(StatusCode::kPeerLost, "nobody"));
  decode_.plane().open_stream(PeerId(999), PathEpoch(1), {});
}

}  // namespace
}  // namespace baton::control
