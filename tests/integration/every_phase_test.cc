// Two real processes over tcp: the child is killed or frozen in every phase of a hand-off that is
// pushed or pulled, as its sender and as its receiver. After every verdict the source is
// overwritten and the target's pages are reused; a frozen child then goes on, a killed one is
// started again under its name. No foreign byte may appear, and the next hand-off is exact
// (promises 3 and 4).
#include <gtest/gtest.h>

#include <cinttypes>
#include <cstdio>
#include <tuple>

#include "tests/integration/phase_rig.h"
#include "tests/support/test_main.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::StatusCode;

// ---- the child sends

class SenderInEveryPhase : public EveryPhase {
 protected:
  SenderInEveryPhase()
      : child_(start_child("prefill")),
        context_(require(baton::Context::create(parent_options("parent-decode")), "create")),
        target_(big_shape()) {
    target_.publish(context_, "kv");
    connect();
  }

  void connect() {
    address_ = child_.read_line_after("ADDRESS ").value_or("");
    peer_ = require(context_.connect(address_), "connect");
  }

  baton::Grant grant(uint32_t deadline_ms, const std::string& tag) {
    auto request = grant_request(peer_, target_.cache(), deadline_ms);
    request.tag = tag;
    return require(context_.grant(request), "grant");
  }
  void order_push(uint32_t layers, const std::string& tag = "r") {
    ASSERT_TRUE(child_.write_line("push " + std::to_string(layers) + " " + tag));
    ASSERT_TRUE(child_.read_line_after("PUSHING").has_value());
  }
  void order_offer(uint32_t deadline_ms, uint32_t layers, const std::string& tag) {
    ASSERT_TRUE(child_.write_line("offer " + std::to_string(deadline_ms) + " " +
                                  std::to_string(layers) + " " + tag));
    ASSERT_TRUE(child_.read_line_after("OFFERED").has_value());
  }

  // How many layers are final in the phase.
  static uint32_t layers() {
    switch (phase()) {
      case Phase::kMiddle:
        return 15;
      case Phase::kSealed:
        return 1;
      case Phase::kEnded:
        return 16;
      default:
        return 0;
    }
  }

  // Lead to the phase, and strike. Without end_: there was nobody left. Set has_sent_ when the
  // child holds its end.
  void play_pushed() {
    if (phase() == Phase::kKnown) strike(child_);
    auto made = context_.grant(grant_request(peer_, target_.cache(), deadline_ms()));
    if (phase() != Phase::kKnown)
      require_ok(made.is_ok() ? baton::Status() : made.status(), "grant");
    keep(std::move(made));
    if (phase() == Phase::kOffered) strike(child_);
    if (phase() <= Phase::kOffered) return;
    order_push(layers());
    go_on_and_strike();
  }
  void play_pulled() {
    order_offer(deadline_ms(), layers(), "r");
    has_sent_ = true;
    const auto offer = require(context_.wait_offer("r", 20000), "wait_offer");
    if (phase() == Phase::kOffered) strike(child_);
    auto made = context_.pull({offer.id, target_.cache(), {blocks(2)}, 0});
    if (phase() != Phase::kOffered)
      require_ok(made.is_ok() ? baton::Status() : made.status(), "pull");
    keep(std::move(made));
    if (phase() > Phase::kOffered) go_on_and_strike();
  }
  // A killed peer's end may be known already: then there is nothing to make it with.
  template <typename Handle>
  void keep(baton::Result<Handle> made) {
    if (made.is_ok()) {
      end_ = TargetEnd(std::move(made).value());
      return;
    }
    EXPECT_FALSE(is_frozen());
    EXPECT_TRUE(made.code() == StatusCode::kNotFound || made.code() == StatusCode::kPeerLost ||
                made.code() == StatusCode::kCancelled)
        << made.status().to_string();
  }
  void go_on_and_strike() {
    has_sent_ = true;
    if (phase() == Phase::kMiddle) {
      EXPECT_TRUE(end_.gate(0).wait(20000).is_ok());
    } else if (phase() == Phase::kSealed) {
      EXPECT_TRUE(child_.write_line("seal"));
      EXPECT_TRUE(child_.read_line_after("SEALED").has_value());
    } else if (phase() == Phase::kEnded) {
      EXPECT_TRUE(end_.wait(20000).is_ok());
      EXPECT_TRUE(child_.write_line("wait"));
      EXPECT_EQ(child_.read_line_after("ENDED ").value_or("?"), "DONE");
    }
    strike(child_);
  }

