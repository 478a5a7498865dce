// Two real processes over tcp: a peer that is killed or frozen in each phase. After every verdict
// the memory is overwritten and the peer goes on: no foreign byte may appear (promises 3 and 4).
#include <gtest/gtest.h>

#include <chrono>
#include <set>

#include "tests/integration/process_rig.h"
#include "tests/support/child_process.h"
#include "tests/support/test_main.h"

namespace baton_test {
namespace {

using baton::Event;
using baton::EventKind;
using baton::State;
using baton::StatusCode;

// A deadline or a lease that is to pass: time enough for the first layer, also on a busy machine.
constexpr uint32_t kShortMs = 3000;

// ---- the parent receives
// ----------------------------------------------------------------------------------------------

class FromChild : public testing::Test {
 protected:
  FromChild()
      : child_(ChildProcess::self({"--role=prefill"})),
        context_(require(baton::Context::create(process_options("parent-decode")), "create")),
        target_(big_shape()) {
    target_.publish(context_, "kv");
    address_ = child_.read_line_after("ADDRESS ").value_or("");
    peer_ = require(context_.connect(address_), "connect");
  }

  void grant(uint32_t deadline_ms, uint32_t layers, uint32_t lease_ms = 0) {
    auto request = grant_request(peer_, target_.cache(), deadline_ms);
    request.lease_ms = lease_ms;
    grant_ = require(context_.grant(request), "grant");
    ASSERT_TRUE(child_.write_line("push " + std::to_string(layers)));
    ASSERT_TRUE(child_.read_line_after("PUSHING").has_value());
  }

