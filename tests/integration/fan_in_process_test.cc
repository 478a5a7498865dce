// Four real processes write to one over tcp; one of them is killed or frozen in the middle.
#include <gtest/gtest.h>

#include <chrono>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "tests/integration/cluster_rig.h"
#include "tests/support/child_process.h"
#include "tests/support/test_main.h"

namespace baton_test {
namespace {

using baton::EventKind;
using baton::State;
using baton::StatusCode;

constexpr uint32_t kWriters = 4;
constexpr uint32_t kBad = 2;
constexpr uint32_t kLayers = 16;
constexpr Transport kTcp{"tcp", "tcp"};

Side make_big_side(baton::HeadRange held, baton::TokenRange tokens) {
  baton::base::Random random(held.first + 1);
  baton::LayerGroup group;
  group.block_tokens = 16;
  group.heads_total = 2 * kWriters;
  group.head_first = held.first;
  group.heads = held.count;
  group.head_elements = 64;
  group.tensors_per_layer = 2;
  for (uint32_t layer = 0; layer < kLayers; ++layer) group.layers.push_back(layer);
  Side side;
  side.section_bytes = {1};
  make_blocks(random, group, tokens, side);
  place_tensors(random, true, group, side);
  side.layout.groups.push_back(std::move(group));
  return side;
}

// 24 MB in all: far more than sockets hold, so that a stopped writer stops in the middle. Every
// process makes the same.
ClusterCase make_big_case() {
  ClusterCase c;
  c.tokens = {0, 45 * 16};
  for (uint32_t rank = 0; rank < kWriters; ++rank)
    c.prefill.push_back(make_big_side({2 * rank, 2}, c.tokens));
  c.decode.push_back(make_big_side({0, 2 * kWriters}, c.tokens));
  c.chunks = {c.tokens};
  return c;
}

void say(const std::string& line) { std::cout << line << std::endl; }

int run_writer(uint32_t number) {
  const ClusterCase layouts = make_big_case();
  Rank rank("writer-" + std::to_string(number), kTcp, nullptr, layouts.prefill[number],
            layouts.tokens, true, 4096);
  auto word = require(rank.context().create_progress_word(), "create_progress_word");
  baton::Transfer transfer;
  say("ADDRESS " + rank.context().address());
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string command;
    uint64_t layers = 0;
    words >> command >> layers;
    if (command == "push") {
      baton::PushRequest push;
      push.grant = require(rank.context().wait_offer("r", 20000), "wait_offer").id;
      push.cache = rank.cache();
      push.block_lists = layouts.prefill[number].blocks;
      transfer = require(rank.context().push(push), "push");
      require_ok(transfer.submit_chunk({layouts.tokens, &word, 0}), "submit_chunk");
      word.advance_to(layers).ignore();
      say("PUSHING");
    } else if (command == "tick") {
      word.advance_to(layers).ignore();
    } else if (command == "wait") {
      const auto end = transfer.wait(30000);
      say("ENDED " + std::string(baton::state_name(transfer.state())) + " " + end.message());
    } else if (command == "exit") {
      return 0;
    }
  }
  return 0;
}

class FanInProcess : public testing::Test {
 protected:
  FanInProcess()
      : layouts_(make_big_case()),
        target_("reader", kTcp, nullptr, layouts_.decode[0], layouts_.tokens, false, 4096) {
    for (uint32_t i = 0; i < kWriters; ++i)
      children_.push_back(ChildProcess::self({"--writer=" + std::to_string(i)}));
  }

  void start(uint32_t deadline_ms, uint64_t layers, uint32_t lease_ms = 0) {
    baton::GrantGroupRequest request;
    request.cache = target_.cache();
    request.tag = "r";
    request.tokens = layouts_.tokens;
    request.block_lists = layouts_.decode[0].blocks;
    request.deadline_ms = deadline_ms;
    request.lease_ms = lease_ms;
    for (auto& child : children_) {
      const std::string address = child.read_line_after("ADDRESS ").value_or("");
      request.writers.push_back({require(target_.context().connect(address), "connect"), "kv"});
    }
    group_ = require(target_.context().grant_group(request), "group");
    for (auto& child : children_) {
      ASSERT_TRUE(child.write_line("push " + std::to_string(layers)));
      ASSERT_TRUE(child.read_line_after("PUSHING").has_value());
    }
  }

