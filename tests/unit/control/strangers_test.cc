// Whoever reaches the port and is no peer: silent, slow, greedy, mistaken or hostile. The
// connection ends; the plane and its peers go on.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <deque>
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

class Strangers : public ::testing::TestWithParam<bool> {
 protected:
  static ControlOptions options(const std::string& name) {
    ControlOptions options = GetParam() ? secret_options(name) : test_options(name);
    options.dead_after_ms = 3'600'000;  // peers that share the clock do not fall silent
    return options;
  }

  // A connection that may send frames: after the preface, or with TLS.
  RawClient opened() {
    RawClient client(decode_.address());
    if (GetParam()) {
      EXPECT_TRUE(client.start_tls(test_secret(1), TlsRole::kDialer));
    } else {
      EXPECT_TRUE(client.send(std::span<const uint8_t>(kControlPreface)));
    }
    return client;
  }

  // A new peer is served, and an old one has lost nothing.
  void expect_in_service() {
    Endpoint peer(options("peer-" + std::to_string(++peers_)), &clock_);
    const PeerId id = peer.dial_and_wait(decode_.address());
    ASSERT_TRUE(id);
    ASSERT_TRUE(peer.plane().send(id, wire::Notify{peers_, {1}}).is_ok());
    ASSERT_TRUE(decode_.wait_messages(peers_));
  }

  base::ManualClock clock_{1'000'000'000};
  Endpoint decode_{options("decode-0"), &clock_};
  size_t peers_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Auth, Strangers, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "Psk" : "None"; });

TEST_P(Strangers, WhoSaysNothingHasTwoSeconds) {
  RawClient silent(decode_.address());
  decode_.settle();
  decode_.advance_ms(1999);
  EXPECT_TRUE(silent.is_open());
  decode_.advance_ms(1);
  EXPECT_TRUE(silent.is_closed_by_peer());
  EXPECT_TRUE(decode_.wait_log("did not finish the hello within 2000 ms"));
  expect_in_service();
}

TEST_P(Strangers, WhoTricklesHasNoMore) {
  RawClient slow(decode_.address());
  std::vector<uint8_t> bytes = {kTlsFirstByte, 3, 1, 2, 0};
  if (!GetParam()) bytes.assign(kControlPreface.begin(), kControlPreface.end());
  decode_.settle();
  for (size_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(slow.send_raw(std::span(bytes).subspan(i, 1)));
    EXPECT_TRUE(slow.is_open());
    decode_.advance_ms(500);
  }
  EXPECT_TRUE(slow.is_closed_by_peer());
}

TEST_P(Strangers, WhoIsHalfWayThroughTheHelloHasNoMore) {
  RawClient half = opened();
  const std::vector<uint8_t> hello = frame_of(raw_hello("half"));
  ASSERT_TRUE(half.send(std::span(hello).first(hello.size() - 1)));
  decode_.settle();
  decode_.advance_ms(2000);
  EXPECT_TRUE(half.is_closed_by_peer());
}

TEST_P(Strangers, OfSixtyFiveTheOldestGoes) {
  Endpoint peer(options("peer-0"), &clock_);
  const PeerId id = peer.dial_and_wait(decode_.address());
  ASSERT_TRUE(id);
  std::deque<RawClient> waiting;
  const auto add = [&] {
    waiting.emplace_back(decode_.address());
    decode_.settle();
  };
  for (uint32_t i = 0; i < ControlLimits().max_half_open; ++i) add();
  for (const RawClient& one : waiting) EXPECT_TRUE(one.is_open());
  for (int i = 0; i < 3; ++i) {
    add();
    EXPECT_TRUE(waiting.front().is_closed_by_peer());
    waiting.pop_front();
    for (const RawClient& one : waiting) EXPECT_TRUE(one.is_open());
  }
  // A crowd does not keep a peer out, nor throw one out.
  expect_in_service();
  EXPECT_FALSE(peer.is_down(id));
}

TEST_P(Strangers, FourKibibytesAreAllThatIsTaken) {
  RawClient greedy(decode_.address());
  std::vector<uint8_t> bytes(wire::kMaxHelloBytes);
  if (GetParam()) {
    // A record of 16383 bytes, a client_hello of 16379.
    const uint8_t head[] = {kTlsFirstByte, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb, 3, 3};
    std::copy(std::begin(head), std::end(head), bytes.begin());
  } else {
    ASSERT_TRUE(greedy.send_raw(kControlPreface));
    bytes[1] = wire::kMaxHelloBytes >> 8;  // a frame of 4096 bytes
  }
  ASSERT_TRUE(greedy.send_raw(bytes));
  decode_.settle();
  EXPECT_TRUE(greedy.is_open());
  ASSERT_TRUE(greedy.send_raw(std::span(bytes).first(1)));
  EXPECT_TRUE(greedy.is_closed_by_peer());
  EXPECT_TRUE(decode_.wait_log("more than 4096 bytes before it has proven itself"));
  expect_in_service();
}

