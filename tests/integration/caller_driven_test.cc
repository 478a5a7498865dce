// kCaller mode: the caller's turns move everything, one descriptor says when one is due, gates fail
// without it.
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

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

  // Turns of `driven` when their descriptors ask for one, and at no other time. Counts them.
  bool follow(const std::vector<baton::Context*>& driven, const std::function<bool()>& done) {
    turns_ = 0;
    while (!done()) {
      std::vector<pollfd> waiting;
      for (const baton::Context* context : driven)
        waiting.push_back({context->event_fd(), POLLIN, 0});
      if (::poll(waiting.data(), waiting.size(), 20000) <= 0) return false;
      for (size_t i = 0; i < driven.size(); ++i) {
        if (waiting[i].revents == 0) continue;
        ++turns_;
        driven[i]->progress();
        std::array<baton::Event, 16> events;
        for (size_t count = 1; count > 0;) {
          count = driven[i]->poll_events(events);
          for (size_t e = 0; e < count; ++e) {
            if (events[e].kind == baton::EventKind::kGrantOffered)
              offered_.push_back(events[e].tag);
          }
        }
      }
    }
    return true;
  }

  // The Transfer that answers the Grant; drives the writer only.
  baton::Transfer start_push() {
    baton::PushRequest push;
    push.grant = require(pair_.prefill().wait_offer("r", 20000), "wait_offer").id;
    push.cache = source_.cache();
    push.block_lists = {{0, 1, 2, 3}};
    return require(pair_.prefill().push(push), "push");
  }

  // Without driving: wait_offer() would.
  bool offered(const std::string& tag) {
    return std::find(offered_.begin(), offered_.end(), tag) != offered_.end();
  }

  baton::Grant open_grant(uint32_t deadline_ms = 0, const std::string& tag = "r") {
    baton::GrantRequest request;
    request.peer = prefill_peer_;
    request.cache = target_.cache();
    request.source_cache = "kv";
    request.tag = tag;
    request.tokens = {0, 64};
    request.block_lists = {{3, 1, 2, 0}};
    request.deadline_ms = deadline_ms;
    return require(pair_.decode().grant(request), "grant");
  }

  ContextPair pair_;
  Pool source_;
  Pool target_;
  baton::PeerId prefill_peer_;
  uint64_t turns_ = 0;
  std::vector<std::string> offered_;  // tags that follow() was told of
};

// More turns than any of the tests below needs, and far fewer than a descriptor that is readable
// all the time would bring about.
constexpr uint64_t kManyTurns = 20'000;

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

TEST_F(CallerDriven, ADescriptorIsEnoughForAHandoff) {
  const auto expected = expected_target(source_, {0, 1, 2, 3}, target_, {3, 1, 2, 0}, {0, 64},
                                        source_.memory().data());
  auto grant = open_grant();
  pair_.decode().progress();
  auto transfer = start_push();
  require_ok(transfer.seal(), "seal");
  ASSERT_TRUE(follow({&pair_.prefill(), &pair_.decode()}, [&] {
    return baton::is_terminal(grant.state()) && baton::is_terminal(transfer.state());
  }));
  EXPECT_TRUE(grant.status().is_ok()) << grant.status().to_string();
  EXPECT_TRUE(transfer.status().is_ok()) << transfer.status().to_string();
  EXPECT_EQ(compare_bytes(expected, target_.memory().bytes()), "");
}

TEST_F(CallerDriven, ADescriptorIsEnoughForAPull) {
  const auto expected = expected_target(source_, {0, 1, 2, 3}, target_, {3, 1, 2, 0}, {0, 64},
                                        source_.memory().data());
  // Who dialled knows its peer first.
  ASSERT_TRUE(drive_until([&] { return pair_.prefill().peers().size() == 1; }));
  baton::ReadGrantRequest request;
  request.peer = pair_.prefill().peers().at(0);
  request.cache = source_.cache();
  request.target_cache = "kv";
  request.tag = "r";
  request.tokens = {0, 64};
  request.block_lists = {{0, 1, 2, 3}};
  auto grant = require(pair_.prefill().offer_read(request), "offer_read");
  pair_.prefill().progress();
  const auto offer = require(pair_.decode().wait_offer("r", 20000), "wait_offer");
  auto pull = require(pair_.decode().pull({offer.id, target_.cache(), {{3, 1, 2, 0}}, 0}), "pull");
  auto word = require(pair_.prefill().create_progress_word(), "create_progress_word");
  require_ok(grant.submit_chunk({{0, 64}, &word, 0}), "submit_chunk");
  const std::vector<baton::Context*> both{&pair_.prefill(), &pair_.decode()};
  for (uint32_t layer = 0; layer < PoolShape().layers; ++layer) {
    word.tick();
    ASSERT_TRUE(follow(both, [&] { return pull.gate(layer).is_open(); })) << "layer " << layer;
  }
  ASSERT_TRUE(follow(
      both, [&] { return baton::is_terminal(grant.state()) && baton::is_terminal(pull.state()); }));
  EXPECT_TRUE(grant.status().is_ok()) << grant.status().to_string();
  EXPECT_TRUE(pull.status().is_ok()) << pull.status().to_string();
  EXPECT_EQ(compare_bytes(expected, target_.memory().bytes()), "");
}

// The writer answers nothing: only time ends this Grant.
TEST_F(CallerDriven, DescriptorTellsTheReceiverThatItIsTimeToFence) {
  auto grant = open_grant();
  pair_.decode().progress();
  grant.cancel("no more");
  ASSERT_TRUE(follow({&pair_.decode()}, [&] { return baton::is_terminal(grant.state()); }))
      << "nobody was told of the fence's time";
  EXPECT_EQ(grant.status().code(), StatusCode::kCancelled) << grant.status().to_string();
  EXPECT_LT(turns_, kManyTurns);
}

