// Hand-offs that were cancelled while nobody drives, or answers: their pages stay counted as
// theirs, max_live bounds how many there are, and all of it comes back with the fence.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/integration/hand_off.h"
#include "tests/support/test_seed.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::StatusCode;

constexpr uint32_t kMaxLive = 4;
constexpr uint32_t kBlocks = 8;  // of each hand-off; all of them together are the pool
constexpr baton::TokenRange kTokens{0, kBlocks * 16};

// Turns both data paths while it lives.
class Driver {
 public:
  Driver(baton::Context& one, baton::Context& other)
      : thread_([&] {
          while (!stop_) {
            if (one.progress() + other.progress() == 0) std::this_thread::yield();
          }
        }) {}
  ~Driver() {
    stop_ = true;
    thread_.join();
  }
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

 private:
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

class Quarantine : public testing::TestWithParam<By> {
 protected:
  Quarantine()
      : prefill_(make("prefill", 4096)),
        decode_(make("decode", kMaxLive)),
        source_(PoolShape()),
        target_(PoolShape()) {
    source_.memory().fill_pattern(test_seed());
    source_.publish(prefill_, "kv");
    target_.publish(decode_, "kv");
  }

  static baton::Context make(const std::string& name, uint32_t max_live) {
    baton::ContextOptions options = quiet_options(name);
    options.progress = baton::ProgressMode::kCaller;
    options.max_live = max_live;
    return require(baton::Context::create(options), "create");
  }

  void connect() {
    prefill_peer_ = require(decode_.connect(prefill_.address(), 20000), "connect");
    ASSERT_TRUE(wait_until([&] { return !prefill_.peers().empty(); }));
  }
  HandOffSide side(Pool& pool, baton::Context& context, baton::PeerId peer, uint32_t number) {
    HandOffSide out{&context, peer, &pool, {}};
    for (uint32_t i = 0; i < kBlocks; ++i) out.blocks.push_back(number * kBlocks + i);
    return out;
  }
  HandOff start(uint32_t number) {
    HandOffOptions options;
    options.by = GetParam();
    options.tag = std::to_string(number);
    options.tokens = kTokens;
    return HandOff::make(side(source_, prefill_, prefill_.peers().front(), number),
                         side(target_, decode_, prefill_peer_, number), options);
  }
  std::vector<HandOff> start_all() {
    std::vector<HandOff> all;
    for (uint32_t i = 0; i < kMaxLive; ++i) {
      all.push_back(start(i));
      all.back().submit(1);
    }
    return all;
  }

  // Grants and Pulls share the bound.
  baton::Status try_one_more() {
    baton::GrantRequest request;
    request.peer = prefill_peer_;
    request.cache = target_.cache();
    request.source_cache = "kv";
    request.tokens = kTokens;
    request.block_lists = {side(target_, decode_, prefill_peer_, 0).blocks};
    const auto grant = decode_.grant(request);
    return grant.is_ok() ? baton::Status::ok() : grant.status();
  }

  baton::PeerMetrics of_prefill() const { return decode_.metrics().peers.at(0); }

  baton::Context prefill_;
  baton::Context decode_;
  Pool source_;
  Pool target_;
  baton::PeerId prefill_peer_;
};

TEST_P(Quarantine, IsBoundedAndComesBackWithTheFence) {
  const uint64_t free_slots = decode_.metrics().free_counter_slots;
  std::vector<HandOff> cancelled;
  {
    const Driver driver(prefill_, decode_);
    connect();
    cancelled = start_all();
    for (HandOff& one : cancelled) require_ok(one.target.gate(0).wait(20000), "Gate::wait");
  }
  for (HandOff& one : cancelled) one.target.cancel("aborted");
  for (const HandOff& one : cancelled) EXPECT_EQ(one.target.state(), baton::State::kCancelling);
  EXPECT_EQ(try_one_more().code(), StatusCode::kBusy) << try_one_more().to_string();
  EXPECT_GT(decode_.metrics().busy[static_cast<size_t>(baton::BusyCall::kGrant)], 0u);
  baton::PeerMetrics seen = of_prefill();
  EXPECT_EQ(seen.quarantined_grants, kMaxLive);
  EXPECT_EQ(seen.quarantined_blocks, kMaxLive * kBlocks);
  EXPECT_EQ(seen.quarantined_bytes, target_.memory().size());
  EXPECT_EQ(decode_.metrics().free_counter_slots, free_slots - kMaxLive * 4);

  // The receiver goes on; the sender, as if it were frozen, says nothing.
  for (const HandOff& one : cancelled)
    EXPECT_EQ(one.target.wait(20000).code(), StatusCode::kCancelled);
  target_.memory().poison();
  seen = of_prefill();
  EXPECT_EQ(seen.paths.at(0).fences[static_cast<size_t>(baton::FenceCause::kNotQuiet)], 1u);
  EXPECT_EQ(seen.quarantined_grants + seen.quarantined_blocks + seen.quarantined_bytes, 0u);
  EXPECT_EQ(seen.quarantined_grants_total, kMaxLive);
  EXPECT_EQ(decode_.metrics().live_grants + decode_.metrics().live_transfers, 0u);
  EXPECT_EQ(decode_.metrics().free_counter_slots, free_slots);

  const Driver driver(prefill_, decode_);
  for (const HandOff& one : cancelled) EXPECT_FALSE(one.source.wait(20000).is_ok());
  ASSERT_TRUE(wait_until([&] { return prefill_.peers().empty() && decode_.peers().empty(); }));
  EXPECT_EQ(target_.memory().check_poisoned(0, target_.memory().size()), "");
  connect();
  auto again = start_all();
  for (HandOff& one : again) require_ok(one.word.advance_to(4), "advance_to");
  for (const HandOff& one : again) {
    EXPECT_TRUE(one.target.wait(20000).is_ok()) << one.target.status().to_string();
    EXPECT_TRUE(one.source.wait(20000).is_ok()) << one.source.status().to_string();
  }
  EXPECT_EQ(compare_bytes(source_.memory().bytes(), target_.memory().bytes()), "");
}

INSTANTIATE_TEST_SUITE_P(Tcp, Quarantine, testing::Values(By::kPush, By::kPull),
                         [](const auto& by) {
                           return std::string(by.param == By::kPush ? "Pushed" : "Pulled");
                         });

}  // namespace
}  // namespace baton_test