TEST_P(Strangers, ALongerFrameIsRefusedByItsLength) {
  for (const uint32_t length : {0u, 4097u, 0xffffffffu}) {
    RawClient client = opened();
    std::array<uint8_t, 4> prefix{};
    for (unsigned i = 0; i < 4; ++i) prefix[i] = static_cast<uint8_t>(length >> (8 * i));
    ASSERT_TRUE(client.send(prefix));
    EXPECT_TRUE(client.is_closed_by_peer());
    EXPECT_TRUE(decode_.wait_log("frame of " + std::to_string(length) + " bytes; 1 to 4096"));
  }
  expect_in_service();
}

TEST_P(Strangers, WhoSpeaksAnotherProtocol) {
  const std::string others[] = {"GET / HTTP/1.1\r\nHost: decode-0\r\n\r\n",
                                "SSH-2.0-OpenSSH_9.2\r\n",
                                std::string(8, '\0'),
                                "CBATOM\r\n",
                                "CBATON\n\n",
                                "SBATON\r\n" + std::string(96, 'x')};
  for (const std::string& text : others) {
    RawClient client(decode_.address());
    ASSERT_TRUE(client.send(text));
    client.end_output();
    EXPECT_TRUE(client.is_closed_by_peer()) << text;
  }
  EXPECT_TRUE(decode_.wait_log("does not speak Baton's protocol"));
  EXPECT_TRUE(decode_.wait_log("a data socket that proves nothing"));
  expect_in_service();
}

TEST_P(Strangers, AnyOtherMessageInPlaceOfHello) {
  for (const wire::Message& message : baton_test::sample_messages()) {
    if (std::holds_alternative<wire::Hello>(message)) continue;
    RawClient client = opened();
    ASSERT_TRUE(client.send(message));
    EXPECT_TRUE(client.is_closed_by_peer());
    EXPECT_TRUE(decode_.wait_log(std::string(wire::message_name(message)) + " where Hello is due"));
  }
  expect_in_service();
  decode_.stop();
  EXPECT_EQ(decode_.ups.size(), 1u);
}

TEST_P(Strangers, AHelloThatIsCutAnywhere) {
  const size_t fds = baton_test::count_open_fds();
  const std::vector<uint8_t> hello = frame_of(raw_hello("cut"));
  for (size_t length = 0; length < hello.size(); length += GetParam() ? 7u : 1u) {
    RawClient client = opened();
    ASSERT_TRUE(client.send(std::span(hello).first(length)));
    client.end_output();
    EXPECT_TRUE(client.is_closed_by_peer()) << length;
  }
  expect_in_service();
  decode_.settle();
  EXPECT_EQ(baton_test::count_open_fds(), fds);
}

TEST_P(Strangers, AHelloWithABitFlipped) {
  const size_t fds = baton_test::count_open_fds();
  std::vector<uint8_t> hello = frame_of(raw_hello("flip"));
  for (size_t bit = 0; bit < hello.size() * 8; bit += GetParam() ? 13u : 1u) {
    const auto mask = static_cast<uint8_t>(1u << (bit % 8));
    hello[bit / 8] = static_cast<uint8_t>(hello[bit / 8] ^ mask);
    RawClient client = opened();
    client.send(std::span<const uint8_t>(hello));
    client.end_output();
    EXPECT_TRUE(client.is_closed_by_peer()) << bit;
    hello[bit / 8] = static_cast<uint8_t>(hello[bit / 8] ^ mask);
  }
  expect_in_service();
  decode_.settle();
  EXPECT_EQ(baton_test::count_open_fds(), fds);
}

TEST_P(Strangers, Noise) {
  base::Random random(baton_test::test_seed());
  for (int round = 0; round < 300; ++round) {
    std::vector<uint8_t> bytes(random.between(1, 3000));
    random.fill(bytes);
    switch (random.below(4)) {
      case 0:
        std::copy(kControlPreface.begin(), kControlPreface.end(),
                  bytes.insert(bytes.begin(), kControlPreface.size(), 0));
        break;
      case 1:
        std::copy(kStreamPreface.begin(), kStreamPreface.end(),
                  bytes.insert(bytes.begin(), kStreamPreface.size(), 0));
        break;
      case 2:
        bytes[0] = kTlsFirstByte;
        break;
      default:
        break;
    }
    RawClient client(decode_.address());
    client.send_raw(bytes);  // may be refused before all of it has left
    client.end_output();
    EXPECT_TRUE(client.is_closed_by_peer()) << round;
  }
  expect_in_service();
}

