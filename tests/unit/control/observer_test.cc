// Observers: they see what a Context is doing, and are nobody.
#include <gtest/gtest.h>

#include <future>

#include "src/control/observer.h"
#include "tests/unit/control/endpoint.h"
#include "tests/unit/control/raw_client.h"

namespace baton::control {
namespace {

using baton_test::Endpoint;
using baton_test::raw_hello;
using baton_test::RawClient;
using baton_test::RawServer;
using baton_test::secret_options;
using baton_test::test_options;
using baton_test::test_secret;

ObserverOptions observer(const Secret& secret = Secret()) {
  ObserverOptions options;
  options.name = "looker";
  options.secret = secret;
  options.timeout_ms = 20000;
  return options;
}

wire::Hello observer_hello(const std::string& name) {
  wire::Hello hello = raw_hello(name);
  hello.role = wire::HelloRole::kObserver;
  hello.features = kFeatureObservers;
  hello.required_features = kFeatureObservers;
  return hello;
}

class Observers : public ::testing::TestWithParam<bool> {
 protected:
  static ControlOptions options(const std::string& name) {
    ControlOptions options = GetParam() ? secret_options(name) : test_options(name);
    options.features = kFeatureObservers;
    return options;
  }
  static ObserverOptions looker() { return observer(GetParam() ? test_secret(1) : Secret()); }
};

INSTANTIATE_TEST_SUITE_P(Auth, Observers, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "Psk" : "None"; });

TEST_P(Observers, AreTheStateAndNoPeer) {
  Endpoint decode(options("decode-0"));
  decode.state = [](wire::StateFormat format) {
    return format == wire::StateFormat::kJson ? "{}" : "all is well\n";
  };
  ObserverOptions asks = looker();
  auto text = observe(decode.address(), asks);
  ASSERT_TRUE(text.is_ok()) << text.status().to_string();
  EXPECT_EQ(*text, "all is well\n");
  asks.format = wire::StateFormat::kJson;
  asks.name = "decode-0";  // an observer takes nobody's name, not even its host's
  text = observe(decode.address(), asks);
  ASSERT_TRUE(text.is_ok()) << text.status().to_string();
  EXPECT_EQ(*text, "{}");
  // A peer of the observer's name comes up, and stays up while the observer looks again.
  Endpoint peer(options("looker"));
  const PeerId id = peer.dial_and_wait(decode.address());
  ASSERT_TRUE(id);
  EXPECT_TRUE(observe(decode.address(), looker()).is_ok());
  ASSERT_TRUE(peer.plane().send(id, wire::Notify{7, {}}).is_ok());
  ASSERT_TRUE(decode.wait_messages(1));
  EXPECT_EQ(decode.count_ups(), 1u);
}

TEST_P(Observers, ALongAnswerArrivesWhole) {
  Endpoint decode(options("decode-0"));
  std::string answer(wire::kMaxStateBytes, 'x');
  for (size_t i = 0; i < answer.size(); i += 4096) answer[i] = static_cast<char>(i >> 12);
  decode.state = [&](wire::StateFormat) { return answer; };
  const auto text = observe(decode.address(), looker());
  ASSERT_TRUE(text.is_ok()) << text.status().to_string();
  EXPECT_TRUE(*text == answer);
}

TEST_P(Observers, OfAnotherContextAreTold) {
  Endpoint decode(options("decode-0"));
  std::string address = decode.address();
  address.replace(address.find("decode-0"), 8, "decode-1");
  EXPECT_EQ(observe(address, looker()).code(), StatusCode::kMismatch);
}

TEST_P(Observers, AreRefusedWhereTheyAreNotServed) {
  Endpoint decode(GetParam() ? secret_options("decode-0") : test_options("decode-0"));
  const auto refused = observe(decode.address(), looker());
  EXPECT_EQ(refused.code(), StatusCode::kMismatch) << refused.status().to_string();
}

TEST_P(Observers, AreFewAtATime) {
  ControlOptions few = options("decode-0");
  few.limits.max_observers = 2;
  Endpoint decode(few);
  decode.state = [](wire::StateFormat) { return std::string("fine"); };
  const auto look = [&] {
    RawClient client(decode.address());
    if (GetParam()) {
      EXPECT_TRUE(client.start_tls(test_secret(1), TlsRole::kDialer));
      EXPECT_TRUE(client.send(observer_hello("idle")));
    } else {
      EXPECT_TRUE(client.send_hello(observer_hello("idle")));
    }
    const auto welcome = client.read_next<wire::Welcome>();
    EXPECT_TRUE(welcome.has_value() && welcome->code == StatusCode::kOk);
    return client;
  };
  const RawClient first = look();
  {
    const RawClient second = look();
    const auto third = observe(decode.address(), looker());
    EXPECT_EQ(third.code(), StatusCode::kExhausted) << third.status().to_string();
  }
  // With one gone there is room. The plane learns of its end before it learns of the next hello.
  EXPECT_TRUE(observe(decode.address(), looker()).is_ok());
}

TEST(Observer, AsksOnceAndNothingElse) {
  ControlOptions options = test_options("decode-0");
  options.features = kFeatureObservers;
  Endpoint decode(options);
  decode.state = [](wire::StateFormat) { return std::string("fine"); };
  RawClient twice(decode.address());
  ASSERT_TRUE(twice.send_hello(observer_hello("twice")));
  ASSERT_TRUE(twice.send(wire::StateRequest{}));
  const auto reply = twice.read_next<wire::StateReply>();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->text, "fine");
  ASSERT_TRUE(twice.send(wire::StateRequest{}));
  EXPECT_TRUE(twice.is_closed_by_peer());
  RawClient talks(decode.address());
  ASSERT_TRUE(talks.send_hello(observer_hello("talks")));
  ASSERT_TRUE(talks.send(wire::Notify{1, {}}));
  EXPECT_TRUE(talks.is_closed_by_peer());
  EXPECT_EQ(decode.count_ups(), 0u);
}