  void expect_end(const baton::Status& end) {
    const auto failure = is_frozen() ? StatusCode::kDeadlineExceeded : StatusCode::kPeerLost;
    if (phase() == Phase::kEnded) {
      EXPECT_TRUE(end.is_ok()) << end.to_string();
    } else if (is_pulled() && phase() == Phase::kOffered && end.code() == StatusCode::kCancelled) {
      EXPECT_FALSE(is_frozen()) << "the offer ended with the peer before the Pull began";
    } else if (phase() != Phase::kSealed || !end.is_ok()) {
      EXPECT_EQ(end.code(), failure) << end.to_string();
    }
  }
  // The child goes on.
  void expect_childs_end(const baton::Status& end) {
    child_.resume();
    if (!has_sent_) return;
    ASSERT_TRUE(child_.write_line("wait"));
    const auto ended = child_.read_line_after("ENDED ");
    ASSERT_TRUE(ended.has_value());
    const bool is_done = *ended == "DONE";
    // The word of a reader that was done comes too late for a source that was frozen meanwhile.
    const bool is_cut_short = is_pulled() && phase() == Phase::kSealed && !is_done;
    EXPECT_TRUE(is_done == end.is_ok() || is_cut_short);
  }

  // Every byte that has come so far, then the pages are another request's.
  void reuse_target() {
    foreign_bytes += count_foreign(target_);
    checked_bytes += target_.memory().size();
    EXPECT_EQ(foreign_bytes, 0u);
    target_.memory().poison();
  }
  void expect_untouched() {
    checked_bytes += target_.memory().size();
    const auto touched = target_.memory().check_poisoned(0, target_.memory().size());
    EXPECT_EQ(touched, "");
    if (!touched.empty()) ++foreign_bytes;
    EXPECT_EQ(target_.memory().check_guards(), "");
  }
  void expect_next(uint64_t seed) {
    baton::Status end;
    if (is_pulled()) {
      order_offer(kLongDeadlineMs, 16, "s");
      end = start_pull(context_, target_, "s").wait(20000);
    } else {
      auto again = grant(kLongDeadlineMs, "s");
      order_push(16, "s");
      end = again.wait(20000);
    }
    EXPECT_TRUE(end.is_ok()) << end.to_string();
    EXPECT_EQ(compare_bytes(big_expected(seed), target_.memory().bytes()), "");
    checked_bytes += target_.memory().size();
  }

  ChildProcess child_;
  baton::Context context_;
  Pool target_;
  std::string address_;
  baton::PeerId peer_;
  TargetEnd end_;
  bool has_sent_ = false;
};

TEST_P(SenderInEveryPhase, EndsTheReceiversSideAndNoForeignByteComes) {
  is_pulled() ? play_pulled() : play_pushed();
  if (end_.is_valid()) {
    const auto end = end_.wait(20000);
    expect_end(end);
    expect_in_time();
    // Of a hand-off that is done the Gate may open a moment later.
    EXPECT_EQ(end_.all().wait(20000).code(), end.code());
    if (end.is_ok()) {
      EXPECT_EQ(compare_bytes(big_expected(), target_.memory().bytes()), "");
    }
    reuse_target();
    if (is_frozen()) expect_childs_end(end);
  }
  if (is_frozen()) {
    ASSERT_TRUE(child_.write_line("overwrite"));
    ASSERT_TRUE(child_.read_line_after("OVERWRITTEN").has_value());
    expect_untouched();
    peer_ = require(context_.connect(address_, 20000), "connect again");
  } else {
    expect_untouched();
    child_ = start_child("prefill");  // of the same name
    connect();
  }
  expect_next(is_frozen() ? kOverwritten : kOriginal);
}

INSTANTIATE_TEST_SUITE_P(Pushed, SenderInEveryPhase,
                         testing::Combine(testing::Values(Phase::kKnown, Phase::kOffered,
                                                          Phase::kStarted, Phase::kMiddle,
                                                          Phase::kSealed, Phase::kEnded),
                                          testing::Values(Fate::kFrozen, Fate::kKilled),
                                          testing::Values(By::kPush)),
                         SenderInEveryPhase::name_of);
