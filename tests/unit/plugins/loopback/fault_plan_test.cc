#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "baton/plugin/builtin.h"
#include "tests/conformance/connection.h"
#include "tests/support/test_seed.h"

namespace baton_loopback {
namespace {

using baton_conformance::Connection;
using baton_conformance::End;
using baton_conformance::expect_all;
using baton_conformance::expect_equal;
using baton_conformance::Fixture;
using baton_conformance::OpState;
using baton_conformance::Region;

baton_loopback_plan clean_plan() {
  baton_loopback_plan plan;
  baton_loopback_plan_init(&plan);
  return plan;
}

Fixture fixture(const baton_loopback_plan& plan) {
  return {"plan",
          [] {
            return baton_conformance::PluginSource{baton_plugin_loopback(),
                                                   baton_loopback_fabric_create,
                                                   baton_loopback_fabric_destroy};
          },
          baton_conformance::StreamKind::kNone, plan};
}

constexpr uint32_t kRun = 1000;

void write_all(Connection* link, Region* target, std::vector<std::byte>* source, uint32_t count) {
  source->resize(count * kRun);
  baton_conformance::fill_pattern(*source, 1);
  for (uint32_t i = 0; i < count; ++i) {
    link->a.write(*target, i * kRun, source->data() + i * kRun, kRun, i);
  }
}

TEST(FaultPlanTest, ContradictionsAreRefused) {
  baton_loopback_plan plan = clean_plan();
  plan.flags = BATON_CAP_IMM_COVERS_PRIOR;
  EXPECT_EQ(baton_loopback_fabric_create(&plan), nullptr);
  plan = clean_plan();
  plan.delay_min_ns = 2;
  plan.delay_max_ns = 1;
  EXPECT_EQ(baton_loopback_fabric_create(&plan), nullptr);
  plan = clean_plan();
  plan.reorder_percent = 101;
  EXPECT_EQ(baton_loopback_fabric_create(&plan), nullptr);
}

std::vector<uint32_t> arrival_order(uint64_t seed, uint32_t flags) {
  baton_loopback_plan plan = clean_plan();
  plan.seed = seed;
  plan.flags = flags;
  plan.reorder_percent = 70;
  plan.delay_max_ns = 5'000'000;
  Connection link(fixture(plan));
  Region& target = link.b.add_region(kRun * 64);
  std::vector<std::byte> source;
  write_all(&link, &target, &source, 64);
  EXPECT_TRUE(link.drive([&] { return link.b.log().immediates.size() == 64; }, 300));
  return link.b.log().immediates;
}

TEST(FaultPlanTest, TheSameSeedGivesTheSameRunAndAnotherOneAnother) {
  const uint64_t seed = baton_test::test_seed();
  const auto first = arrival_order(seed, 0);
  EXPECT_EQ(first, arrival_order(seed, 0));
  EXPECT_NE(first, arrival_order(seed + 1, 0));
  EXPECT_FALSE(std::is_sorted(first.begin(), first.end()));
  const auto ordered = arrival_order(seed, BATON_CAP_ORDERED);
  EXPECT_TRUE(std::is_sorted(ordered.begin(), ordered.end()));
}

TEST(FaultPlanTest, ADelayHoldsPostsBackUntilTheirTime) {
  baton_loopback_plan plan = clean_plan();
  plan.delay_min_ns = plan.delay_max_ns = 50'000'000;
  Connection link(fixture(plan));
  EXPECT_EQ(link.a.plugin->wait_fd(link.a.rail), -1);
  Region& target = link.b.add_region(kRun);
  std::vector<std::byte> source;
  write_all(&link, &target, &source, 1);
  link.drive_rounds(400);  // 40 ms
  EXPECT_TRUE(link.b.log().immediates.empty());
  link.drive_rounds(110);
  EXPECT_EQ(link.b.log().immediates.size(), 1u);
}

TEST(FaultPlanTest, AStalledPathMovesNothingUntilItsTime) {
  baton_loopback_plan plan = clean_plan();
  plan.stall_path = 0;
  plan.stall_after_posts = 3;
  plan.stall_until_ns = 100'000'000;
  Connection link(fixture(plan));
  Region& target = link.b.add_region(kRun * 8);
  std::vector<std::byte> source;
  write_all(&link, &target, &source, 8);
  link.drive_rounds(500);
  EXPECT_EQ(link.b.log().immediates.size(), 3u);
  link.drive_rounds(600);
  EXPECT_EQ(link.b.log().immediates.size(), 8u);
}

TEST(FaultPlanTest, AKilledPathIsBrokenAtBothEndsBeforeThePost) {
  baton_loopback_plan plan = clean_plan();
  plan.kill_path = 0;
  plan.kill_after_posts = 3;
  Connection link(fixture(plan));
  Region& target = link.b.add_region(kRun * 8);
  std::vector<std::byte> source;
  write_all(&link, &target, &source, 8);
  link.drive_rounds(100);
  EXPECT_EQ(link.b.log().immediates.size(), 3u);
  EXPECT_TRUE(link.a.log().broken);
  EXPECT_TRUE(link.b.log().broken);
  expect_all(target.bytes().subspan(3 * kRun), baton_conformance::kPoison, "from the kill on");
  link.a.fence();
  EXPECT_EQ(link.a.log().count(OpState::kDone), 3u);
  EXPECT_EQ(link.a.log().count(OpState::kInDoubt), 5u);
}

// One end has connected; the other goes before it did. Closed, it may be looked at no more.
TEST(FaultPlanTest, AnEndThatGoesBeforeItConnectsBreaksTheOther) {
  Connection link(fixture(clean_plan()));
  uint8_t address[BATON_MAX_ADDRESS_BYTES];
  uint32_t length = 0;
  char error[BATON_ERROR_BYTES] = {};
  for (End* end : {&link.a, &link.b}) {
    End::OpenPath opened;
    opened.cookie = end->host.add_path();
    baton_path_options options{};
    options.struct_size = sizeof options;
    options.cookie = opened.cookie;
    options.epoch = 77;
    options.stream_fd = -1;
    ASSERT_EQ(end->plugin->path_open(end->rail, &options, &opened.path, error), BATON_RC_OK)
        << error;
    end->paths.push_back(opened);
    ASSERT_EQ(end->plugin->path_address(opened.path, address, &length), BATON_RC_OK);
  }
  ASSERT_EQ(link.a.plugin->path_connect(link.a.paths[1].path, address, length, error), BATON_RC_OK)
      << error;
  link.b.fence(1);
  link.b.plugin->path_close(link.b.paths[1].path);
  link.b.paths.pop_back();
  link.drive_rounds(10);
  EXPECT_TRUE(link.a.log(1).broken);
  EXPECT_NE(link.a.log(1).reason.find("the peer fenced the path"), std::string::npos)
      << link.a.log(1).reason;
  EXPECT_FALSE(link.a.log().broken);
}

TEST(FaultPlanTest, AQuietKillLosesOnlyReports) {
  baton_loopback_plan plan = clean_plan();
  plan.kill_path = 0;
  plan.kill_after_posts = 3;
  plan.kill_mode = BATON_LOOPBACK_KILL_QUIETLY;
  Connection link(fixture(plan));
  Region& target = link.b.add_region(kRun * 8);
  std::vector<std::byte> source;
  write_all(&link, &target, &source, 8);
  link.drive_rounds(100);
  EXPECT_EQ(link.b.log().immediates.size(), 8u);
  expect_equal(target.bytes(), source, "everything is placed");
  EXPECT_EQ(link.a.log().count(OpState::kDone), 3u);
  EXPECT_FALSE(link.a.log().broken);
  link.a.fence();
  EXPECT_EQ(link.a.log().count(OpState::kInDoubt), 5u);
}

TEST(FaultPlanTest, MoreImmediatesThanTheReceiveDepthBreakThePath) {
  baton_loopback_plan plan = clean_plan();
  plan.receive_depth = 4;
  Connection link(fixture(plan));
  Region& target = link.b.add_region(kRun * 8);
  std::vector<std::byte> source;
  write_all(&link, &target, &source, 4);
  link.drive_rounds(10);
  EXPECT_EQ(link.b.log().immediates.size(), 4u);
  EXPECT_FALSE(link.a.log().broken);
  write_all(&link, &target, &source, 5);
  link.drive_rounds(10);
  EXPECT_TRUE(link.a.log().broken);
  EXPECT_TRUE(link.b.log().broken);
  EXPECT_NE(link.a.log().reason.find("receive depth"), std::string::npos);
}

}  // namespace
}  // namespace baton_loopback
