// Two real processes over tcp: SIGKILL in each phase that two_process_test.cc does not have. The
// survivor learns of it at once, by one code, ends what was under way, and goes on with others.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "tests/integration/process_rig.h"
#include "tests/support/child_process.h"
#include "tests/support/test_main.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::EventKind;
using baton::State;
using baton::StatusCode;

constexpr int64_t kSoonMs = 10'000;  // a dead peer is noticed at once; this only bounds the wait

// A TCP connection to 127.0.0.1:`port` is established, as the kernel sees it: the accepting process
// need not have run.
bool is_connected_to(uint16_t port) {
  std::ifstream table("/proc/net/tcp");
  std::string line;
  std::getline(table, line);
  while (std::getline(table, line)) {
    std::istringstream words(line);
    std::string number;
    std::string local;
    std::string remote;
    std::string state;
    words >> number >> local >> remote >> state;
    const size_t colon = remote.find(':');
    if (state == "01" && colon != std::string::npos &&
        std::stoul(remote.substr(colon + 1), nullptr, 16) == port) {
      return true;
    }
  }
  return false;
}

// "baton://127.0.0.1:41873/name?auth=none"
uint16_t port_of(const std::string& address) {
  const size_t colon = address.rfind(':');
  return static_cast<uint16_t>(std::stoul(address.substr(colon + 1)));
}

ChildProcess start_prefill(std::string* address) {
  auto child = ChildProcess::self({"--role=prefill"});
  *address = child.read_line_after("ADDRESS ").value_or("");
  EXPECT_NE(*address, "");
  return child;
}

// ---- hello

TEST(DeathInHello, OfTheListenerFailsTheDial) {
  std::string address;
  ChildProcess child = start_prefill(&address);
  auto context = require(baton::Context::create(process_options("parent")), "create");
  child.stop();  // the kernel accepts, and nobody answers
  const auto start = std::chrono::steady_clock::now();
  std::thread killer([&] {
    EXPECT_TRUE(wait_until([&] { return is_connected_to(port_of(address)); }));
    child.kill();
  });
  const auto peer = context.connect(address, 30000);
  killer.join();
  EXPECT_EQ(peer.code(), StatusCode::kPeerLost) << peer.status().to_string();
  EXPECT_LT(since_ms(start), kSoonMs);
  EXPECT_TRUE(context.peers().empty());
}

TEST(DeathInHello, AFrozenListenerEndsTheDialAtItsTimeout) {
  std::string address;
  ChildProcess child = start_prefill(&address);
  auto context = require(baton::Context::create(process_options("parent")), "create");
  child.stop();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(context.connect(address, 300).code(), StatusCode::kDeadlineExceeded);
  EXPECT_LT(since_ms(start), 300 + kSoonMs);
  child.resume();
  EXPECT_TRUE(context.connect(address, 20000).is_ok()) << "and the next one is well";
}

TEST(DeathInHello, OfTheDialerLeavesTheListenerAsItWas) {
  std::string address;
  ChildProcess listener = start_prefill(&address);
  auto dialer = ChildProcess::self({"--role=decode"});
  ASSERT_TRUE(dialer.read_line_after("READY").has_value());
  listener.stop();
  ASSERT_TRUE(dialer.write_line("connect " + address));
  ASSERT_TRUE(wait_until([&] { return is_connected_to(port_of(address)); }));
  dialer.kill();
  listener.resume();
  // Of the same name as the one that died.
  auto next = ChildProcess::self({"--role=decode"});
  ASSERT_TRUE(next.write_line("grant 30000 " + address));
  ASSERT_TRUE(next.read_line_after("GRANTED").has_value());
  ASSERT_TRUE(listener.write_line("push 16"));
  ASSERT_TRUE(next.write_line("wait"));
  EXPECT_EQ(next.read_line_after("ENDED ").value_or("?"), "DONE");
}

// ---- the parent receives

TEST(DeathOfTheWriter, AfterTheSealLosesTheGrant) {
  std::string address;
  ChildProcess child = start_prefill(&address);
  baton::ContextOptions options = process_options("parent-decode");
  options.progress = baton::ProgressMode::kCaller;  // nothing is received before this says so
  auto context = require(baton::Context::create(options), "create");
  Pool target(big_shape());
  target.publish(context, "kv");
  const auto expected = big_expected();
  const auto peer = require(context.connect(address), "connect");
  auto grant = require(context.grant(grant_request(peer, target.cache(), 30000)), "grant");
  context.progress();
  ASSERT_TRUE(child.write_line("push 1"));
  ASSERT_TRUE(child.read_line_after("PUSHING").has_value());
  ASSERT_TRUE(child.write_line("seal"));
  ASSERT_TRUE(child.read_line_after("SEALED").has_value());
  child.kill();
  const auto end = grant.wait(20000);
  EXPECT_EQ(end.code(), StatusCode::kPeerLost) << "48 MB do not fit into sockets";
  for (uint32_t layer = 0; layer < grant.num_layers(); ++layer)
    EXPECT_TRUE(grant.gate(layer).is_open());
  // Whatever came is what was sent.
  for (size_t i = 0; i < expected.size(); ++i) {
    const uint8_t byte = target.memory().data()[i];
    ASSERT_TRUE(byte == expected[i] || byte == GuardedBuffer::kPoison) << "byte " << i;
  }
  target.memory().poison();
  for (int i = 0; i < 100; ++i) context.progress();
  EXPECT_EQ(target.memory().check_poisoned(0, target.memory().size()), "");
}