INSTANTIATE_TEST_SUITE_P(Pulled, SenderInEveryPhase,
                         testing::Combine(testing::Values(Phase::kOffered, Phase::kStarted,
                                                          Phase::kMiddle, Phase::kSealed,
                                                          Phase::kEnded),
                                          testing::Values(Fate::kFrozen, Fate::kKilled),
                                          testing::Values(By::kPull)),
                         SenderInEveryPhase::name_of);

// ---- the child receives

class ReceiverInEveryPhase : public EveryPhase {
 protected:
  ReceiverInEveryPhase()
      : child_(start_child("decode")),
        context_(require(baton::Context::create(parent_options("parent-prefill")), "create")),
        source_(big_shape()) {
    source_.memory().fill_pattern(kOriginal);
    source_.publish(context_, "kv");
    word_ = require(context_.create_progress_word(), "create_progress_word");
    EXPECT_TRUE(child_.read_line_after("READY").has_value());
  }

  void order_grant(uint32_t deadline_ms, const std::string& tag) {
    ASSERT_TRUE(child_.write_line("grant " + std::to_string(deadline_ms) + " " +
                                  context_.address() + " 0 " + tag));
    ASSERT_TRUE(child_.read_line_after("GRANTED").has_value());
  }
  void order_pull(const std::string& tag) {
    ASSERT_TRUE(child_.write_line("pull " + context_.address() + " " + tag));
    ASSERT_TRUE(child_.read_line_after("PULLING").has_value());
  }
  SourceEnd offer(uint32_t deadline_ms, const std::string& tag) {
    EXPECT_EQ(ask("connect " + context_.address(), "CONNECTED"), "");
    EXPECT_TRUE(wait_until([&] { return !context_.peers().empty(); }));
    const auto peer = context_.peers().front();
    return SourceEnd(require(
        context_.offer_read(read_request(peer, source_.cache(), deadline_ms, tag)), "offer_read"));
  }

  // Lead to the phase, and strike.
  void play_pushed() {
    order_grant(deadline_ms(), "r");
    const auto offer = require(context_.wait_offer("r", 20000), "wait_offer");
    if (phase() == Phase::kOffered) strike(child_);
    baton::PushRequest push;
    push.grant = offer.id;
    push.cache = source_.cache();
    push.block_lists = {blocks(1)};
    auto made = context_.push(push);
    if (!made.is_ok()) {
      // The offer went with the peer: before the push looked for it, or while it was being made.
      EXPECT_TRUE(made.code() == StatusCode::kNotFound || made.code() == StatusCode::kCancelled)
          << made.status().to_string();
      EXPECT_FALSE(is_frozen());
      return;
    }
    end_ = SourceEnd(std::move(made).value());
    if (phase() > Phase::kOffered) go_on_and_strike();
  }
  void play_pulled() {
    end_ = offer(deadline_ms(), "r");
    if (phase() == Phase::kOffered) {
      strike(child_);
      return;
    }
    order_pull("r");
    // The reader's word that it begins is here: nothing but the chunk is missing.
    EXPECT_TRUE(wait_until([&] {
      return context_.dump(baton::DumpFormat::kJson).find("\"what\":\"chunk\"") !=
             std::string::npos;
    }));
    go_on_and_strike();
  }
  void go_on_and_strike() {
    require_ok(end_.submit_chunk({kTokens, &word_, 0}), "submit_chunk");
    if (phase() == Phase::kMiddle || phase() == Phase::kSealed) {
      require_ok(word_.advance_to(phase() == Phase::kMiddle ? 15 : 1), "advance_to");
      EXPECT_TRUE(child_.read_line_after("FIRST").has_value());
    }
    if (phase() == Phase::kSealed) require_ok(end_.seal(), "seal");
    if (phase() == Phase::kEnded) {
      require_ok(word_.advance_to(16), "advance_to");
      EXPECT_TRUE(end_.wait(20000).is_ok());
    }
    strike(child_);
  }

