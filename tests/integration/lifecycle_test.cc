// Ends of hand-offs within one process: cancel from either side at many moments, deadlines, closing
// of Contexts and sections.
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "tests/integration/rig.h"
#include "tests/support/test_seed.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::EventKind;
using baton::State;
using baton::StatusCode;
using baton::TokenRange;

constexpr TokenRange kTokens{0, 256};

class Lifecycle : public testing::TestWithParam<const char*> {
 protected:
  Lifecycle() : pair_({GetParam(), true, test_seed()}), source_(PoolShape()), target_(PoolShape()) {
    source_.memory().fill_pattern(test_seed());
    source_.publish(pair_.prefill(), "kv");
    target_.publish(pair_.decode(), "kv");
    pair_.connect();
    const auto all = pick_blocks(32, 32, test_seed());
    blocks_.assign(all.begin(), all.begin() + 16);
    other_blocks_.assign(all.begin() + 16, all.end());
  }

  void start(const std::string& tag, uint32_t deadline_ms = 0) { begin(tag, blocks_, deadline_ms); }

  void begin(const std::string& tag, const std::vector<uint32_t>& blocks, uint32_t deadline_ms) {
    baton::GrantRequest request;
    request.peer = pair_.prefill_peer();
    request.cache = target_.cache();
    request.source_cache = "kv";
    request.tag = tag;
    request.tokens = kTokens;
    request.block_lists = {blocks};
    request.deadline_ms = deadline_ms;
    grant_ = require(pair_.decode().grant(request), "grant");
    const auto offer = require(pair_.prefill().wait_offer(tag, 10000), "wait_offer");
    baton::PushRequest push;
    push.grant = offer.id;
    push.cache = source_.cache();
    push.block_lists = {blocks};
    transfer_ = require(pair_.prefill().push(push), "push");
    word_ = require(pair_.prefill().create_progress_word(), "create_progress_word");
    require_ok(transfer_.submit_chunk({kTokens, &word_, 0}), "submit_chunk");
  }

  // Both ended, so their memory is the caller's: what is written there stays. Whatever might still
  // be under way lands, or is delivered, before a hand-off of other blocks over the same Path ends.
  void expect_quiet() {
    target_.memory().poison();
    source_.memory().fill_pattern(test_seed() + 1);
    expect_only_others();
    source_.memory().fill_pattern(test_seed());
  }
  // The same, of a target that is poisoned already.
  void expect_only_others() {
    const auto expected = expected_target(source_, other_blocks_, target_, other_blocks_, kTokens,
                                          source_.memory().data());
    EXPECT_EQ(target_.memory().check_poisoned(0, target_.memory().size()), "");
    begin("drain", other_blocks_, 0);
    require_ok(transfer_.seal(), "seal");
    EXPECT_TRUE(grant_.wait(20000).is_ok()) << grant_.status().to_string();
    EXPECT_TRUE(transfer_.wait(20000).is_ok()) << transfer_.status().to_string();
    EXPECT_EQ(compare_bytes(expected, target_.memory().bytes()), "");
  }

  ContextPair pair_;
  Pool source_;
  Pool target_;
  std::vector<uint32_t> blocks_;
  std::vector<uint32_t> other_blocks_;  // all that are not among them
  baton::Grant grant_;
  baton::Transfer transfer_;
  baton::ProgressWord word_;
};

TEST_P(Lifecycle, ReceiverCancelsAtManyMoments) {
  std::mt19937_64 random(test_seed());
  for (int round = 0; round < 40; ++round) {
    start("r" + std::to_string(round));
    std::thread ticker([&, layers = random() % 5] {
      for (uint64_t i = 0; i < layers; ++i) word_.tick();
    });
    for (uint64_t spin = random() % 20000; spin > 0; --spin)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    grant_.cancel("aborted");
    const auto grant_end = grant_.wait(10000);
    target_.memory().poison();  // the receiver's terminal state: its pages are reused at once
    ticker.join();
    const auto transfer_end = transfer_.wait(10000);
    EXPECT_TRUE(grant_end.is_ok() || grant_end.code() == StatusCode::kCancelled)
        << grant_end.to_string();
    EXPECT_EQ(grant_end.is_ok(), transfer_end.is_ok())
        << grant_end.to_string() << " / " << transfer_end.to_string();
    SCOPED_TRACE("round " + std::to_string(round));
    expect_only_others();
  }
}

TEST_P(Lifecycle, SenderCancelsAtManyMoments) {
  std::mt19937_64 random(test_seed() + 1);
  for (int round = 0; round < 40; ++round) {
    start("r" + std::to_string(round));
    for (uint64_t i = random() % 5; i > 0; --i) word_.tick();
    for (uint64_t spin = random() % 20000; spin > 0; --spin)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    transfer_.cancel("preempted");
    const auto transfer_end = transfer_.wait(10000);
    const auto grant_end = grant_.wait(10000);
    EXPECT_TRUE(transfer_end.is_ok() || transfer_end.code() == StatusCode::kCancelled)
        << transfer_end.to_string();
    EXPECT_EQ(grant_end.is_ok(), transfer_end.is_ok())
        << grant_end.to_string() << " / " << transfer_end.to_string();
    EXPECT_TRUE(grant_.all().is_open());
    SCOPED_TRACE("round " + std::to_string(round));
    expect_quiet();
  }
}