TEST(Observer, WhoNeverAsksHasTenSeconds) {
  base::ManualClock clock{1'000'000'000};
  ControlOptions options = test_options("decode-0");
  options.features = kFeatureObservers;
  Endpoint decode(options, &clock);
  RawClient silent(decode.address());
  ASSERT_TRUE(silent.send_hello(observer_hello("silent")));
  ASSERT_TRUE(silent.read_next<wire::Welcome>().has_value());
  decode.advance_ms(9999);
  EXPECT_TRUE(silent.is_open());
  decode.advance_ms(1);
  EXPECT_TRUE(silent.is_closed_by_peer());
}

TEST(Observer, APeerMayNotAskAsOne) {
  Endpoint decode(test_options("decode-0"));
  RawClient peer(decode.address());
  ASSERT_TRUE(peer.become_peer(raw_hello("prefill-0")).has_value());
  ASSERT_TRUE(peer.send(wire::StateRequest{}));
  EXPECT_TRUE(peer.is_closed_by_peer());
  const auto down = decode.wait_down(decode.wait_up());
  ASSERT_TRUE(down.has_value());
  EXPECT_EQ(down->code(), StatusCode::kProtocolError);
}

TEST(Observer, SecretsAreCompared) {
  ControlOptions options = secret_options("decode-0", 1);
  options.features = kFeatureObservers;
  Endpoint decode(options);
  const auto wrong = observe(decode.address(), observer(test_secret(2)));
  EXPECT_EQ(wrong.code(), StatusCode::kPermissionDenied) << wrong.status().to_string();
  EXPECT_NE(wrong.status().message().find("another secret"), std::string::npos)
      << wrong.status().to_string();
  EXPECT_EQ(observe(decode.address(), observer()).code(), StatusCode::kPermissionDenied);
  // The address does not say that there is a secret: the acceptor does.
  const std::string address = decode.address();
  const auto none = observe(address.substr(0, address.find('?')), observer());
  EXPECT_EQ(none.code(), StatusCode::kPermissionDenied) << none.status().to_string();
  Endpoint open(test_options("open-0"));
  EXPECT_EQ(observe(open.address(), observer(test_secret(1))).code(),
            StatusCode::kPermissionDenied);
}

TEST(Observer, WhoNeverAnswersIsGivenUp) {
  RawServer silent;  // as a stopped process: the kernel takes the connection, nobody answers
  ObserverOptions asks = observer();
  asks.timeout_ms = 100;
  const std::string address = silent.address("decode-0");
  const auto refused = observe(address, asks);
  EXPECT_EQ(refused.code(), StatusCode::kDeadlineExceeded);
  EXPECT_NE(refused.status().message().find("stopped"), std::string::npos)
      << refused.status().to_string();
  silent.close();
  EXPECT_EQ(observe(address, asks).code(), StatusCode::kUnavailable);
  EXPECT_EQ(observe("decode-0", asks).code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baton::control
