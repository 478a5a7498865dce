// Dials that join a connection or another dial.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <future>
#include <memory>

#include "tests/unit/control/names_rig.h"

namespace baton::control {
namespace {

TEST_F(Names, ASecondDialJoinsTheConnection) {
  Endpoint z(options("z"), &clock_);
  const PeerId first = z.dial_and_wait(m_.address());
  ASSERT_TRUE(first);
  EXPECT_EQ(z.wait_joined(z.dial(m_.address())), first);
  // And from the other end.
  EXPECT_EQ(m_.wait_joined(m_.dial(z.address())), m_.wait_up());
  z.stop();
  EXPECT_EQ(z.ups.size(), 1u);
}

TEST_F(Names, ASecondDialJoinsTheFirstWhileThatIsBeingMade) {
  for (const bool succeeds : {false, true}) {
    const PeerId first = m_.dial(server_.address("z"));
    auto [client, hello] = server_.accept_hello();
    const PeerId second = m_.dial(server_.address("z"));
    m_.settle();
    if (succeeds) {
      accept_as(client, raw_welcome("z", hello));
      EXPECT_EQ(m_.wait_joined(second), first);
    } else {
      client.reset();
      expect_status(m_.wait_dial_failed(first), StatusCode::kPeerLost, "");
      expect_status(m_.wait_dial_failed(second), StatusCode::kPeerLost, "");
    }
  }
}

// One gives up after the other; who still waits gets the connection.
TEST_F(Names, ADialThatIsAbandonedGoesOnForThoseWhoJoinedIt) {
  const Status gave_up(StatusCode::kDeadlineExceeded, "gave up");
  const PeerId first = m_.dial(server_.address("z"));
  auto [client, hello] = server_.accept_hello();
  const PeerId second = m_.dial(server_.address("z"));
  const PeerId third = m_.dial(server_.address("z"));
  const PeerId fourth = m_.dial(server_.address("z"));
  m_.plane().abandon_dial(first, gave_up);
  m_.plane().abandon_dial(third, gave_up);
  expect_status(m_.wait_dial_failed(first), StatusCode::kDeadlineExceeded, "gave up");
  expect_status(m_.wait_dial_failed(third), StatusCode::kDeadlineExceeded, "gave up");
  accept_as(client, raw_welcome("z", hello));
  EXPECT_EQ(m_.wait_joined(fourth), second);
  // It is up: there is nothing to abandon.
  m_.plane().abandon_dial(second, gave_up);
  m_.settle();
  EXPECT_FALSE(m_.is_down(second));
  EXPECT_FALSE(m_.has_failed(second));
}

TEST_F(Names, ADialThatNobodyWaitsForIsGivenUp) {
  const PeerId dialed = m_.dial(server_.address("z"));
  auto [client, hello] = server_.accept_hello();
  m_.plane().abandon_dial(dialed, Status(StatusCode::kDeadlineExceeded, "gave up"));
  expect_status(m_.wait_dial_failed(dialed), StatusCode::kDeadlineExceeded, "gave up");
  EXPECT_TRUE(client.is_closed_by_peer());
}

TEST_F(Names, WhoJoinsADialHasAsMuchTimeAsTheFirst) {
  const PeerId first = m_.dial(server_.address("z"));
  auto [client, hello] = server_.accept_hello();
  const int64_t dial_ms = options("m").dial_timeout_ms;
  m_.advance_ms(dial_ms - 1);
  const PeerId second = m_.dial(server_.address("z"));
  m_.settle();
  m_.advance_ms(dial_ms - 1);
  EXPECT_FALSE(m_.has_failed(second));
  accept_as(client, raw_welcome("z", hello));
  EXPECT_EQ(m_.wait_joined(second), first);
}

// ---- another process of the same name

}  // namespace
}  // namespace baton::control