  void expect_end(const baton::Status& end) {
    if (phase() == Phase::kEnded) {
      EXPECT_TRUE(end.is_ok()) << end.to_string();
    } else if (is_pulled()) {
      const auto of_frozen =
          phase() == Phase::kOffered ? StatusCode::kDeadlineExceeded : StatusCode::kInDoubt;
      if (phase() == Phase::kSealed && end.is_ok()) return;
      EXPECT_EQ(end.code(), is_frozen() ? of_frozen : StatusCode::kPeerLost) << end.to_string();
    } else if (phase() == Phase::kOffered && end.code() == StatusCode::kPeerLost) {
      EXPECT_FALSE(is_frozen()) << "gone before the Transfer began: nothing can have arrived";
    } else if (phase() != Phase::kSealed || !end.is_ok()) {
      EXPECT_EQ(end.code(), StatusCode::kInDoubt) << end.to_string();
    }
  }

  std::string ask(const std::string& command, const std::string& answer) {
    EXPECT_TRUE(child_.write_line(command));
    return child_.read_line_after(answer, std::chrono::seconds(40)).value_or("nothing");
  }
  // The child goes on.
  void expect_childs_end(const baton::Status& end) {
    child_.resume();
    const bool has_end = !is_pulled() || phase() != Phase::kOffered;
    const std::string ended = has_end ? ask("wait", "ENDED ") : "no request";
    EXPECT_NE(ended, "nothing");
    if (end.is_ok()) {
      EXPECT_EQ(ended, "DONE");
    }
    // A receiver whose verdict was cut short may have it all: the sender is in doubt, then.
    if (phase() != Phase::kSealed && phase() != Phase::kEnded) {
      EXPECT_NE(ended, "DONE");
    }
    const std::string foreign = ask("foreign", "FOREIGN ");
    EXPECT_EQ(foreign, "0");
    if (foreign != "0") ++foreign_bytes;
    checked_bytes += std::stoull(child_.read_line_after("CHECKED ").value_or("0"));
    EXPECT_EQ(ask("poison", "POISONED"), "");
  }
  void expect_next() {
    SourceEnd again;
    if (is_pulled()) {
      again = offer(kLongDeadlineMs, "s");
      order_pull("s");
    } else {
      order_grant(kLongDeadlineMs, "s");
      again = SourceEnd(start_push(context_, source_, "s"));
    }
    require_ok(again.seal(), "seal");
    EXPECT_TRUE(again.wait(20000).is_ok()) << again.status().to_string();
    EXPECT_EQ(ask("wait", "ENDED "), "DONE");
    EXPECT_EQ(ask("compare " + std::to_string(kOverwritten), "SAME"), "");
    checked_bytes += source_.memory().size();
  }

  ChildProcess child_;
  baton::Context context_;
  Pool source_;
  baton::ProgressWord word_;
  SourceEnd end_;
};

TEST_P(ReceiverInEveryPhase, EndsTheSendersSideAndTheOverwrittenSourceIsNeverDelivered) {
  is_pulled() ? play_pulled() : play_pushed();
  baton::Status end;
  if (end_.is_valid()) {
    end = end_.wait(20000);
    expect_end(end);
    expect_in_time();
  }
  source_.memory().fill_pattern(kOverwritten);
  if (is_frozen()) {
    expect_childs_end(end);
  } else {
    child_ = start_child("decode");  // of the same name
  }
  expect_next();
}

constexpr auto kPhasesOfReceivers = {Phase::kOffered, Phase::kStarted, Phase::kMiddle,
                                     Phase::kSealed, Phase::kEnded};
INSTANTIATE_TEST_SUITE_P(Pushed, ReceiverInEveryPhase,
                         testing::Combine(testing::ValuesIn(kPhasesOfReceivers),
                                          testing::Values(Fate::kFrozen, Fate::kKilled),
                                          testing::Values(By::kPush)),
                         ReceiverInEveryPhase::name_of);
INSTANTIATE_TEST_SUITE_P(Pulled, ReceiverInEveryPhase,
                         testing::Combine(testing::ValuesIn(kPhasesOfReceivers),
                                          testing::Values(Fate::kFrozen, Fate::kKilled),
                                          testing::Values(By::kPull)),
                         ReceiverInEveryPhase::name_of);

// ---- a second process of the same name while the first is there

