// The rules of the hello, and what a dialer does with an acceptor that does not keep them.
#include "src/control/hello.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/unit/control/endpoint.h"
#include "tests/unit/control/raw_client.h"
#include "tests/unit/wire/sample_messages.h"

namespace baton::control {
namespace {

using baton_test::Endpoint;
using baton_test::raw_hello;
using baton_test::raw_welcome;
using baton_test::RawClient;
using baton_test::RawServer;
using baton_test::secret_options;
using baton_test::test_options;

constexpr BootId kOurBoot = {9};

void expect_status(const Status& status, StatusCode code, const std::string& part) {
  EXPECT_EQ(status.code(), code) << status.to_string();
  EXPECT_NE(status.message().find(part), std::string::npos) << status.to_string();
}

ControlOptions versions(uint16_t first, uint16_t last) {
  ControlOptions options = test_options("decode-0");
  options.protocol_min = first;
  options.protocol_max = last;
  return options;
}

wire::Hello hello_of(uint16_t first, uint16_t last) {
  wire::Hello hello = raw_hello("prefill-0");
  hello.protocol_min = first;
  hello.protocol_max = last;
  return hello;
}

TEST(CheckHello, TheHighestCommonVersion) {
  struct Case {
    uint16_t ours[2];
    uint16_t theirs[2];
    uint16_t agreed;  // 0: none
  };
  const Case cases[] = {
      {{1, 1}, {1, 1}, 1},         {{1, 3}, {2, 5}, 3},
      {{2, 5}, {1, 3}, 3},         {{1, 9}, {4, 4}, 4},
      {{1, 2}, {3, 4}, 0},         {{3, 4}, {1, 2}, 0},
      {{65535, 65535}, {1, 1}, 0}, {{1, 65535}, {7, 65535}, 65535},
  };
  for (const Case& one : cases) {
    const auto agreed = check_hello(versions(one.ours[0], one.ours[1]), kOurBoot,
                                    hello_of(one.theirs[0], one.theirs[1]), false);
    EXPECT_EQ(agreed.is_ok() ? agreed->version : 0, one.agreed);
  }
}

TEST(CheckHello, NoCommonVersionNamesBothRangesAndBothEnds) {
  const auto agreed = check_hello(versions(1, 2), kOurBoot, hello_of(3, 4), false);
  expect_status(agreed.status(), StatusCode::kMismatch, "\"prefill-0\" speaks 3 to 4");
  expect_status(agreed.status(), StatusCode::kMismatch, "\"decode-0\" speaks 1 to 2");
}

TEST(CheckHello, FeaturesOfBothAndWhatEitherRequires) {
  ControlOptions options = versions(1, 1);
  options.features = 0b0110;
  wire::Hello hello = hello_of(1, 1);
  hello.features = 0b1100;
  const auto agreed = check_hello(options, kOurBoot, hello, false);
  ASSERT_TRUE(agreed.is_ok());
  EXPECT_EQ(agreed->features, 0b0100u);
  hello.required_features = 0b1000;
  expect_status(check_hello(options, kOurBoot, hello, false).status(), StatusCode::kMismatch,
                "\"prefill-0\" requires features 0x8 that \"decode-0\" lacks");
  hello.required_features = 0;
  options.required_features = 0b0010;
  expect_status(check_hello(options, kOurBoot, hello, false).status(), StatusCode::kMismatch,
                "\"decode-0\" requires features 0x2 that \"prefill-0\" lacks");
}

TEST(CheckHello, WithASecretOnlyTheAuthenticated) {
  const ControlOptions options = secret_options("decode-0");
  expect_status(check_hello(options, kOurBoot, raw_hello("prefill-0"), false).status(),
                StatusCode::kPermissionDenied, "same secret file");
  EXPECT_TRUE(check_hello(options, kOurBoot, raw_hello("prefill-0"), true).is_ok());
  // Nothing else is told to one who has proven nothing.
  expect_status(check_hello(options, kOurBoot, hello_of(8, 9), false).status(),
                StatusCode::kPermissionDenied, "same secret file");
}

TEST(CheckHello, NamesAndItself) {
  const ControlOptions options = test_options("decode-0");
  expect_status(check_hello(options, kOurBoot, raw_hello("decode-0"), false).status(),
                StatusCode::kAddressInUse, "both ends are named \"decode-0\"");
  wire::Hello self = raw_hello("decode-0");
  self.boot_id = kOurBoot;
  expect_status(check_hello(options, kOurBoot, self, false).status(), StatusCode::kInvalidArgument,
                "dialled itself");
  for (const std::string& name : {std::string(), std::string("a/b"), std::string(129, 'n')}) {
    expect_status(check_hello(options, kOurBoot, raw_hello(name), false).status(),
                  StatusCode::kProtocolError, "1 to 128");
  }
}

// ---- a dialer before an acceptor that is played by hand

class Dialer : public ::testing::Test {
 protected:
  static ControlOptions options() {
    ControlOptions options = test_options("prefill-0");
    options.features = 0b11;
    options.required_features = 0b01;
    return options;
  }

