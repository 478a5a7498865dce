// close() with time to drain, while a hand-off is under way that provably is not done: it ends well
// if it can, and is cancelled when the time is over. Pushed and pulled, closed by either side.
#include <gtest/gtest.h>

#include <thread>
#include <tuple>

#include "tests/integration/hand_off.h"
#include "tests/support/test_seed.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::State;
using baton::StatusCode;

constexpr baton::TokenRange kTokens{0, 256};
constexpr uint32_t kLayers = 4;

enum class Closer { kSource, kTarget };

class Drain : public testing::TestWithParam<std::tuple<const char*, By, Closer>> {
 protected:
  Drain()
      : pair_({std::get<0>(GetParam()), true, test_seed()}),
        source_(PoolShape()),
        target_(PoolShape()) {
    source_.memory().fill_pattern(test_seed());
    source_.publish(pair_.prefill(), "kv");
    target_.publish(pair_.decode(), "kv");
    pair_.connect();
    const auto from = pick_blocks(16, 32, test_seed() + 1);
    const auto to = pick_blocks(16, 32, test_seed() + 2);
    expected_ = expected_target(source_, from, target_, to, kTokens, source_.memory().data());
    HandOffOptions options;
    options.by = std::get<1>(GetParam());
    options.tokens = kTokens;
    handoff_ = HandOff::make({&pair_.prefill(), pair_.decode_peer(), &source_, from},
                             {&pair_.decode(), pair_.prefill_peer(), &target_, to}, options);
    // All but one are final: it cannot be done.
    handoff_.submit(kLayers - 1);
    require_ok(handoff_.target.gate(kLayers - 2).wait(20000), "Gate::wait");
  }

  bool source_closes() const { return std::get<2>(GetParam()) == Closer::kSource; }
  baton::Context& closer() { return source_closes() ? pair_.prefill() : pair_.decode(); }

  // NOT_FOUND as long as calls are taken: nothing is started.
  StatusCode try_call() { return closer().send_message(baton::PeerId(1000), 1, {}).code(); }
  // One more hand-off of the same blocks.
  StatusCode try_offer() {
    HandOffOptions options;
    options.tokens = kTokens;
    const auto blocks = pick_blocks(16, 32, 1);
    if (source_closes()) {
      const HandOffSide side{&closer(), pair_.decode_peer(), &source_, blocks};
      return closer().offer_read(read_request_of(side, options)).code();
    }
    const HandOffSide side{&closer(), pair_.prefill_peer(), &target_, blocks};
    return closer().grant(grant_request_of(side, options)).code();
  }
  void expect_calls_refused() {
    constexpr auto kRefused = StatusCode::kFailedPrecondition;
    EXPECT_EQ(closer().push({baton::GrantId(1), source_.cache(), {}, 0}).code(), kRefused);
    EXPECT_EQ(closer().pull({baton::GrantId(1), target_.cache(), {}, 0}).code(), kRefused);
    EXPECT_EQ(closer().connect(pair_.prefill().address(), 1000).code(), kRefused);
    std::vector<uint8_t> memory(64);
    baton::SectionOptions section;
    section.name = "late";
    section.address = memory.data();
    section.length_bytes = memory.size();
    EXPECT_EQ(closer().register_section(section).code(), kRefused);
    EXPECT_EQ(closer().send_message(baton::PeerId(1), 1, memory).code(), kRefused);
  }

  ContextPair pair_;
  Pool source_;
  Pool target_;
  std::vector<uint8_t> expected_;
  HandOff handoff_;
};

TEST_P(Drain, LetsWorkFinish) {
  baton::Status closed(StatusCode::kInternal, "not yet");
  std::thread closing([&] { closed = closer().close(60000); });
  EXPECT_TRUE(wait_until([&] { return try_call() == StatusCode::kFailedPrecondition; }));
  expect_calls_refused();
  EXPECT_EQ(try_offer(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(handoff_.source.state(), State::kActive);
  EXPECT_EQ(handoff_.target.state(), State::kActive);
  require_ok(handoff_.word.advance_to(kLayers), "advance_to");
  closing.join();
  EXPECT_TRUE(closed.is_ok()) << closed.to_string();
  EXPECT_TRUE(handoff_.target.wait(20000).is_ok()) << handoff_.target.status().to_string();
  EXPECT_TRUE(handoff_.source.wait(20000).is_ok()) << handoff_.source.status().to_string();
  EXPECT_EQ(compare_bytes(expected_, target_.memory().bytes()), "");
  EXPECT_EQ(target_.memory().check_guards(), "");
  expect_calls_refused();
}

TEST_P(Drain, ThatRunsOutOfTimeCancels) {
  EXPECT_EQ(closer().close(50).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(source_closes() ? handoff_.source.state() : handoff_.target.state(), State::kCancelled);
  EXPECT_EQ(handoff_.target.wait(20000).code(), StatusCode::kCancelled)
      << handoff_.target.status().to_string();
  target_.memory().poison();
  EXPECT_EQ(handoff_.source.wait(20000).code(), StatusCode::kCancelled)
      << handoff_.source.status().to_string();
  source_.memory().fill_pattern(test_seed() + 1);
  EXPECT_EQ(handoff_.target.gate(kLayers - 1).wait(20000).code(), StatusCode::kCancelled);
  (source_closes() ? pair_.decode() : pair_.prefill()).close(0).ignore();
  EXPECT_EQ(target_.memory().check_poisoned(0, target_.memory().size()), "");
}

INSTANTIATE_TEST_SUITE_P(All, Drain,
                         testing::Combine(testing::Values("tcp", "loopback"),
                                          testing::Values(By::kPush, By::kPull),
                                          testing::Values(Closer::kSource, Closer::kTarget)),
                         [](const auto& one) {
                           return std::string(std::get<0>(one.param)) +
                                  (std::get<1>(one.param) == By::kPush ? "Pushed" : "Pulled") +
                                  (std::get<2>(one.param) == Closer::kSource ? "BySource"
                                                                             : "ByTarget");
                         });

}  // namespace
}  // namespace baton_test