  ChildProcess child_;
  baton::Context context_;
  Pool target_;
  std::string address_;
  baton::PeerId peer_;
  baton::Grant grant_;
};

TEST_F(FromChild, KilledInTheMiddleFailsBothGatesAndGrantAndNothingMovesAfter) {
  grant(30000, 8);
  ASSERT_TRUE(grant_.gate(7).wait(20000).is_ok());
  const auto start = std::chrono::steady_clock::now();
  child_.kill();
  EXPECT_EQ(grant_.all().wait(10000).code(), StatusCode::kPeerLost);
  EXPECT_EQ(grant_.gate(15).wait(10000).code(), StatusCode::kPeerLost);
  EXPECT_EQ(grant_.wait(10000).code(), StatusCode::kPeerLost);
  EXPECT_LT(since_ms(start), 10000);
  EXPECT_EQ(grant_.state(), State::kFailed);
  EXPECT_TRUE(grant_.gate(0).poll().is_ok()) << "a layer that had arrived stays arrived";
  target_.memory().poison();
  // The two come from two threads, in either order.
  std::set<EventKind> seen;
  while (seen.size() < 2) {
    const Event event = require(context_.wait_event(20000), "wait_event");
    if (event.kind == EventKind::kGrantEnded || event.kind == EventKind::kPeerDown)
      seen.insert(event.kind);
    EXPECT_EQ(event.peer, peer_);
  }
  EXPECT_EQ(target_.memory().check_poisoned(0, target_.memory().size()), "");
}

TEST_F(FromChild, KilledBeforeItPushes) {
  grant_ = require(context_.grant(grant_request(peer_, target_.cache(), 30000)), "grant");
  child_.kill();
  EXPECT_EQ(grant_.wait(10000).code(), StatusCode::kPeerLost);
  EXPECT_EQ(target_.memory().check_poisoned(0, target_.memory().size()), "");
}

TEST_F(FromChild, KilledBeforeTheGrant) {
  child_.kill();
  EXPECT_EQ(next_event(context_, EventKind::kPeerDown).peer, peer_);
  const auto refused = context_.grant(grant_request(peer_, target_.cache(), 30000));
  EXPECT_EQ(refused.code(), StatusCode::kNotFound);
}

TEST_F(FromChild, KilledAfterTheEndHurtsNobody) {
  grant(30000, 16);
  ASSERT_TRUE(grant_.wait(20000).is_ok());
  child_.kill();
  EXPECT_EQ(next_event(context_, EventKind::kPeerDown).peer, peer_);
  EXPECT_EQ(grant_.state(), State::kDone);
}

TEST_F(FromChild, FrozenInTheMiddleEndsAtTheDeadlineAndLateBytesNeverLand) {
  grant(kShortMs, 15);  // all but the last layer, so that it cannot be faster than the signal
  ASSERT_TRUE(grant_.gate(0).wait(20000).is_ok());
  child_.stop();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(grant_.wait(15000).code(), StatusCode::kDeadlineExceeded)
      << grant_.status().to_string();
  EXPECT_LT(since_ms(start), kShortMs + 2000 + 5000);
  EXPECT_EQ(grant_.state(), State::kFailed);
  target_.memory().poison();  // the pages are reused
  child_.resume();
  ASSERT_TRUE(child_.write_line("wait"));
  const auto ended = child_.read_line_after("ENDED ");
  ASSERT_TRUE(ended.has_value());
  EXPECT_NE(*ended, "DONE");
  ASSERT_TRUE(child_.write_line("exit"));
  ASSERT_TRUE(child_.wait_exit().has_value());
  EXPECT_EQ(target_.memory().check_poisoned(0, target_.memory().size()), "");
  EXPECT_EQ(target_.memory().check_guards(), "");
}

// Long before the deadline, and before the silent peer is taken for dead.
TEST_F(FromChild, FrozenInTheMiddleEndsWithTheLease) {
  grant(60000, 1, kShortMs);
  ASSERT_TRUE(grant_.gate(0).wait(20000).is_ok());
  child_.stop();
  const auto start = std::chrono::steady_clock::now();
  const auto end = grant_.wait(15000);
  EXPECT_EQ(end.code(), StatusCode::kDeadlineExceeded) << end.to_string();
  EXPECT_NE(end.message().find("lease"), std::string::npos) << end.to_string();
  EXPECT_LT(since_ms(start), kShortMs + 2000 + 5000);
  EXPECT_EQ(grant_.gate(1).poll().code(), StatusCode::kDeadlineExceeded);
  target_.memory().poison();
  child_.resume();
  ASSERT_TRUE(child_.write_line("wait"));
  EXPECT_NE(child_.read_line_after("ENDED ").value_or("DONE"), "DONE");
  EXPECT_EQ(target_.memory().check_poisoned(0, target_.memory().size()), "");
}

// Echoes come all the time: a hand-off may last many leases.
TEST_F(FromChild, LeasesGoOnWhileThePeerLives) {
  grant(6000, 1, 2500);
  EXPECT_EQ(grant_.wait(20000).code(), StatusCode::kDeadlineExceeded);
  EXPECT_NE(grant_.status().message().find("deadline"), std::string::npos)
      << grant_.status().to_string();
}

TEST_F(FromChild, RestartedPeerIsUsedAgain) {
  grant(30000, 4);
  child_.kill();
  EXPECT_EQ(grant_.wait(10000).code(), StatusCode::kPeerLost);
  auto second = ChildProcess::self({"--role=prefill"});
  const auto peer =
      require(context_.connect(second.read_line_after("ADDRESS ").value_or("")), "connect");
  auto again = require(context_.grant(grant_request(peer, target_.cache(), 30000)), "grant");
  ASSERT_TRUE(second.write_line("push 16"));
  EXPECT_TRUE(again.wait(20000).is_ok()) << again.status().to_string();
  EXPECT_EQ(compare_bytes(big_expected(), target_.memory().bytes()), "");
}

// ---- the parent sends
// -------------------------------------------------------------------------------------------------

class ToChild : public testing::Test {
 protected:
  ToChild()
      : child_(ChildProcess::self({"--role=decode"})),
        context_(require(baton::Context::create(process_options("parent-prefill")), "create")),
        source_(big_shape()) {
    source_.memory().fill_pattern(kOriginal);
    source_.publish(context_, "kv");
    word_ = require(context_.create_progress_word(), "create_progress_word");
    child_.read_line_after("READY");
  }

