// Pulled hand-offs between real processes over tcp: a source or a reader that is killed or frozen
// in the middle, and several readers of one source. After every end the memory is overwritten and
// the other side goes on: no foreign byte may appear (promises 3 and 4).
#include <gtest/gtest.h>

#include <chrono>
#include <memory>

#include "tests/integration/process_rig.h"
#include "tests/support/child_process.h"
#include "tests/support/test_main.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::EventKind;
using baton::State;
using baton::StatusCode;

// A deadline that is to pass: time enough for the first layer, also on a busy machine.
constexpr uint32_t kShortMs = 3000;

// ---- the parent reads

class PullFromChild : public testing::Test {
 protected:
  PullFromChild()
      : child_(ChildProcess::self({"--role=prefill"})),
        context_(require(baton::Context::create(process_options("parent-reader")), "create")),
        target_(big_shape()) {
    target_.publish(context_, "kv");
    const auto address = child_.read_line_after("ADDRESS ").value_or("");
    peer_ = require(context_.connect(address), "connect");
  }

  void pull(uint32_t deadline_ms, uint32_t layers, uint32_t lease_ms = 0) {
    ASSERT_TRUE(child_.write_line("offer " + std::to_string(deadline_ms) + " " +
                                  std::to_string(layers) + " r " + std::to_string(lease_ms)));
    ASSERT_TRUE(child_.read_line_after("OFFERED").has_value());
    pull_ = start_pull(context_, target_);
  }

  ChildProcess child_;
  baton::Context context_;
  Pool target_;
  baton::PeerId peer_;
  baton::Pull pull_;
};

TEST_F(PullFromChild, EveryByte) {
  pull(30000, 16);
  EXPECT_TRUE(pull_.wait(20000).is_ok()) << pull_.status().to_string();
  EXPECT_EQ(compare_bytes(big_expected(), target_.memory().bytes()), "");
  ASSERT_TRUE(child_.write_line("wait"));
  EXPECT_EQ(child_.read_line_after("ENDED ").value_or("?"), "DONE");
}

TEST_F(PullFromChild, KilledInTheMiddleFailsGatesAndPullAndNothingMovesAfter) {
  pull(30000, 8);
  ASSERT_TRUE(pull_.gate(7).wait(20000).is_ok());
  const auto start = std::chrono::steady_clock::now();
  child_.kill();
  EXPECT_EQ(pull_.gate(15).wait(10000).code(), StatusCode::kPeerLost);
  EXPECT_EQ(pull_.wait(10000).code(), StatusCode::kPeerLost);
  EXPECT_LT(since_ms(start), 10000);
  EXPECT_TRUE(pull_.gate(0).poll().is_ok()) << "a layer that had arrived stays arrived";
  target_.memory().poison();
  EXPECT_EQ(next_event(context_, EventKind::kTransferEnded).peer, peer_);
  EXPECT_EQ(target_.memory().check_poisoned(0, target_.memory().size()), "");
}

TEST_F(PullFromChild, FrozenInTheMiddleEndsAtTheDeadlineAndLateBytesNeverLand) {
  pull(kShortMs, 15);  // all but the last layer, so that it cannot be faster than the signal
  ASSERT_TRUE(pull_.gate(0).wait(20000).is_ok());
  child_.stop();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(pull_.wait(15000).code(), StatusCode::kDeadlineExceeded) << pull_.status().to_string();
  EXPECT_LT(since_ms(start), kShortMs + 2000 + 5000);
  target_.memory().poison();  // the pages are reused
  child_.resume();
  ASSERT_TRUE(child_.write_line("wait"));
  EXPECT_NE(child_.read_line_after("ENDED ").value_or("DONE"), "DONE");
  ASSERT_TRUE(child_.write_line("exit"));
  ASSERT_TRUE(child_.wait_exit().has_value());
  EXPECT_EQ(target_.memory().check_poisoned(0, target_.memory().size()), "");
  EXPECT_EQ(target_.memory().check_guards(), "");
}

TEST_F(PullFromChild, FrozenInTheMiddleEndsWithTheLease) {
  pull(60000, 15, kShortMs);
  ASSERT_TRUE(pull_.gate(0).wait(20000).is_ok());
  child_.stop();
  const auto start = std::chrono::steady_clock::now();
  const auto end = pull_.wait(15000);
  EXPECT_EQ(end.code(), StatusCode::kDeadlineExceeded) << end.to_string();
  EXPECT_NE(end.message().find("lease"), std::string::npos) << end.to_string();
  EXPECT_LT(since_ms(start), kShortMs + 2000 + 5000);
  EXPECT_EQ(pull_.gate(15).poll().code(), StatusCode::kDeadlineExceeded);
  target_.memory().poison();  // the pages are reused
  child_.resume();
  ASSERT_TRUE(child_.write_line("wait"));
  EXPECT_NE(child_.read_line_after("ENDED ").value_or("DONE"), "DONE");
  EXPECT_EQ(target_.memory().check_poisoned(0, target_.memory().size()), "");
}

