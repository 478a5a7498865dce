// kCaller mode: the caller's turns move everything, one descriptor says when one is due, gates fail
// without it.
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <functional>
#include <thread>

#include "tests/integration/rig.h"
#include "tests/support/test_seed.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::StatusCode;
using baton::TokenRange;

class CallerDriven : public testing::Test {
 protected:
  CallerDriven()
      : pair_({"tcp", true, test_seed(), baton::ProgressMode::kCaller}),
        source_(PoolShape()),
        target_(PoolShape()) {
    source_.memory().fill_pattern(test_seed());
    source_.publish(pair_.prefill(), "kv");
    target_.publish(pair_.decode(), "kv");
    connect();
  }

  // connect() of one side drives that side only: the other is driven from here.
  void connect() {
    std::atomic<bool> connected{false};
    std::thread other([&] {
      while (!connected.load()) {
        pollfd waiting{pair_.prefill().event_fd(), POLLIN, 0};
        ::poll(&waiting, 1, 10);
        pair_.prefill().progress();
      }
    });
    const auto peer = pair_.decode().connect(pair_.prefill().address(), 10000);
    connected.store(true);
    other.join();
    prefill_peer_ = require(baton::Result<baton::PeerId>(peer), "connect");
  }

  bool drive_until(const std::function<bool()>& done) {
    return wait_until([&] {
      pair_.prefill().progress();
      pair_.decode().progress();
      return done();
    });
  }

  baton::Grant open_grant(uint32_t deadline_ms = 0) {
    baton::GrantRequest request;
    request.peer = prefill_peer_;
    request.cache = target_.cache();
    request.source_cache = "kv";
    request.tag = "r";
    request.tokens = {0, 64};
    request.block_lists = {{3, 1, 2, 0}};
    request.deadline_ms = deadline_ms;
    return require(pair_.decode().grant(request), "grant");
  }

  ContextPair pair_;
  Pool source_;
  Pool target_;
  baton::PeerId prefill_peer_;
};

TEST_F(CallerDriven, HandsOverByTurns) {
  const auto expected = expected_target(source_, {0, 1, 2, 3}, target_, {3, 1, 2, 0}, {0, 64},
                                        source_.memory().data());
  auto grant = open_grant();
  baton::Transfer transfer;
  ASSERT_TRUE(drive_until([&] {
    const auto offer = pair_.prefill().wait_offer("r", 0);
    if (!offer.is_ok()) return false;
    baton::PushRequest push;
    push.grant = offer->id;
    push.cache = source_.cache();
    push.block_lists = {{0, 1, 2, 3}};
    transfer = require(pair_.prefill().push(push), "push");
    return true;
  }));
  require_ok(transfer.seal(), "seal");
  ASSERT_TRUE(drive_until(
      [&] { return baton::is_terminal(grant.state()) && baton::is_terminal(transfer.state()); }));
  EXPECT_TRUE(grant.status().is_ok()) << grant.status().to_string();
  EXPECT_TRUE(transfer.status().is_ok()) << transfer.status().to_string();
  EXPECT_EQ(compare_bytes(expected, target_.memory().bytes()), "");
}

TEST_F(CallerDriven, DescriptorPollsReadableWhenATurnIsDue) {
  ASSERT_TRUE(drive_until([&] { return pair_.prefill().progress() == 0; }));
  baton::Event events[16];
  while (pair_.prefill().poll_events(events) > 0) {
  }
  auto grant = open_grant();
  pair_.decode().progress();
  pollfd waiting{pair_.prefill().event_fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&waiting, 1, 5000), 1)
      << "a control message waits for the data path, and nobody is told";
}

TEST_F(CallerDriven, GatesFailAtTheDeadlineThoughNobodyDrives) {
  auto grant = open_grant(200);
  EXPECT_EQ(grant.all().wait(5000).code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(grant.gate(0).is_open());
  EXPECT_EQ(grant.gate(0).poll().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(grant.state(), baton::State::kCancelling);
  ASSERT_TRUE(drive_until([&] { return baton::is_terminal(grant.state()); }));
  EXPECT_EQ(grant.status().code(), StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace baton_test
