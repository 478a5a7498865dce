// What the tests of connections that claim one name share.
//
// Thread rule: one thread.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <deque>
#include <future>
#include <memory>

#include "tests/unit/control/endpoint.h"
#include "tests/unit/control/raw_client.h"
#include "tests/unit/wire/sample_messages.h"

namespace baton::control {

using baton_test::Endpoint;
using baton_test::raw_hello;
using baton_test::raw_welcome;
using baton_test::RawClient;
using baton_test::RawServer;
using baton_test::secret_options;
using baton_test::test_options;

inline void expect_status(const std::optional<Status>& status, StatusCode code,
                          const std::string& part) {
  ASSERT_TRUE(status) << part;
  EXPECT_EQ(status->code(), code) << status->to_string();
  EXPECT_NE(status->message().find(part), std::string::npos) << status->to_string();
}

inline wire::Hello hello_of(const std::string& name, uint8_t boot, uint64_t incarnation) {
  wire::Hello hello = raw_hello(name);
  hello.boot_id = {boot};
  hello.incarnation = incarnation;
  return hello;
}

class Names : public ::testing::Test {
 protected:
  static ControlOptions options(const std::string& name) {
    ControlOptions options = test_options(name);
    options.dead_after_ms = 3'600'000;
    return options;
  }

  // Makes the peer of this hello, and says which one it is at "m".
  std::pair<RawClient, PeerId> raw_peer(const wire::Hello& hello) {
    const size_t before = m_.count_ups();
    RawClient client(m_.address());
    EXPECT_TRUE(client.become_peer(hello));
    return {std::move(client), m_.wait_up(before)};
  }

  // The next Welcome of a connection that says hello.
  std::optional<wire::Welcome> answer_to(RawClient& client, const wire::Hello& hello) {
    return client.send_hello(hello) ? client.read_next<wire::Welcome>() : std::nullopt;
  }

  static std::optional<uint64_t> read_probe(RawClient& client) {
    while (const auto beat = client.read_next<wire::Heartbeat>()) {
      if (beat->probe != 0) return beat->probe;
    }
    return std::nullopt;
  }

  void expect_refused_as_connected(const std::optional<wire::Welcome>& welcome, uint64_t session) {
    ASSERT_TRUE(welcome);
    EXPECT_EQ(welcome->code, StatusCode::kFailedPrecondition) << welcome->text;
    EXPECT_EQ(welcome->session, session);
  }

  // Finishes, as the acceptor, what accept_hello() began.
  static void accept_as(RawClient& client, const wire::Welcome& welcome) {
    EXPECT_TRUE(client.send(welcome));
    EXPECT_TRUE(client.send(baton_test::sample_describe()));
    EXPECT_TRUE(client.read_next<wire::Describe>());
    EXPECT_TRUE(client.send(wire::Confirm{}));
  }

  base::ManualClock clock_{1'000'000'000};
  Endpoint m_{options("m"), &clock_};
  RawServer server_;
};

// ---- one process, connected anew

}  // namespace baton::control
