// A prefill rank's offers to readers that take them up late, never, or not for long: each job comes
// out once, and its pages go back.
#include "examples/reference_engine/prefill_rank.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "examples/reference_engine/kv_pool.h"
#include "tests/support/wait_until.h"

namespace {

using namespace baton_engine;
using baton::EventKind;
using baton::Status;
using baton::StatusCode;

constexpr uint32_t kBlocks = 8;
constexpr uint32_t kBlockTokens = 16;
constexpr uint64_t kSession = 77;

EngineOptions tiny_options() {
  EngineOptions options;
  options.model = "tiny:7:6:3";
  options.threads = 1;
  return options;
}

// A node of the tiny model with a pool that it publishes.
class Home {
 public:
  explicit Home(const std::string& role) {
    node_ = std::move(EngineNode::create(options_, progress_)).value();
    pool_.emplace(node_->make_pool({kBlockTokens, kBlocks}).value());
    const IndexRange heads = kv_heads_of(node_->model().config(), kAllParts);
    const Status opened = node_->open_context(options_.context_options(role), *pool_, heads, heads);
    EXPECT_TRUE(opened.is_ok()) << opened.to_string();
  }
  // The pool goes before the node does.
  ~Home() { node_->close_context(); }
  Home(const Home&) = delete;
  Home& operator=(const Home&) = delete;

  const EngineOptions& options() const { return options_; }
  Progress& progress() { return progress_; }
  EngineNode& node() { return *node_; }
  baton::Context& context() { return node_->context(); }
  KvPool& pool() { return *pool_; }

 private:
  const EngineOptions options_ = tiny_options();
  Progress progress_{"test", true};
  std::unique_ptr<EngineNode> node_;
  std::optional<KvPool> pool_;
};

class PrefillRankTest : public testing::Test {
 protected:
  PrefillRankTest() { peer_ = decode_.context().connect(prefill_.context().address()).value(); }