TEST_P(Strangers, AfterTheHelloTwoSecondsForTheDescription) {
  RawClient client = opened();
  ASSERT_TRUE(client.send(wire::Message(raw_hello("late"))));
  ASSERT_TRUE(client.read_next<wire::Describe>());
  decode_.advance_ms(1999);
  EXPECT_TRUE(client.is_open());
  decode_.advance_ms(1);
  const auto goodbye = client.read_next<wire::Goodbye>();
  ASSERT_TRUE(goodbye);
  EXPECT_EQ(goodbye->code, StatusCode::kDeadlineExceeded) << goodbye->reason;
  EXPECT_TRUE(client.is_closed_by_peer());
  EXPECT_TRUE(decode_.wait_log("gave up the connection of \"late\""));
  decode_.stop();
  EXPECT_TRUE(decode_.ups.empty());
}

TEST_P(Strangers, AfterTheHelloADescriptionThatIsDamaged) {
  const std::vector<uint8_t> good = frame_of(baton_test::sample_describe());
  for (size_t at = wire::kFramePrefixBytes; at < wire::kFramePrefixBytes + 4; ++at) {
    RawClient client = opened();
    ASSERT_TRUE(client.send(wire::Message(raw_hello("damaged"))));
    ASSERT_TRUE(client.read_next<wire::Describe>());
    std::vector<uint8_t> bad = good;
    bad[at] = 0xff;  // of the offset of the root table
    ASSERT_TRUE(client.send(std::span<const uint8_t>(bad)));
    const auto goodbye = client.read_next<wire::Goodbye>();
    ASSERT_TRUE(goodbye) << at;
    EXPECT_EQ(goodbye->code, StatusCode::kProtocolError) << goodbye->reason;
    EXPECT_TRUE(client.is_closed_by_peer());
  }
  EXPECT_TRUE(decode_.wait_log("FlatBuffers verifier"));
  expect_in_service();
}

// The listener would stay readable and the thread busy; it rests for 100 ms instead.
TEST_P(Strangers, WhenDescriptorsRunOutTheListenerRests) {
  Endpoint peer(options("peer-0"), &clock_);
  std::promise<void> entered;
  std::promise<void> leave;
  decode_.on_each_message = [&, first = true]() mutable {
    if (!std::exchange(first, false)) return;
    entered.set_value();
    leave.get_future().wait();
  };
  const PeerId id = peer.dial_and_wait(decode_.address());
  ASSERT_TRUE(peer.plane().send(id, wire::Notify{1, {}}).is_ok());
  ++peers_;
  entered.get_future().wait();
  RawClient stranger(decode_.address());
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{static_cast<rlim_t>(stranger.fd()) + 1, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  leave.set_value();
  EXPECT_TRUE(decode_.wait_log("cannot accept connections: Too many open files"));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(stranger.is_open());
  decode_.settle();  // the rest is over 100 ms after the turn that said so
  decode_.advance_ms(100);
  expect_in_service();
  EXPECT_FALSE(peer.is_down(id));
}

// ---- secrets on one side only, seen from outside

TEST(WithASecret, APlainDialerIsToldWhyAndNothingElse) {
  Endpoint decode(secret_options("decode-0"));
  RawClient client(decode.address());
  ASSERT_TRUE(client.send_hello(raw_hello("prefill-0")));
  const auto welcome = client.read_next<wire::Welcome>();
  ASSERT_TRUE(welcome);
  EXPECT_EQ(welcome->code, StatusCode::kPermissionDenied);
  EXPECT_NE(welcome->text.find("same secret file"), std::string::npos) << welcome->text;
  EXPECT_EQ(welcome->session, 0u);
  EXPECT_EQ(welcome->stream_key, wire::StreamTicket{});
  EXPECT_TRUE(client.is_closed_by_peer());
}

TEST(WithoutASecret, ATlsDialerReadsAnAlert) {
  Endpoint decode(test_options("decode-0"));
  RawClient client(decode.address());
  EXPECT_FALSE(client.start_tls(test_secret(1), TlsRole::kDialer));
  EXPECT_TRUE(client.is_closed_by_peer());
  EXPECT_TRUE(decode.wait_log("it used a secret, and \"decode-0\" has none"));
}

TEST(WithASecret, AFullHouseIsToldToTheProven) {
  ControlOptions options = secret_options("decode-0");
  options.limits.max_peers = 1;
  Endpoint decode(options);
  Endpoint first(secret_options("first"));
  Endpoint second(secret_options("second"));
  ASSERT_TRUE(first.dial_and_wait(decode.address()));
  const auto why = second.wait_dial_failed(second.dial(decode.address()));
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kExhausted) << why->to_string();
  EXPECT_NE(why->message().find("has 1 peers already"), std::string::npos) << why->message();
}

}  // namespace
}  // namespace baton::control