class NameTakenOver : public SenderInEveryPhase {};

TEST_F(NameTakenOver, ByARunningWriterIsRefusedAndTheHandOffGoesOn) {
  auto grant = this->grant(kLongDeadlineMs, "r");
  order_push(15);
  ASSERT_TRUE(grant.gate(0).wait(20000).is_ok());
  auto second = start_child("prefill");
  const auto refused = context_.connect(second.read_line_after("ADDRESS ").value_or(""), 20000);
  EXPECT_EQ(refused.code(), StatusCode::kAddressInUse) << refused.status().to_string();
  ASSERT_TRUE(child_.write_line("seal"));
  EXPECT_TRUE(grant.wait(20000).is_ok()) << grant.status().to_string();
  EXPECT_EQ(compare_bytes(big_expected(), target_.memory().bytes()), "");
}

TEST_F(NameTakenOver, FromAFrozenWriterWhoseLateBytesNeverLand) {
  auto grant = this->grant(kLongDeadlineMs, "r");
  order_push(15);
  ASSERT_TRUE(grant.gate(0).wait(20000).is_ok());
  child_.stop();
  auto second = start_child("prefill");
  peer_ = require(context_.connect(second.read_line_after("ADDRESS ").value_or(""), 20000),
                  "connect to the second");
  EXPECT_EQ(grant.wait(20000).code(), StatusCode::kPeerLost) << grant.status().to_string();
  reuse_target();
  auto again = this->grant(kLongDeadlineMs, "s");
  // Other bytes than the first one's, which are late.
  ASSERT_TRUE(second.write_line("overwrite"));
  ASSERT_TRUE(second.read_line_after("OVERWRITTEN").has_value());
  child_.resume();  // while the second one sends into the same blocks
  ASSERT_TRUE(second.write_line("push 16 s"));
  EXPECT_TRUE(again.wait(20000).is_ok()) << again.status().to_string();
  EXPECT_EQ(compare_bytes(big_expected(kOverwritten), target_.memory().bytes()), "");
  target_.memory().poison();
  ASSERT_TRUE(child_.write_line("wait"));
  EXPECT_NE(child_.read_line_after("ENDED ").value_or("DONE"), "DONE");
  expect_untouched();
}

class ReceiversNameTakenOver : public ReceiverInEveryPhase {};

TEST_F(ReceiversNameTakenOver, FromAFrozenReceiverWhichNeverSeesTheOverwrittenSource) {
  order_grant(kLongDeadlineMs, "r");
  auto transfer = start_push(context_, source_, "r");
  require_ok(transfer.submit_chunk({kTokens, &word_, 0}), "submit_chunk");
  require_ok(word_.advance_to(15), "advance_to");
  ASSERT_TRUE(child_.read_line_after("FIRST").has_value());
  child_.stop();
  auto first = std::move(child_);
  child_ = start_child("decode");
  order_grant(kLongDeadlineMs, "s");
  EXPECT_EQ(transfer.wait(20000).code(), StatusCode::kInDoubt) << transfer.status().to_string();
  source_.memory().fill_pattern(kOverwritten);
  auto again = start_push(context_, source_, "s");
  require_ok(again.seal(), "seal");
  first.resume();
  EXPECT_TRUE(again.wait(20000).is_ok()) << again.status().to_string();
  EXPECT_EQ(ask("wait", "ENDED "), "DONE");
  EXPECT_EQ(ask("compare " + std::to_string(kOverwritten), "SAME"), "");
  std::swap(first, child_);
  const std::string ended = ask("wait", "ENDED ");
  EXPECT_TRUE(ended == "FAILED" || ended == "CANCELLED") << ended;
  EXPECT_EQ(ask("foreign", "FOREIGN "), "0");
  checked_bytes += std::stoull(child_.read_line_after("CHECKED ").value_or("0"));
}

}  // namespace
}  // namespace baton_test

int main(int argc, char** argv) {
  if (const auto status = baton_test::run_child_role(argc, argv)) return *status;
  const int failed = baton_test::run_all_tests(argc, argv);
  std::printf("bytes checked %" PRIu64 ", foreign %" PRIu64 "\n", baton_test::checked_bytes,
              baton_test::foreign_bytes);
  return failed;
}