// ---- the parent sends

class DeathOfTheReceiver : public testing::Test {
 protected:
  DeathOfTheReceiver()
      : child_(ChildProcess::self({"--role=decode"})),
        context_(require(baton::Context::create(process_options("parent-prefill")), "create")),
        source_(big_shape()) {
    source_.memory().fill_pattern(kOriginal);
    source_.publish(context_, "kv");
    word_ = require(context_.create_progress_word(), "create_progress_word");
    child_.read_line_after("READY");
  }

  void order_grant() { ASSERT_TRUE(child_.write_line("grant 30000 " + context_.address())); }

  void push(uint32_t layers) {
    order_grant();
    transfer_ = start_push(context_, source_);
    require_ok(transfer_.submit_chunk({kTokens, &word_, 0}), "submit_chunk");
    require_ok(word_.advance_to(layers), "advance_to");
  }

  // Another receiver is served by the same Context, over the same memory.
  void expect_life_goes_on() {
    auto next = ChildProcess::self({"--role=decode"});
    ASSERT_TRUE(next.write_line("grant 30000 " + context_.address()));
    auto again = start_push(context_, source_);
    require_ok(again.seal(), "seal");
    EXPECT_TRUE(again.wait(20000).is_ok()) << again.status().to_string();
    ASSERT_TRUE(next.write_line("wait"));
    EXPECT_EQ(next.read_line_after("ENDED ").value_or("?"), "DONE");
    ASSERT_TRUE(next.write_line("foreign"));
    EXPECT_EQ(next.read_line_after("FOREIGN ", std::chrono::seconds(60)).value_or("?"), "0");
  }

  ChildProcess child_;
  baton::Context context_;
  Pool source_;
  baton::ProgressWord word_;
  baton::Transfer transfer_;
};

TEST_F(DeathOfTheReceiver, AfterTheHelloIsAnEvent) {
  ASSERT_TRUE(child_.write_line("connect " + context_.address()));
  ASSERT_TRUE(child_.read_line_after("CONNECTED").has_value());
  const auto peer = next_event(context_, EventKind::kPeerUp).peer;
  child_.kill();
  const auto down = next_event(context_, EventKind::kPeerDown);
  EXPECT_EQ(down.peer, peer);
  EXPECT_EQ(down.status.code(), StatusCode::kPeerLost) << down.status.to_string();
  EXPECT_TRUE(context_.peers().empty());
  EXPECT_EQ(context_.describe_peer(peer).code(), StatusCode::kNotFound);
  expect_life_goes_on();
}

TEST_F(DeathOfTheReceiver, AfterItsOfferTakesTheOfferAway) {
  order_grant();
  const auto offered = next_event(context_, EventKind::kGrantOffered);
  EXPECT_EQ(offered.tag, "r");
  child_.kill();
  next_event(context_, EventKind::kPeerDown);
  EXPECT_EQ(context_.wait_offer("r", 0).code(), StatusCode::kDeadlineExceeded);
  baton::PushRequest late;
  late.grant = offered.grant;
  late.cache = source_.cache();
  late.block_lists = {blocks(1)};
  EXPECT_EQ(context_.push(late).code(), StatusCode::kNotFound);
  expect_life_goes_on();
}

TEST_F(DeathOfTheReceiver, BeforeAnythingTickedIsInDoubt) {
  push(0);
  child_.kill();
  EXPECT_EQ(transfer_.wait(20000).code(), StatusCode::kInDoubt) << transfer_.status().to_string();
  EXPECT_EQ(transfer_.record().units, 0u);
  EXPECT_EQ(transfer_.seal().code(), StatusCode::kCancelled);
  expect_life_goes_on();
}

TEST_F(DeathOfTheReceiver, AfterTheSealAndBeforeItsVerdictIsInDoubt) {
  push(1);
  ASSERT_TRUE(child_.read_line_after("FIRST").has_value());
  child_.stop();  // it will give no verdict
  require_ok(transfer_.seal(), "seal");
  const auto start = std::chrono::steady_clock::now();
  child_.kill();
  EXPECT_EQ(transfer_.wait(20000).code(), StatusCode::kInDoubt) << transfer_.status().to_string();
  EXPECT_LT(since_ms(start), kSoonMs);
  EXPECT_EQ(transfer_.failed_blocks().size(), 90u);
  EXPECT_EQ(next_event(context_, EventKind::kTransferEnded).status.code(), StatusCode::kInDoubt);
  expect_life_goes_on();
}

TEST_F(DeathOfTheReceiver, AfterTheEndHurtsNobody) {
  push(16);
  EXPECT_TRUE(transfer_.wait(20000).is_ok()) << transfer_.status().to_string();
  child_.kill();
  next_event(context_, EventKind::kPeerDown);
  EXPECT_EQ(transfer_.state(), State::kDone);
  EXPECT_TRUE(transfer_.failed_blocks().empty());
  expect_life_goes_on();
}

}  // namespace
}  // namespace baton_test

int main(int argc, char** argv) {
  if (const auto status = baton_test::run_child_role(argc, argv)) return *status;
  return baton_test::run_all_tests(argc, argv);
}