// The receiver answers nothing: only time ends this Transfer.
TEST_F(CallerDriven, DescriptorTellsTheWriterThatNoVerdictWillCome) {
  auto grant = open_grant();
  pair_.decode().progress();
  auto transfer = start_push();
  transfer.cancel("no more");
  ASSERT_TRUE(follow({&pair_.prefill()}, [&] { return baton::is_terminal(transfer.state()); }))
      << "nobody was told of the verdict's time";
  EXPECT_EQ(transfer.status().code(), StatusCode::kInDoubt) << transfer.status().to_string();
  EXPECT_LT(turns_, kManyTurns);
}

TEST_F(CallerDriven, DescriptorTellsThatAWordWithoutAWakerMayHaveMoved) {
  const auto expected = expected_target(source_, {0, 1, 2, 3}, target_, {3, 1, 2, 0}, {0, 64},
                                        source_.memory().data());
  auto grant = open_grant();
  pair_.decode().progress();
  auto transfer = start_push();
  auto word = require(pair_.prefill().create_progress_word(), "create_progress_word");
  require_ok(transfer.submit_chunk({{0, 64}, &word, 0}), "submit_chunk");
  std::atomic_ref<uint64_t> store(*word.address());
  for (uint32_t layer = 0; layer < PoolShape().layers; ++layer) {
    // Until nothing but the word's time moves anything.
    ASSERT_TRUE(follow({&pair_.prefill(), &pair_.decode()}, [&] { return turns_ > 40; }));
    store.store(layer + 1, std::memory_order_release);
    ASSERT_TRUE(
        follow({&pair_.prefill(), &pair_.decode()}, [&] { return grant.gate(layer).is_open(); }))
        << "layer " << layer;
  }
  ASSERT_TRUE(follow({&pair_.prefill(), &pair_.decode()}, [&] {
    return baton::is_terminal(grant.state()) && baton::is_terminal(transfer.state());
  }));
  EXPECT_TRUE(grant.status().is_ok()) << grant.status().to_string();
  EXPECT_EQ(compare_bytes(expected, target_.memory().bytes()), "");
}

// What arrives while one call sleeps is not lost to those who wait on the descriptor afterwards.
TEST_F(CallerDriven, DescriptorTellsOfWhatCameWhileACallWaited) {
  std::vector<baton::Grant> grants;
  for (int i = 0; i < 30; ++i) {
    const std::string tag = "r" + std::to_string(i);
    grants.push_back(open_grant(0, tag));
    pair_.decode().progress();
    EXPECT_EQ(pair_.prefill().wait_offer("none", 1).code(), StatusCode::kDeadlineExceeded);
    ASSERT_TRUE(follow({&pair_.prefill()}, [&] { return offered(tag); })) << tag;
  }
}

// The Grant ends between the writer's check and the data path's: the receiver has been told that it
// is quiet, so not one byte may follow.
TEST_F(CallerDriven, ATransferWhoseGrantEndsWhileItIsQueuedIsCancelled) {
  target_.memory().poison();
  auto grant = open_grant();
  pair_.decode().progress();
  baton::PushRequest push;
  push.grant = require(pair_.prefill().wait_offer("r", 20000), "wait_offer").id;
  push.cache = source_.cache();
  push.block_lists = {{0, 1, 2, 3}};
  // Nothing is left to do; from here on the descriptor tells of the receiver's cancel alone.
  ASSERT_TRUE(drive_until([&] {
    pollfd quiet{pair_.prefill().event_fd(), POLLIN, 0};
    baton::Event events[16];
    while (pair_.prefill().poll_events(events) > 0) {
    }
    return ::poll(&quiet, 1, 0) == 0;
  }));
  grant.cancel("no more");
  pair_.decode().progress();
  pollfd cancelled{pair_.prefill().event_fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&cancelled, 1, 20000), 1);
  auto transfer = require(pair_.prefill().push(push), "push");
  require_ok(transfer.seal(), "seal");
  ASSERT_TRUE(drive_until(
      [&] { return baton::is_terminal(grant.state()) && baton::is_terminal(transfer.state()); }));
  EXPECT_EQ(grant.status().code(), StatusCode::kCancelled) << grant.status().to_string();
  EXPECT_EQ(transfer.status().code(), StatusCode::kCancelled) << transfer.status().to_string();
  EXPECT_EQ(target_.memory().check_poisoned(0, target_.memory().size()), "");
  EXPECT_EQ(pair_.decode().peers().size(), 1u) << "the path is well";
}

TEST_F(CallerDriven, MayBeDrivenWhileItClosesAndAfterwards) {
  auto grant = open_grant();
  pair_.decode().progress();
  std::atomic<bool> closed{false};
  std::thread driver([&] {
    while (!closed.load()) pair_.decode().progress();
  });
  EXPECT_EQ(pair_.decode().close(0).code(), StatusCode::kDeadlineExceeded);
  closed.store(true);
  driver.join();
  EXPECT_TRUE(baton::is_terminal(grant.state()));
  EXPECT_EQ(pair_.decode().progress(), 0u);
  EXPECT_EQ(pair_.decode().wait_offer("r", 10).code(), StatusCode::kDeadlineExceeded);
  EXPECT_NE(grant.wait(10).code(), StatusCode::kOk);
  std::array<baton::Event, 16> events;
  while (pair_.decode().poll_events(events) > 0) {
  }
  EXPECT_EQ(pair_.decode().wait_event(10).code(), StatusCode::kDeadlineExceeded);
  const auto described = pair_.decode().describe_peer(prefill_peer_);
  EXPECT_TRUE(!described.is_ok() || described->transport == "tcp");
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