  PrefillJob job(uint32_t decode_tp) const {
    PrefillJob job;
    job.key = 5;
    job.request.id = 9;
    job.request.hand_off = HandOff::kPull;
    job.request.tokens.assign(40, 65);
    job.request.session = kSession;
    job.request.decode_tp = decode_tp;
    return job;
  }
  // The decode Context says that it is this rank.
  void say_reader(uint32_t decode_rank) {
    const Status sent = decode_.context().send_message(peer_, kReaderTag,
                                                       encode(ReaderName{kSession, decode_rank}));
    EXPECT_TRUE(sent.is_ok()) << sent.to_string();
  }
  // Hands over the events that have come. True: one of this kind was among them.
  bool take_events(EventKind kind) {
    bool found = false;
    std::vector<baton::Event> events(16);
    while (const size_t count = prefill_.context().poll_events(events)) {
      for (size_t i = 0; i < count; ++i) {
        found |= events[i].kind == kind;
        rank_.on_event(events[i]);
      }
    }
    return found;
  }
  bool await_event(EventKind kind) {
    return baton_test::wait_until([&] { return take_events(kind); });
  }
  // Answers the offer to this decode rank.
  baton::Pull pull(uint32_t decode_rank) {
    const auto offer = decode_.context().wait_offer(grant_tag(kSession, 9, decode_rank), 20'000);
    if (!offer.is_ok()) {
      ADD_FAILURE() << offer.status().to_string();
      return {};
    }
    auto pulled = decode_.context().pull({offer->id, decode_.node().cache().id(), {{0, 1, 2}}});
    EXPECT_TRUE(pulled.is_ok()) << pulled.status().to_string();
    return pulled.is_ok() ? std::move(*pulled) : baton::Pull();
  }
  // The job has come out, once, and holds no page.
  PrefillRecord expect_finished() {
    std::vector<PrefillRank::Finished> finished;
    EXPECT_TRUE(baton_test::wait_until([&] {
      take_events(EventKind::kGrantEnded);
      finished = rank_.take_finished();
      return !finished.empty();
    }));
    EXPECT_FALSE(rank_.is_sending());
    EXPECT_EQ(prefill_.pool().free_blocks(), kBlocks);
    if (finished.size() != 1) {
      ADD_FAILURE() << finished.size() << " records";
      return {};
    }
    EXPECT_EQ(finished[0].key, 5U);
    return finished[0].record;
  }

  Home decode_{"decode"};
  Home prefill_{"prefill"};
  baton::PeerId peer_;
  std::function<bool()> when_asked_ = [] { return false; };  // whether the job is withdrawn
  PrefillRank rank_{prefill_.node(),
                    prefill_.pool(),
                    prefill_.options(),
                    prefill_.progress(),
                    nullptr,
                    [this](const PrefillJob& /*job*/) {
                      take_events(EventKind::kMessage);
                      return when_asked_();
                    }};
};

TEST_F(PrefillRankTest, HoldsThePagesUntilTheReaderHasThem) {
  say_reader(0);
  ASSERT_TRUE(rank_.start(job(1)).value());
  EXPECT_TRUE(rank_.take_finished().empty());
  EXPECT_EQ(prefill_.pool().free_blocks(), kBlocks - 3);
  const baton::Pull pulled = pull(0);
  ASSERT_TRUE(pulled.is_valid());
  EXPECT_TRUE(pulled.wait(20'000).is_ok());
  const PrefillRecord record = expect_finished();
  EXPECT_TRUE(record.status.is_ok()) << record.status.to_string();
  // K and V of 3 heads of 16 bf16 each, of 40 tokens.
  EXPECT_EQ(record.sent_bytes, std::vector<uint64_t>(4, 40 * 2 * 3 * 16 * 2));
  EXPECT_EQ(record.posted_ns.size(), 4U);
}

TEST_F(PrefillRankTest, AnOfferThatNobodyTakesUpEndsWithItsWithdrawal) {
  say_reader(0);
  ASSERT_TRUE(rank_.start(job(1)).value());
  EXPECT_TRUE(rank_.take_finished().empty());
  rank_.withdraw(4);  // another job
  take_events(EventKind::kGrantEnded);
  EXPECT_TRUE(rank_.is_sending());
  rank_.withdraw(5);
  EXPECT_EQ(expect_finished().status.code(), StatusCode::kCancelled);
}

TEST_F(PrefillRankTest, AWithdrawalWhileItComputesEndsTheOffer) {
  say_reader(0);
  ASSERT_TRUE(await_event(EventKind::kMessage));
  when_asked_ = [] { return true; };
  ASSERT_TRUE(rank_.start(job(1)).value());
  EXPECT_EQ(expect_finished().status.code(), StatusCode::kCancelled);
}

TEST_F(PrefillRankTest, AReaderThatNeverSaysWhoItIsIsNotWaitedForOnceWithdrawn) {
  when_asked_ = [] { return true; };
  ASSERT_TRUE(rank_.start(job(1)).value());
  EXPECT_EQ(expect_finished().status.code(), StatusCode::kCancelled);
}

// The first of three readers gives up while the rank still waits for the second: the end of its
// hand-off goes by before the job is among those whose ends are awaited.
TEST_F(PrefillRankTest, AnEndThatComesBeforeAllOffersAreMadeCounts) {
  say_reader(0);
  ASSERT_TRUE(await_event(EventKind::kMessage));
  bool has_ended = false;
  when_asked_ = [&] {
    if (has_ended) return false;
    baton::Pull first = pull(0);
    if (!first.is_valid()) return true;
    first.cancel();
    has_ended = await_event(EventKind::kGrantEnded);
    EXPECT_TRUE(has_ended);
    say_reader(1);
    say_reader(2);
    return false;
  };
  ASSERT_TRUE(rank_.start(job(3)).value());
  EXPECT_TRUE(has_ended);
  EXPECT_EQ(expect_finished().status.code(), StatusCode::kCancelled);
}

// The only reader has all as soon as it is computed: no event of an end is still to come.
TEST_F(PrefillRankTest, AnEndThatComesBeforeItIsSealedCounts) {
  say_reader(0);
  ASSERT_TRUE(await_event(EventKind::kMessage));
  bool has_ended = false;
  when_asked_ = [&] {
    const baton::Pull first = pull(0);
    if (!first.is_valid()) return true;
    has_ended = await_event(EventKind::kGrantEnded);
    return false;
  };
  ASSERT_TRUE(rank_.start(job(1)).value());
  EXPECT_TRUE(has_ended);
  const PrefillRecord record = expect_finished();
  EXPECT_TRUE(record.status.is_ok()) << record.status.to_string();
}

TEST_F(PrefillRankTest, AReaderThatIsGoneEndsItsJob) {
  say_reader(0);
  ASSERT_TRUE(rank_.start(job(1)).value());
  ASSERT_TRUE(decode_.context().disconnect(peer_).is_ok());
  ASSERT_TRUE(await_event(EventKind::kPeerDown));
  EXPECT_EQ(expect_finished().status.code(), StatusCode::kPeerLost);
  // Its name has gone with it.
  when_asked_ = [] { return true; };
  ASSERT_TRUE(rank_.start(job(1)).value());
  EXPECT_EQ(expect_finished().status.code(), StatusCode::kCancelled);
}

}  // namespace