TEST_P(Lifecycle, DeadlineEndsBothSidesAndTheGates) {
  start("r", 300);
  word_.tick();
  ASSERT_TRUE(grant_.gate(0).wait(10000).is_ok());
  EXPECT_EQ(grant_.gate(3).wait(10000).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(grant_.wait(10000).code(), StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(transfer_.wait(10000).is_ok());
  EXPECT_EQ(grant_.state(), State::kFailed);
  EXPECT_EQ(transfer_.state(), State::kFailed);
  expect_quiet();
}

TEST_P(Lifecycle, ACancelLeavesOtherHandoffsAlone) {
  start("first");
  auto first_grant = std::move(grant_);
  auto first_transfer = std::move(transfer_);
  auto first_word = word_;
  target_.memory().poison();
  start("second");
  grant_.cancel("only this one");
  EXPECT_EQ(grant_.wait(10000).code(), StatusCode::kCancelled);
  const auto expected =
      expected_target(source_, blocks_, target_, blocks_, kTokens, source_.memory().data());
  require_ok(first_transfer.seal(), "seal");
  EXPECT_TRUE(first_grant.wait(10000).is_ok()) << first_grant.status().to_string();
  EXPECT_TRUE(first_transfer.wait(10000).is_ok());
  EXPECT_EQ(compare_bytes(expected, target_.memory().bytes()), "");
}

TEST_P(Lifecycle, ExactlyOneEventPerRequest) {
  for (int round = 0; round < 10; ++round) {
    start("r" + std::to_string(round));
    if (round % 2 == 0) {
      require_ok(transfer_.seal(), "seal");
    } else {
      grant_.cancel("odd");
    }
    grant_.wait(10000).ignore();
    transfer_.wait(10000).ignore();
  }
  pair_.prefill().close(1000).ignore();
  pair_.decode().close(1000).ignore();
  int grants = 0;
  int transfers = 0;
  baton::Event events[8];
  while (const size_t count = pair_.decode().poll_events(events)) {
    for (size_t i = 0; i < count; ++i) grants += events[i].kind == EventKind::kGrantEnded;
  }
  while (const size_t count = pair_.prefill().poll_events(events)) {
    for (size_t i = 0; i < count; ++i) transfers += events[i].kind == EventKind::kTransferEnded;
  }
  EXPECT_EQ(grants, 10);
  EXPECT_EQ(transfers, 10);
}

TEST_P(Lifecycle, ClosedContextEndsItsPeersRequests) {
  start("r");
  word_.tick();
  ASSERT_TRUE(grant_.gate(0).wait(10000).is_ok());
  EXPECT_EQ(pair_.prefill().close(0).code(), StatusCode::kDeadlineExceeded)
      << "a request had to be cancelled";
  EXPECT_TRUE(baton::is_terminal(transfer_.state()));
  EXPECT_FALSE(grant_.wait(10000).is_ok());
  EXPECT_TRUE(grant_.all().is_open());
}

TEST_P(Lifecycle, SectionWithdrawnAndRegisteredAnewWhileThePeerKnowsIt) {
  start("before");
  require_ok(transfer_.seal(), "seal");
  ASSERT_TRUE(grant_.wait(10000).is_ok());
  ASSERT_TRUE(transfer_.wait(10000).is_ok());
  target_.unpublish();
  target_.memory().poison();
  target_.publish(pair_.decode(), "kv");
  const auto expected =
      expected_target(source_, blocks_, target_, blocks_, kTokens, source_.memory().data());
  start("after");
  require_ok(transfer_.seal(), "seal");
  EXPECT_TRUE(grant_.wait(10000).is_ok()) << grant_.status().to_string();
  EXPECT_EQ(compare_bytes(expected, target_.memory().bytes()), "");
}

// close() looks at the uses of whatever lives while hand-offs end on the data thread.
TEST_P(Lifecycle, ASectionClosesAtManyMomentsOfAHandoff) {
  std::mt19937_64 random(test_seed());
  for (int round = 0; round < 20; ++round) {
    start("r" + std::to_string(round));
    const bool is_target = round % 2 == 0;
    std::thread sealer([this] { transfer_.seal().ignore(); });
    for (uint64_t spin = random() % 40000; spin > 0; --spin)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    Pool& closed = is_target ? target_ : source_;
    closed.unpublish();
    closed.memory().poison();  // it is the caller's alone
    sealer.join();
    const auto grant_end = grant_.wait(10000);
    const auto transfer_end = transfer_.wait(10000);
    EXPECT_EQ(grant_end.is_ok(), transfer_end.is_ok())
        << grant_end.to_string() << " / " << transfer_end.to_string();
    EXPECT_EQ(closed.memory().check_poisoned(0, closed.memory().size()), "") << "round " << round;
    source_.memory().fill_pattern(test_seed());
    closed.publish(is_target ? pair_.decode() : pair_.prefill(), "kv");
    ASSERT_TRUE(wait_until([&] {
      return !pair_.decode().describe_peer(pair_.prefill_peer())->caches.empty();
    })) << "the receiver hears of the new cache";
  }
}

TEST_P(Lifecycle, HandlesOutliveTheContext) {
  start("r");
  pair_.destroy_prefill();
  EXPECT_TRUE(baton::is_terminal(transfer_.state()));
  EXPECT_FALSE(transfer_.status().is_ok());
  transfer_.cancel();
  EXPECT_FALSE(transfer_.seal().is_ok());
}

INSTANTIATE_TEST_SUITE_P(Transports, Lifecycle, testing::Values("tcp", "loopback"),
                         [](const auto& transport) { return std::string(transport.param); });

}  // namespace
}  // namespace baton_test