// ---- the parent is read from

class PullByChild : public testing::Test {
 protected:
  PullByChild()
      : context_(require(baton::Context::create(process_options("parent-source")), "create")),
        source_(big_shape()) {
    source_.memory().fill_pattern(kOriginal);
    source_.publish(context_, "kv");
    word_ = require(context_.create_progress_word(), "create_progress_word");
  }

  struct Reader {
    explicit Reader(const std::string& name)
        : child(ChildProcess::self({"--role=decode", "--name=" + name})) {}
    ChildProcess child;
    baton::ReadGrant grant;
  };

  // A child that pulls, offered once it has connected.
  std::unique_ptr<Reader> reader(const std::string& name, uint32_t deadline_ms,
                                 uint32_t lease_ms = 0) {
    auto made = std::make_unique<Reader>(name);
    EXPECT_TRUE(made->child.read_line_after("READY").has_value());
    EXPECT_TRUE(made->child.write_line("pull " + context_.address()));
    const auto peer = next_event(context_, EventKind::kPeerUp).peer;
    auto request = read_request(peer, source_.cache(), deadline_ms);
    request.lease_ms = lease_ms;
    made->grant = require(context_.offer_read(request), "offer_read");
    require_ok(made->grant.submit_chunk({kTokens, &word_, 0}), "submit_chunk");
    return made;
  }

  static std::string answer(Reader& reader, const std::string& command, const std::string& word) {
    EXPECT_TRUE(reader.child.write_line(command));
    return reader.child.read_line_after(word).value_or("?");
  }

  baton::Context context_;
  Pool source_;
  baton::ProgressWord word_;
};

TEST_F(PullByChild, KilledReaderEndsTheReadGrant) {
  auto one = reader("reader", 30000);
  require_ok(word_.advance_to(8), "advance_to");
  ASSERT_TRUE(one->child.read_line_after("FIRST").has_value());
  const auto start = std::chrono::steady_clock::now();
  one->child.kill();
  EXPECT_EQ(one->grant.wait(10000).code(), StatusCode::kPeerLost)
      << one->grant.status().to_string();
  EXPECT_LT(since_ms(start), 10000);
  EXPECT_EQ(one->grant.state(), State::kFailed);
  EXPECT_TRUE(wait_until([&] { return source_.section_handle().users() == 0; }));
}

TEST_F(PullByChild, FrozenReaderEndsInDoubtAndOverwrittenSourceIsNeverDelivered) {
  auto one = reader("reader", kShortMs);
  require_ok(word_.advance_to(1), "advance_to");
  ASSERT_TRUE(one->child.read_line_after("FIRST").has_value());
  one->child.stop();
  require_ok(word_.advance_to(16), "advance_to");
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(one->grant.wait(15000).code(), StatusCode::kInDoubt) << one->grant.status().to_string();
  EXPECT_LT(since_ms(start), kShortMs + 2000 + 5000);
  source_.memory().fill_pattern(kOverwritten);  // the blocks are the caller's again
  one->child.resume();
  const auto ended = answer(*one, "wait", "ENDED ");
  EXPECT_NE(ended, "DONE");
  EXPECT_NE(ended, "?");
  EXPECT_EQ(answer(*one, "foreign", "FOREIGN "), "0");
}

TEST_F(PullByChild, FrozenReaderEndsWithTheLease) {
  auto one = reader("reader", 60000, kShortMs);
  require_ok(word_.advance_to(1), "advance_to");
  ASSERT_TRUE(one->child.read_line_after("FIRST").has_value());
  one->child.stop();
  const auto start = std::chrono::steady_clock::now();
  const auto end = one->grant.wait(15000);
  EXPECT_EQ(end.code(), StatusCode::kInDoubt) << end.to_string();
  EXPECT_NE(end.message().find("lease"), std::string::npos) << end.to_string();
  EXPECT_LT(since_ms(start), kShortMs + 2000 + 5000);
  source_.memory().fill_pattern(kOverwritten);  // the blocks are the caller's again
  one->child.resume();
  const auto ended = answer(*one, "wait", "ENDED ");
  EXPECT_TRUE(ended == "FAILED" || ended == "CANCELLED") << ended;
  EXPECT_EQ(answer(*one, "foreign", "FOREIGN "), "0");
}

