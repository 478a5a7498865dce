// Ends of pulled hand-offs within one process: cancels from either side at many moments, deadlines,
// closing of Contexts and sections. After every end the memory is overwritten.
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

class PullLife : public testing::TestWithParam<const char*> {
 protected:
  PullLife() : pair_({GetParam(), true, test_seed()}), source_(PoolShape()), target_(PoolShape()) {
    source_.memory().fill_pattern(test_seed());
    source_.publish(pair_.prefill(), "kv");
    target_.publish(pair_.decode(), "kv");
    pair_.connect();
    const auto all = pick_blocks(32, 32, test_seed());
    blocks_.assign(all.begin(), all.begin() + 16);
    other_blocks_.assign(all.begin() + 16, all.end());
  }

  void offer(const std::string& tag, const std::vector<uint32_t>& blocks, uint32_t deadline_ms) {
    baton::ReadGrantRequest request;
    request.peer = pair_.decode_peer();
    request.cache = source_.cache();
    request.target_cache = "kv";
    request.tag = tag;
    request.tokens = kTokens;
    request.block_lists = {blocks};
    request.deadline_ms = deadline_ms;
    grant_ = require(pair_.prefill().offer_read(request), "offer_read");
    word_ = require(pair_.prefill().create_progress_word(), "create_progress_word");
    require_ok(grant_.submit_chunk({kTokens, &word_, 0}), "submit_chunk");
  }

  void begin(const std::string& tag, const std::vector<uint32_t>& blocks, uint32_t deadline_ms) {
    offer(tag, blocks, deadline_ms);
    const auto offered = require(pair_.decode().wait_offer(tag, 10000), "wait_offer");
    baton::PullRequest pull;
    pull.grant = offered.id;
    pull.cache = target_.cache();
    pull.block_lists = {blocks};
    pull_ = require(pair_.decode().pull(pull), "pull");
  }
  void start(const std::string& tag, uint32_t deadline_ms = 0) { begin(tag, blocks_, deadline_ms); }

  // Both ended: what is written into either memory stays, and is not delivered. Whatever might be
  // under way arrives before a hand-off of other blocks over the same Path ends.
  void expect_quiet() {
    target_.memory().poison();
    source_.memory().fill_pattern(test_seed() + 1);
    const auto expected = expected_target(source_, other_blocks_, target_, other_blocks_, kTokens,
                                          source_.memory().data());
    begin("drain", other_blocks_, 0);
    require_ok(grant_.seal(), "seal");
    EXPECT_TRUE(pull_.wait(20000).is_ok()) << pull_.status().to_string();
    EXPECT_TRUE(grant_.wait(20000).is_ok()) << grant_.status().to_string();
    EXPECT_EQ(compare_bytes(expected, target_.memory().bytes()), "");
    target_.memory().poison();
    source_.memory().fill_pattern(test_seed());
  }

  // Both sides say the same.
  void expect_same_end(StatusCode allowed) {
    const auto pull_end = pull_.wait(10000);
    const auto grant_end = grant_.wait(10000);
    EXPECT_TRUE(pull_end.is_ok() || pull_end.code() == allowed) << pull_end.to_string();
    EXPECT_EQ(pull_end.code(), grant_end.code())
        << pull_end.to_string() << " / " << grant_end.to_string();
    EXPECT_TRUE(pull_.all().is_open());
  }

  ContextPair pair_;
  Pool source_;
  Pool target_;
  std::vector<uint32_t> blocks_;
  std::vector<uint32_t> other_blocks_;  // all that are not among them
  baton::ReadGrant grant_;
  baton::Pull pull_;
  baton::ProgressWord word_;
};

INSTANTIATE_TEST_SUITE_P(Transports, PullLife, testing::Values("tcp", "loopback"),
                         [](const auto& transport) { return std::string(transport.param); });

void spin(uint64_t count) {
  for (; count > 0; --count) std::atomic_signal_fence(std::memory_order_seq_cst);
}

TEST_P(PullLife, ReaderCancelsAtManyMoments) {
  std::mt19937_64 random(test_seed());
  for (int round = 0; round < 40; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    start("r" + std::to_string(round));
    std::thread ticker([&, layers = random() % 5] {
      for (uint64_t i = 0; i < layers; ++i) word_.tick();
    });
    spin(random() % 20000);
    pull_.cancel("aborted");
    pull_.wait(10000).ignore();
    target_.memory().poison();  // the reader's terminal state: its pages are reused at once
    ticker.join();
    expect_same_end(StatusCode::kCancelled);
    EXPECT_EQ(target_.memory().check_poisoned(0, target_.memory().size()), "");
    expect_quiet();
  }
}