  // Answers the dialer's hello with this, and says how the dial ended.
  Status answered_with(const std::function<wire::Message(const wire::Hello&)>& answer) {
    const PeerId dialed = dialer_.dial(server_.address("decode-0"));
    auto [client, hello] = server_.accept_hello();
    EXPECT_TRUE(client.send(answer(hello)));
    EXPECT_TRUE(client.is_closed_by_peer());
    return dialer_.wait_dial_failed(dialed).value_or(Status::ok());
  }

  static wire::Welcome good(const wire::Hello& hello) {
    wire::Welcome welcome = raw_welcome("decode-0", hello);
    welcome.features = 0b01;
    return welcome;
  }

  RawServer server_;
  base::ManualClock clock_{1'000'000'000};
  Endpoint dialer_{options(), &clock_};
};

TEST_F(Dialer, SaysWhoItIs) {
  dialer_.dial(server_.address("decode-0"));
  auto [client, hello] = server_.accept_hello();
  EXPECT_EQ(hello.name, "prefill-0");
  EXPECT_EQ(hello.protocol_min, kProtocolVersion);
  EXPECT_EQ(hello.protocol_max, kProtocolVersion);
  EXPECT_EQ(hello.features, 0b11u);
  EXPECT_EQ(hello.required_features, 0b01u);
  EXPECT_EQ(hello.boot_id, dialer_.plane().boot_id());
  EXPECT_EQ(hello.address, dialer_.address());
  EXPECT_EQ(hello.incarnation, 1u);
  EXPECT_EQ(hello.known_session, 0u);
  EXPECT_NE(hello.nonce, wire::HelloNonce{});
}

TEST_F(Dialer, AnAnswerToAnotherHelloIsAProtocolError) {
  expect_status(answered_with([](const wire::Hello& hello) {
                  wire::Welcome welcome = good(hello);
                  welcome.nonce[15] = static_cast<uint8_t>(welcome.nonce[15] ^ 1);
                  return welcome;
                }),
                StatusCode::kProtocolError, "another hello than ours");
}

TEST_F(Dialer, AnotherNameVersionOrFeatureIsAMismatch) {
  using Damage = std::function<void(wire::Welcome&)>;
  const std::pair<Damage, const char*> cases[] = {
      {[](auto& w) { w.name = "decode-1"; }, "\"decode-1\" answered there"},
      {[](auto& w) { w.name = "a b"; }, "another answered there"},
      {[](auto& w) { w.version = 3; }, "chose protocol version 3, \"prefill-0\" speaks 2 to 2"},
      {[](auto& w) { w.features = 0b10; }, "agreed to features 0x2"},
      {[](auto& w) { w.features = 0b101; }, "agreed to features 0x5"},
  };
  for (const auto& [damage, part] : cases) {
    expect_status(answered_with([&damage = damage](const wire::Hello& hello) {
                    wire::Welcome welcome = good(hello);
                    damage(welcome);
                    return welcome;
                  }),
                  StatusCode::kMismatch, part);
  }
}

TEST_F(Dialer, ARefusalComesBackAsItsCodeAndText) {
  expect_status(answered_with([](const wire::Hello& hello) {
                  wire::Welcome welcome = good(hello);
                  welcome.code = StatusCode::kExhausted;
                  welcome.text = "1024 peers already";
                  welcome.session = 0;
                  return welcome;
                }),
                StatusCode::kExhausted, "\"decode-0\" refused \"prefill-0\": 1024 peers already");
}

TEST_F(Dialer, AnyOtherMessageInPlaceOfWelcomeIsAProtocolError) {
  for (const wire::Message& message : baton_test::sample_messages()) {
    if (std::holds_alternative<wire::Welcome>(message)) continue;
    expect_status(answered_with([&](const wire::Hello&) { return message; }),
                  StatusCode::kProtocolError, "where Welcome is due");
  }
}

TEST_F(Dialer, SilenceEndsAtTheDialTimeout) {
  const PeerId dialed = dialer_.dial(server_.address("decode-0"));
  auto [client, hello] = server_.accept_hello();
  dialer_.advance_ms(4999);
  EXPECT_FALSE(dialer_.has_failed(dialed));
  dialer_.advance_ms(1);
  const auto why = dialer_.wait_dial_failed(dialed);
  ASSERT_TRUE(why);
  expect_status(*why, StatusCode::kDeadlineExceeded, "within 5000 ms");
}

TEST_F(Dialer, AWelcomeDoesNotProlongTheDial) {
  const PeerId dialed = dialer_.dial(server_.address("decode-0"));
  auto [client, hello] = server_.accept_hello();
  dialer_.advance_ms(4000);
  ASSERT_TRUE(client.send(good(hello)));
  ASSERT_TRUE(client.send(baton_test::sample_describe()));
  ASSERT_TRUE(client.read_next<wire::Describe>());
  dialer_.advance_ms(1000);
  const auto why = dialer_.wait_dial_failed(dialed);
  ASSERT_TRUE(why);
  expect_status(*why, StatusCode::kDeadlineExceeded, "did not finish the hello");
}

TEST_F(Dialer, AClosedConnectionEndsItAtOnce) {
  for (const bool by_reset : {false, true}) {
    const PeerId dialed = dialer_.dial(server_.address("decode-0"));
    auto [client, hello] = server_.accept_hello();
    if (by_reset) {
      client.reset();
    } else {
      client.end_output();
    }
    const auto why = dialer_.wait_dial_failed(dialed);
    ASSERT_TRUE(why);
    expect_status(*why, StatusCode::kPeerLost, "127.0.0.1:");
  }
}

TEST_F(Dialer, AGoodbyeInPlaceOfDescribeOrConfirmSaysWhy) {
  for (const bool before_describe : {true, false}) {
    const PeerId dialed = dialer_.dial(server_.address("decode-0"));
    auto [client, hello] = server_.accept_hello();
    ASSERT_TRUE(client.send(good(hello)));
    if (!before_describe) {
      ASSERT_TRUE(client.send(baton_test::sample_describe()));
      ASSERT_TRUE(client.read_next<wire::Describe>());
    }
    ASSERT_TRUE(client.send(wire::Goodbye{StatusCode::kMismatch, "no transport in common"}));
    const auto why = dialer_.wait_dial_failed(dialed);
    ASSERT_TRUE(why);
    expect_status(*why, StatusCode::kMismatch, "no transport in common");
  }
}

TEST_F(Dialer, NothingButConfirmMakesItUp) {
  const PeerId dialed = dialer_.dial(server_.address("decode-0"));
  auto [client, hello] = server_.accept_hello();
  ASSERT_TRUE(client.send(good(hello)));
  ASSERT_TRUE(client.send(baton_test::sample_describe()));
  ASSERT_TRUE(client.send(wire::Notify{1, {1}}));
  const auto why = dialer_.wait_dial_failed(dialed);
  ASSERT_TRUE(why);
  expect_status(*why, StatusCode::kProtocolError, "Notify where Confirm is due");
  dialer_.stop();
  EXPECT_TRUE(dialer_.ups.empty());
  EXPECT_TRUE(dialer_.messages.empty());
}

TEST_F(Dialer, IncarnationsRiseWithEveryHello) {
  uint64_t last = 0;
  for (int i = 0; i < 3; ++i) {
    const PeerId dialed = dialer_.dial(server_.address("decode-0"));
    auto [client, hello] = server_.accept_hello();
    EXPECT_GT(hello.incarnation, last);
    last = hello.incarnation;
    client.reset();
    ASSERT_TRUE(dialer_.wait_dial_failed(dialed));
  }
}

TEST_F(Dialer, AServerThatClosesWhereTlsIsDue) {
  Endpoint with_secret(secret_options("prefill-1"));
  const PeerId dialed = with_secret.dial(server_.address("decode-0"));
  RawClient client = server_.accept();
  std::array<uint8_t, 6> record{};
  ASSERT_TRUE(client.read_exactly(record));
  EXPECT_EQ(record[0], kTlsFirstByte);
  EXPECT_EQ(record[5], 1);  // RFC 8446, client_hello
  ASSERT_TRUE(client.send("HTTP/1.1 400 Bad Request\r\n\r\n"));
  const auto why = with_secret.wait_dial_failed(dialed);
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kProtocolError) << why->to_string();
}

}  // namespace
}  // namespace baton::control