  void push(uint32_t deadline_ms, uint32_t layers, uint32_t lease_ms = 0) {
    ASSERT_TRUE(child_.write_line("grant " + std::to_string(deadline_ms) + " " +
                                  context_.address() + " " + std::to_string(lease_ms)));
    transfer_ = start_push(context_, source_);
    require_ok(transfer_.submit_chunk({kTokens, &word_, 0}), "submit_chunk");
    require_ok(word_.advance_to(layers), "advance_to");
  }

  ChildProcess child_;
  baton::Context context_;
  Pool source_;
  baton::ProgressWord word_;
  baton::Transfer transfer_;
};

TEST_F(ToChild, KilledReceiverEndsTheTransferInDoubt) {
  push(30000, 8);
  ASSERT_TRUE(child_.read_line_after("FIRST").has_value());
  const auto start = std::chrono::steady_clock::now();
  child_.kill();
  EXPECT_EQ(transfer_.wait(10000).code(), StatusCode::kInDoubt) << transfer_.status().to_string();
  EXPECT_LT(since_ms(start), 10000);
  EXPECT_EQ(transfer_.state(), State::kFailed);
  EXPECT_EQ(transfer_.failed_blocks().size(), 90u);
  EXPECT_EQ(transfer_.submit_chunk({{0, 1}, nullptr, 0}).code(), StatusCode::kCancelled);
}

TEST_F(ToChild, FrozenReceiverEndsTheTransferAndOverwrittenSourceIsNeverDelivered) {
  push(kShortMs, 1);
  ASSERT_TRUE(child_.read_line_after("FIRST").has_value());
  child_.stop();
  require_ok(word_.advance_to(16), "advance_to");  // more than the sockets hold
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(transfer_.wait(15000).code(), StatusCode::kInDoubt) << transfer_.status().to_string();
  EXPECT_LT(since_ms(start), kShortMs + 2000 + 5000);
  source_.memory().fill_pattern(kOverwritten);  // the source is the caller's again
  child_.resume();
  ASSERT_TRUE(child_.write_line("wait"));
  const auto ended = child_.read_line_after("ENDED ");
  ASSERT_TRUE(ended.has_value());
  EXPECT_NE(*ended, "DONE");
  ASSERT_TRUE(child_.write_line("foreign"));
  EXPECT_EQ(child_.read_line_after("FOREIGN ").value_or("?"), "0");
}

TEST_F(ToChild, FrozenReceiverEndsTheTransferWithTheLease) {
  push(60000, 1, kShortMs);
  ASSERT_TRUE(child_.read_line_after("FIRST").has_value());
  child_.stop();
  const auto start = std::chrono::steady_clock::now();
  const auto end = transfer_.wait(15000);
  EXPECT_EQ(end.code(), StatusCode::kInDoubt) << end.to_string();
  EXPECT_NE(end.message().find("lease"), std::string::npos) << end.to_string();
  EXPECT_LT(since_ms(start), kShortMs + 2000 + 5000);
  source_.memory().fill_pattern(kOverwritten);
  child_.resume();
  ASSERT_TRUE(child_.write_line("foreign"));
  EXPECT_EQ(child_.read_line_after("FOREIGN ").value_or("?"), "0");
}

TEST_F(ToChild, CancelFromTheSenderEndsBothSides) {
  push(30000, 8);
  ASSERT_TRUE(child_.read_line_after("FIRST").has_value());
  transfer_.cancel("the request was aborted");
  EXPECT_EQ(transfer_.wait(10000).code(), StatusCode::kCancelled) << transfer_.status().to_string();
  source_.memory().fill_pattern(kOverwritten);
  ASSERT_TRUE(child_.write_line("wait"));
  EXPECT_EQ(child_.read_line_after("ENDED ").value_or("?"), "CANCELLED");
  ASSERT_TRUE(child_.write_line("foreign"));
  EXPECT_EQ(child_.read_line_after("FOREIGN ").value_or("?"), "0");
}

}  // namespace
}  // namespace baton_test

int main(int argc, char** argv) {
  if (const auto status = baton_test::run_child_role(argc, argv)) return *status;
  return baton_test::run_all_tests(argc, argv);
}
