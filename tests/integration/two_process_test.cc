// Two real processes over tcp: a peer that is killed or frozen in each phase. After every verdict
// the memory is overwritten and the peer goes on: no foreign byte may appear (promises 3 and 4).
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <set>
#include <sstream>

#include "tests/integration/rig.h"
#include "tests/support/child_process.h"
#include "tests/support/test_main.h"
#include "tests/support/test_seed.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::Event;
using baton::EventKind;
using baton::State;
using baton::StatusCode;
using baton::TokenRange;

// 48 MB of KV: far more than sockets hold, so that a stopped peer stops in the middle.
PoolShape big_shape() {
  PoolShape shape;
  shape.layers = 16;
  shape.heads = 8;
  shape.head_elements = 64;
  shape.num_blocks = 128;
  return shape;
}
constexpr TokenRange kTokens{0, 90 * 16};
constexpr uint64_t kOriginal = 11;
constexpr uint64_t kOverwritten = 12;

std::vector<uint32_t> blocks(uint64_t seed) {
  return pick_blocks(90, big_shape().num_blocks, seed);
}

baton::ContextOptions process_options(const std::string& name) {
  baton::ContextOptions options = quiet_options(name);
  options.log_level = baton::LogLevel::kOff;
  options.heartbeat_interval_ms = 500;
  options.peer_dead_after_ms =
      20000;  // so that the deadline, not the heartbeat, ends a frozen peer's hand-off
  return options;
}

int64_t since_ms(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                               start)
      .count();
}

baton::GrantRequest grant_request(baton::PeerId peer, baton::CacheId cache, uint32_t deadline_ms) {
  baton::GrantRequest request;
  request.peer = peer;
  request.cache = cache;
  request.source_cache = "kv";
  request.tag = "r";
  request.tokens = kTokens;
  request.block_lists = {blocks(2)};
  request.deadline_ms = deadline_ms;
  return request;
}

baton::Transfer start_push(baton::Context& context, Pool& source) {
  const auto offer = require(context.wait_offer("r", 20000), "wait_offer");
  baton::PushRequest push;
  push.grant = offer.id;
  push.cache = source.cache();
  push.block_lists = {blocks(1)};
  return require(context.push(push), "push");
}

// ---- roles of the child
// -----------------------------------------------------------------------------------------------

void say(const std::string& line) { std::cout << line << std::endl; }

// Sends; commands: "push N" ticks N layers, "wait", "overwrite", "exit".
int child_prefill() {
  auto context = require(baton::Context::create(process_options("child-prefill")), "create");
  Pool source(big_shape());
  source.memory().fill_pattern(kOriginal);
  source.publish(context, "kv");
  auto word = require(context.create_progress_word(), "create_progress_word");
  baton::Transfer transfer;
  say("ADDRESS " + context.address());
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "push") {
      uint64_t layers = 0;
      words >> layers;
      transfer = start_push(context, source);
      require_ok(transfer.submit_chunk({kTokens, &word, 0}), "submit_chunk");
      say("PUSHING");
      word.advance_to(layers).ignore();
    } else if (command == "wait") {
      transfer.wait(30000).ignore();
      say("ENDED " + std::string(baton::state_name(transfer.state())));
    } else if (command == "overwrite") {
      source.memory().fill_pattern(kOverwritten);
      say("OVERWRITTEN");
    } else if (command == "exit") {
      return 0;
    }
  }
  return 0;
}

// Receives; commands: "grant DEADLINE_MS ADDRESS", "wait", "foreign" (bytes that are neither poison
// nor the original).
int child_decode() {
  auto context = require(baton::Context::create(process_options("child-decode")), "create");
  Pool target(big_shape());
  target.publish(context, "kv");
  baton::Grant grant;
  std::string line;
  say("READY");
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "grant") {
      uint32_t deadline_ms = 0;
      std::string address;
      words >> deadline_ms >> address;
      const auto peer = require(context.connect(address), "connect");
      grant = require(context.grant(grant_request(peer, target.cache(), deadline_ms)), "grant");
      say("GRANTED");
      grant.gate(0).wait(20000).ignore();
      say("FIRST");
    } else if (command == "wait") {
      grant.wait(30000).ignore();
      say("ENDED " + std::string(baton::state_name(grant.state())));
    } else if (command == "foreign") {
      Pool source(big_shape());
      source.memory().fill_pattern(kOriginal);
      const std::vector<uint8_t> before(target.memory().data(),
                                        target.memory().data() + target.memory().size());
      const auto expected =
          expected_target(source, blocks(1), target, blocks(2), kTokens, source.memory().data());
      uint64_t foreign = 0;
      for (size_t i = 0; i < before.size(); ++i) {
        if (before[i] != expected[i] && before[i] != GuardedBuffer::kPoison) ++foreign;
      }
      say("FOREIGN " + std::to_string(foreign));
    } else if (command == "exit") {
      return 0;
    }
  }
  return 0;
}

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

  void grant(uint32_t deadline_ms, uint32_t layers) {
    grant_ = require(context_.grant(grant_request(peer_, target_.cache(), deadline_ms)), "grant");
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
  grant(1500, 16);
  ASSERT_TRUE(grant_.gate(0).wait(20000).is_ok());
  child_.stop();
  if (grant_.state() == State::kDone)
    GTEST_SKIP() << "the whole hand-off was faster than the signal";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(grant_.wait(15000).code(), StatusCode::kDeadlineExceeded)
      << grant_.status().to_string();
  EXPECT_LT(since_ms(start), 1500 + 2000 + 5000);
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
  Pool source(big_shape());
  source.memory().fill_pattern(kOriginal);
  const auto expected =
      expected_target(source, blocks(1), target_, blocks(2), kTokens, source.memory().data());
  EXPECT_EQ(compare_bytes(expected, target_.memory().bytes()), "");
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

  void push(uint32_t deadline_ms, uint32_t layers) {
    ASSERT_TRUE(
        child_.write_line("grant " + std::to_string(deadline_ms) + " " + context_.address()));
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
  push(1500, 1);
  ASSERT_TRUE(child_.read_line_after("FIRST").has_value());
  child_.stop();
  require_ok(word_.advance_to(16), "advance_to");  // more than the sockets hold
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(transfer_.wait(15000).code(), StatusCode::kInDoubt) << transfer_.status().to_string();
  EXPECT_LT(since_ms(start), 1500 + 2000 + 5000);
  source_.memory().fill_pattern(kOverwritten);  // the source is the caller's again
  child_.resume();
  ASSERT_TRUE(child_.write_line("wait"));
  const auto ended = child_.read_line_after("ENDED ");
  ASSERT_TRUE(ended.has_value());
  EXPECT_NE(*ended, "DONE");
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
  const std::string role = argc > 1 ? argv[1] : "";
  if (role == "--role=prefill") return baton_test::child_prefill();
  if (role == "--role=decode") return baton_test::child_decode();
  return baton_test::run_all_tests(argc, argv);
}