TEST_F(PullByChild, CancelFromTheSourceEndsBothSides) {
  auto one = reader("reader", 30000);
  require_ok(word_.advance_to(8), "advance_to");
  ASSERT_TRUE(one->child.read_line_after("FIRST").has_value());
  one->grant.cancel("the request was aborted");
  EXPECT_EQ(one->grant.wait(10000).code(), StatusCode::kCancelled)
      << one->grant.status().to_string();
  source_.memory().fill_pattern(kOverwritten);
  EXPECT_EQ(answer(*one, "wait", "ENDED "), "CANCELLED");
  EXPECT_EQ(answer(*one, "foreign", "FOREIGN "), "0");
}

// The blocks are held until the last of three has ended.
TEST_F(PullByChild, OfThreeReadersOneCancelsAndOneIsKilled) {
  auto cancels = reader("reader-0", 30000);
  auto dies = reader("reader-1", 30000);
  auto goes_on = reader("reader-2", 30000);
  require_ok(word_.advance_to(2), "advance_to");
  for (auto* one : {&cancels, &dies, &goes_on})
    ASSERT_TRUE((*one)->child.read_line_after("FIRST").has_value());
  ASSERT_TRUE(cancels->child.write_line("cancel"));
  dies->child.kill();
  EXPECT_EQ(cancels->grant.wait(10000).code(), StatusCode::kCancelled);
  EXPECT_EQ(dies->grant.wait(10000).code(), StatusCode::kPeerLost);
  EXPECT_EQ(goes_on->grant.state(), State::kActive);
  EXPECT_TRUE(wait_until([&] { return source_.section_handle().users() == 1; }));
  require_ok(word_.advance_to(16), "advance_to");
  EXPECT_TRUE(goes_on->grant.wait(20000).is_ok()) << goes_on->grant.status().to_string();
  EXPECT_TRUE(wait_until([&] { return source_.section_handle().users() == 0; }));
  source_.memory().fill_pattern(kOverwritten);
  EXPECT_EQ(answer(*goes_on, "wait", "ENDED "), "DONE");
  EXPECT_EQ(answer(*goes_on, "compare " + std::to_string(kOriginal), "SAME"), "");
  EXPECT_EQ(answer(*cancels, "wait", "ENDED "), "CANCELLED");
  EXPECT_EQ(answer(*cancels, "foreign", "FOREIGN "), "0");
}

// It holds up nobody but the blocks, which are the source's again when it is fenced.
TEST_F(PullByChild, OfThreeReadersOneIsFrozen) {
  auto frozen = reader("reader-0", 60000);
  auto second = reader("reader-1", 60000);
  auto third = reader("reader-2", 60000);
  require_ok(word_.advance_to(2), "advance_to");
  for (auto* one : {&frozen, &second, &third})
    ASSERT_TRUE((*one)->child.read_line_after("FIRST").has_value());
  frozen->child.stop();
  require_ok(word_.advance_to(16), "advance_to");
  for (auto* one : {&second, &third}) {
    EXPECT_TRUE((*one)->grant.wait(20000).is_ok()) << (*one)->grant.status().to_string();
    EXPECT_EQ(answer(**one, "wait", "ENDED "), "DONE");
    EXPECT_EQ(answer(**one, "compare " + std::to_string(kOriginal), "SAME"), "");
  }
  EXPECT_EQ(frozen->grant.state(), State::kActive);
  EXPECT_TRUE(wait_until([&] { return source_.section_handle().users() == 1; }));
  frozen->grant.cancel("the request was aborted");
  uint32_t looks = 0;
  for (;; ++looks) {
    const uint64_t users = source_.section_handle().users();
    if (baton::is_terminal(frozen->grant.state())) break;
    ASSERT_EQ(users, 1u) << "given back before the frozen reader was fenced";
  }
  EXPECT_GT(looks, 0u);
  EXPECT_EQ(frozen->grant.wait(0).code(), StatusCode::kInDoubt)
      << frozen->grant.status().to_string();
  EXPECT_TRUE(wait_until([&] { return source_.section_handle().users() == 0; }));
  source_.memory().fill_pattern(kOverwritten);
  frozen->child.resume();
  const auto ended = answer(*frozen, "wait", "ENDED ");
  EXPECT_NE(ended, "DONE");
  EXPECT_NE(ended, "?");
  EXPECT_EQ(answer(*frozen, "foreign", "FOREIGN "), "0");
}

}  // namespace
}  // namespace baton_test

int main(int argc, char** argv) {
  if (const auto status = baton_test::run_child_role(argc, argv)) return *status;
  return baton_test::run_all_tests(argc, argv);
}