  void expect_failure(StatusCode code) {
    EXPECT_EQ(group_.gate(kLayers - 1).wait(15000).code(), code);
    EXPECT_EQ(group_.all().wait(10000).code(), code);
    EXPECT_EQ(group_.wait(15000).code(), code) << group_.status().to_string();
    target_.poison();  // the pages are reused
    EXPECT_EQ(group_.state(), State::kFailed);
    for (uint32_t i = 0; i < kWriters; ++i) EXPECT_TRUE(is_terminal(group_.grant(i)->state()));
  }
  // The writers that live are told, and what they send on does not land.
  void expect_told(uint32_t i) {
    ASSERT_TRUE(children_[i].write_line("tick " + std::to_string(kLayers)));
    ASSERT_TRUE(children_[i].write_line("wait"));
    const auto end = children_[i].read_line_after("ENDED ");
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->find("CANCELLED "), 0u) << *end;
    EXPECT_NE(end->find("writer 2 (peer"), std::string::npos) << *end;
  }

  const ClusterCase layouts_;
  Rank target_;
  std::vector<ChildProcess> children_;
  baton::GrantGroup group_;
};

TEST_F(FanInProcess, EveryByteOfFourWriters) {
  start(60000, kLayers);
  EXPECT_TRUE(group_.wait(30000).is_ok()) << group_.status().to_string();
  EXPECT_EQ(target_.check_model(layouts_.tokens), "");
}

TEST_F(FanInProcess, OneIsKilledInTheMiddle) {
  start(60000, kLayers - 1);
  ASSERT_TRUE(group_.gate(3).wait(20000).is_ok());
  children_[kBad].kill();
  expect_failure(StatusCode::kPeerLost);
  EXPECT_TRUE(group_.gate(0).poll().is_ok());
  for (const uint32_t i : {0u, 1u, 3u}) {
    EXPECT_EQ(group_.grant(i)->status().code(), StatusCode::kCancelled);
    expect_told(i);
  }
  EXPECT_EQ(target_.check_poisoned(), "");
}

// Far before the deadline, and before the frozen one would be found dead.
TEST_F(FanInProcess, OneIsFrozenUntilItsLeaseIsOver) {
  start(60000, kLayers - 1, 2500);
  ASSERT_TRUE(group_.gate(0).wait(20000).is_ok());
  children_[kBad].stop();
  expect_failure(StatusCode::kDeadlineExceeded);
  EXPECT_NE(group_.status().message().find("lease"), std::string::npos)
      << group_.status().to_string();
  for (const uint32_t i : {0u, 1u, 3u}) {
    EXPECT_EQ(group_.grant(i)->status().code(), StatusCode::kCancelled);
    expect_told(i);
  }
  children_[kBad].resume();
  ASSERT_TRUE(children_[kBad].write_line("wait"));
  EXPECT_NE(children_[kBad].read_line_after("ENDED ").value_or("DONE ").find("DONE "), 0u);
  EXPECT_EQ(target_.check_poisoned(), "");
}

TEST_F(FanInProcess, OneIsFrozenUntilTheDeadline) {
  start(2500, kLayers - 1);
  ASSERT_TRUE(group_.gate(0).wait(20000).is_ok());
  children_[kBad].stop();
  expect_failure(StatusCode::kDeadlineExceeded);
  children_[kBad].resume();
  for (auto& child : children_) {
    ASSERT_TRUE(child.write_line("tick " + std::to_string(kLayers)));
    ASSERT_TRUE(child.write_line("wait"));
    const auto end = child.read_line_after("ENDED ");
    ASSERT_TRUE(end.has_value());
    EXPECT_NE(end->find("DONE "), 0u) << *end;
  }
  EXPECT_EQ(target_.check_poisoned(), "");
}

}  // namespace

std::optional<int> run_role(int argc, char** argv) {
  const std::string prefix = "--writer=";
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind(prefix, 0) == 0)
      return run_writer(static_cast<uint32_t>(std::stoul(argument.substr(prefix.size()))));
  }
  return std::nullopt;
}

}  // namespace baton_test

int main(int argc, char** argv) {
  if (const auto status = baton_test::run_role(argc, argv)) return *status;
  return baton_test::run_all_tests(argc, argv);
}