TEST_P(PullLife, SourceCancelsAtManyMoments) {
  std::mt19937_64 random(test_seed() + 1);
  for (int round = 0; round < 40; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    target_.memory().poison();
    const auto expected =
        expected_target(source_, blocks_, target_, blocks_, kTokens, source_.memory().data());
    start("r" + std::to_string(round));
    for (uint64_t i = random() % 5; i > 0; --i) word_.tick();
    spin(random() % 20000);
    grant_.cancel("preempted");
    grant_.wait(10000).ignore();
    source_.memory().fill_pattern(test_seed() + 2);  // the source's terminal state
    expect_same_end(StatusCode::kCancelled);
    // What is there is of the source as it was, or nothing: poison, or the zeros of an answer that
    // was refused half-way.
    const auto bytes = target_.memory().bytes();
    size_t foreign = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
      const bool known =
          bytes[i] == expected[i] || bytes[i] == GuardedBuffer::kPoison || bytes[i] == 0;
      foreign += known ? 0u : 1u;
    }
    EXPECT_EQ(foreign, 0u);
    if (pull_.state() == State::kDone) {
      EXPECT_EQ(compare_bytes(expected, bytes), "");
    }
    expect_quiet();
  }
}

TEST_P(PullLife, BothCancelAtOnce) {
  std::mt19937_64 random(test_seed() + 2);
  for (int round = 0; round < 20; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    start("r" + std::to_string(round));
    for (uint64_t i = random() % 5; i > 0; --i) word_.tick();
    std::thread other([this] { grant_.cancel("preempted"); });
    spin(random() % 2000);
    pull_.cancel("aborted");
    other.join();
    expect_same_end(StatusCode::kCancelled);
    expect_quiet();
  }
}

TEST_P(PullLife, SourceCancelsWhatNobodyHasPulled) {
  offer("r", blocks_, 0);
  const auto offered = require(pair_.decode().wait_offer("r", 10000), "wait_offer");
  grant_.cancel("not wanted");
  EXPECT_EQ(grant_.wait(10000).code(), StatusCode::kCancelled);
  EXPECT_TRUE(wait_until([&] {
    return pair_.decode().pull({offered.id, target_.cache(), {blocks_}, 0}).code() ==
           StatusCode::kNotFound;
  }));
  expect_quiet();
}

TEST_P(PullLife, CancelsThatCrossThePull) {
  for (int round = 0; round < 30; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    offer("r" + std::to_string(round), blocks_, 0);
    const auto offered =
        require(pair_.decode().wait_offer("r" + std::to_string(round), 10000), "wait_offer");
    std::thread other([this] { grant_.cancel("not wanted"); });
    auto pull = pair_.decode().pull({offered.id, target_.cache(), {blocks_}, 0});
    if (pull.is_ok()) {
      EXPECT_EQ(pull->wait(10000).code(), StatusCode::kCancelled);
    } else {
      EXPECT_TRUE(pull.code() == StatusCode::kNotFound || pull.code() == StatusCode::kCancelled)
          << pull.status().to_string();
    }
    other.join();
    EXPECT_EQ(grant_.wait(10000).code(), StatusCode::kCancelled);
  }
  expect_quiet();
}

TEST_P(PullLife, DeadlineEndsBothSidesAndTheGates) {
  start("r", 300);
  word_.tick();
  ASSERT_TRUE(pull_.gate(0).wait(10000).is_ok());
  EXPECT_EQ(pull_.gate(3).wait(10000).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(pull_.wait(10000).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(grant_.wait(10000).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(pull_.state(), State::kFailed);
  EXPECT_EQ(grant_.state(), State::kFailed);
  expect_quiet();
}

TEST_P(PullLife, DeadlineOfAnOfferThatNobodyPulled) {
  offer("r", blocks_, 200);
  EXPECT_EQ(grant_.wait(10000).code(), StatusCode::kDeadlineExceeded);
  expect_quiet();
}

TEST_P(PullLife, ACancelLeavesOtherHandoffsAlone) {
  start("first");
  auto first_grant = std::move(grant_);
  auto first_pull = std::move(pull_);
  target_.memory().poison();
  begin("second", other_blocks_, 0);
  grant_.cancel("only this one");
  EXPECT_EQ(grant_.wait(10000).code(), StatusCode::kCancelled);
  EXPECT_EQ(pull_.wait(10000).code(), StatusCode::kCancelled);
  const auto expected =
      expected_target(source_, blocks_, target_, blocks_, kTokens, source_.memory().data());
  require_ok(first_grant.seal(), "seal");
  EXPECT_TRUE(first_pull.wait(10000).is_ok()) << first_pull.status().to_string();
  EXPECT_TRUE(first_grant.wait(10000).is_ok()) << first_grant.status().to_string();
  EXPECT_EQ(compare_bytes(expected, target_.memory().bytes()), "");
}

TEST_P(PullLife, AClosedReaderEndsTheSource) {
  start("r");
  word_.tick();
  ASSERT_TRUE(pull_.gate(0).wait(10000).is_ok());
  pair_.decode().close(0).ignore();
  EXPECT_TRUE(baton::is_terminal(pull_.state()));
  EXPECT_FALSE(grant_.wait(10000).is_ok());
}

TEST_P(PullLife, AClosedSourceEndsTheReaderAndItsGates) {
  start("r");
  word_.tick();
  ASSERT_TRUE(pull_.gate(0).wait(10000).is_ok());
  pair_.prefill().close(0).ignore();
  EXPECT_TRUE(baton::is_terminal(grant_.state()));
  EXPECT_FALSE(pull_.wait(10000).is_ok());
  EXPECT_FALSE(pull_.gate(3).poll().is_ok());
  EXPECT_TRUE(pull_.gate(3).is_open());
}

TEST_P(PullLife, ALostConnectionIsAPeerLostOnBothSides) {
  start("r");
  word_.tick();
  ASSERT_TRUE(pull_.gate(0).wait(10000).is_ok());
  require_ok(pair_.decode().disconnect(pair_.prefill_peer()), "disconnect");
  EXPECT_EQ(pull_.wait(10000).code(), StatusCode::kPeerLost) << pull_.status().to_string();
  EXPECT_EQ(grant_.wait(10000).code(), StatusCode::kPeerLost) << grant_.status().to_string();
}

TEST_P(PullLife, ASectionClosesAtManyMoments) {
  std::mt19937_64 random(test_seed());
  for (int round = 0; round < 20; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    start("r" + std::to_string(round));
    const bool is_target = round % 2 == 0;
    std::thread sealer([this] { grant_.seal().ignore(); });
    spin(random() % 40000);
    Pool& closed = is_target ? target_ : source_;
    closed.unpublish();
    closed.memory().poison();  // it is the caller's alone
    sealer.join();
    expect_same_end(StatusCode::kCancelled);
    EXPECT_EQ(closed.memory().check_poisoned(0, closed.memory().size()), "");
    source_.memory().fill_pattern(test_seed());
    closed.publish(is_target ? pair_.decode() : pair_.prefill(), "kv");
    baton::Context& other = is_target ? pair_.prefill() : pair_.decode();
    const baton::PeerId peer = is_target ? pair_.decode_peer() : pair_.prefill_peer();
    ASSERT_TRUE(wait_until([&] { return !other.describe_peer(peer)->caches.empty(); }));
  }
}

TEST_P(PullLife, WrongCallsSayWhy) {
  offer("r", blocks_, 0);
  const auto offered = require(pair_.decode().wait_offer("r", 10000), "wait_offer");
  EXPECT_EQ(pair_.decode().push({offered.id, target_.cache(), {blocks_}, 0}).code(),
            StatusCode::kInvalidArgument);
  baton::RawRequest raw;
  raw.grant = offered.id;
  EXPECT_EQ(pair_.decode().read(raw).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(pair_.decode().pull({offered.id, target_.cache(), {{1, 2}}, 0}).code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(pair_.decode().pull({offered.id, baton::CacheId(77), {blocks_}, 0}).code(),
            StatusCode::kMismatch);
  auto pull = require(pair_.decode().pull({offered.id, target_.cache(), {blocks_}, 0}), "pull");
  EXPECT_EQ(pair_.decode().pull({offered.id, target_.cache(), {blocks_}, 0}).code(),
            StatusCode::kFailedPrecondition);
  baton::ReadGrantRequest request;
  request.peer = pair_.decode_peer();
  request.cache = source_.cache();
  request.target_cache = "other";
  request.tokens = kTokens;
  request.block_lists = {blocks_};
  EXPECT_EQ(pair_.prefill().offer_read(request).code(), StatusCode::kNotFound);
  request.target_cache = "kv";
  request.tokens = {0, 16 * 33};
  EXPECT_EQ(pair_.prefill().offer_read(request).code(), StatusCode::kOutOfRange);
  request.tokens = {5, 5};
  EXPECT_EQ(pair_.prefill().offer_read(request).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(grant_.submit_chunk({{3, 9}, nullptr, 0}).code(), StatusCode::kInvalidArgument);
  require_ok(grant_.seal(), "seal");
  EXPECT_TRUE(pull.wait(10000).is_ok()) << pull.status().to_string();
  EXPECT_TRUE(grant_.wait(10000).is_ok()) << grant_.status().to_string();
}

TEST_P(PullLife, HandlesThatGoCancel) {
  start("r");
  const auto id = grant_.id();
  grant_ = baton::ReadGrant();
  EXPECT_EQ(pull_.wait(10000).code(), StatusCode::kCancelled);
  EXPECT_EQ(next_event(pair_.prefill(), EventKind::kGrantEnded).grant, id);
  start("again");
  pull_ = baton::Pull();
  EXPECT_EQ(grant_.wait(10000).code(), StatusCode::kCancelled);
}

}  // namespace
}  // namespace baton_test
