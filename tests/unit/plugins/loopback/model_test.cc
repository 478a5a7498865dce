// The modelled fabric: what each transport does with bytes, immediates, fences and faults.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "baton/plugin/builtin.h"
#include "baton/plugin/loopback.h"
#include "baton/plugin/plugin.h"
#include "tests/unit/plugins/loopback/model_rig.h"

namespace baton_loopback {
namespace {

TEST_F(Model, HardwarePlacesWithoutTheReceiversProgress) {
  open("capabilities=rc");
  std::memset(a_.memory.data(), 0x11, 100);
  ASSERT_EQ(write(100, 5), BATON_RC_OK);
  pass(kMsNs);
  EXPECT_TRUE(arrived(100));
  EXPECT_EQ(b_.memory[100], 0xee);
  uint32_t placed = 0;
  for (const baton_loopback_place& place : places_) {
    EXPECT_EQ(place.rail_tag, 2u);
    EXPECT_EQ(place.grant, 77u);
    EXPECT_EQ(place.is_read, 0u);
    placed += place.length_bytes;
  }
  EXPECT_EQ(placed, 100u);
  EXPECT_TRUE(b_.log().immediates.empty());
  run(kMsNs);
  EXPECT_EQ(b_.log().immediates, (std::vector<uint32_t>{5}));
  EXPECT_EQ(a_.log().ops, (std::map<uint64_t, baton_op_status>{{0, BATON_OP_DONE}}));
}

TEST_F(Model, SoftwareAsksBeforeItPlaces) {
  for (const char* settings : {"capabilities=tcp", "capabilities=shm"}) {
    SCOPED_TRACE(settings);
    open(settings);
    std::memset(a_.memory.data(), 0x11, 100);
    ASSERT_EQ(write(100, 5), BATON_RC_OK);
    pass(kMsNs);
    EXPECT_FALSE(arrived(100));
    // tcp's post is done when it has left, shm's when it was copied.
    progress(a_);
    EXPECT_EQ(a_.log().ops.size(), settings_ == "capabilities=tcp" ? 1u : 0u);
    b_.refuses = true;
    run(kMsNs);
    EXPECT_FALSE(arrived(100));
    EXPECT_EQ(b_.log().immediates, (std::vector<uint32_t>{5}));
    EXPECT_EQ(a_.log().ops.size(), 1u);
    close();
  }
}

TEST_F(Model, AnImmediateWithoutAPostedReceiveBreaksThePath) {
  open("capabilities=rc,receive_depth=2");
  for (int i = 0; i < 3; ++i) ASSERT_EQ(write(10, i), BATON_RC_OK);
  pass(kMsNs);
  progress(a_);
  progress(b_);
  EXPECT_NE(a_.log().broken.find("receiver not ready"), std::string::npos) << a_.log().broken;
  EXPECT_NE(b_.log().broken, "");
}

TEST_F(Model, AReceiveIsPostedAnewWhenItsImmediateWasReported) {
  open("capabilities=rc,receive_depth=2");
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(write(10, i), BATON_RC_OK);
    run(kMsNs);
  }
  EXPECT_EQ(b_.log().immediates.size(), 20u);
  EXPECT_EQ(b_.log().broken, "");
}

TEST_F(Model, SrdPassesPostsInAnyOrderAndEachImmediateComesWithItsOwnBytes) {
  open("capabilities=srd,jitter_ns=100000");
  for (uint32_t i = 0; i < 40; ++i) ASSERT_EQ(write(64, i), BATON_RC_OK);
  run(10 * kMsNs);
  const std::vector<uint32_t> seen = b_.log().immediates;
  ASSERT_EQ(seen.size(), 40u);
  EXPECT_FALSE(std::is_sorted(seen.begin(), seen.end()));
}

TEST_F(Model, NothingOvertakesOnAnOrderedPathThatIsNotConnectedYet) {
  for (const char* settings : {"capabilities=rc", "capabilities=tcp"}) {
    SCOPED_TRACE(settings);
    open(settings, 0);
    open_path(false);
    for (uint32_t i = 0; i < 3; ++i) ASSERT_EQ(write(64, i), BATON_RC_OK);
    run(5'000);  // they have come, and were not taken
    EXPECT_TRUE(b_.log().immediates.empty());
    finish_path();
    for (uint32_t i = 3; i < 6; ++i) ASSERT_EQ(write(64, i), BATON_RC_OK);
    run(kMsNs / 2);
    EXPECT_EQ(b_.log().immediates, (std::vector<uint32_t>{0, 1, 2, 3, 4, 5}));
    close();
  }
}

TEST_F(Model, AStreamWaitsForItsOtherEndWhereHardwareGivesUp) {
  for (const char* settings : {"capabilities=rc", "capabilities=tcp"}) {
    SCOPED_TRACE(settings);
    const bool is_stream = std::strcmp(settings, "capabilities=tcp") == 0;
    open(settings, 0);
    open_path(false);
    ASSERT_EQ(write(64, 0), BATON_RC_OK);
    pass(1'030'000);  // the first is given up now
    finish_path();
    const bool is_accepted = write(64, 1) == BATON_RC_OK;
    run(10 * kMsNs);
    EXPECT_EQ(b_.log().immediates.size(), is_stream && is_accepted ? 2u : 0u);
    EXPECT_EQ(a_.log().broken.empty(), is_stream);
    close();
  }
}

TEST_F(Model, AFlushIsDoneWhenEverythingBeforeItIsPlaced) {
  for (const char* settings : {"capabilities=srd,jitter_ns=300000", "capabilities=tcp"}) {
    open(settings);
    std::memset(a_.memory.data(), 0x22, kBytes);
    for (uint32_t i = 0; i < 10; ++i) ASSERT_EQ(write(200 + i), BATON_RC_OK);
    ASSERT_EQ(plugin().flush(a_.paths[0], 0, 1000), BATON_RC_OK);
    while (a_.log().ops.count(1000) == 0) {
      run(1000);
      if (a_.log().ops.count(1000) != 0) {
        EXPECT_TRUE(arrived(209));
      }
    }
    uint64_t placed = 0;
    for (const baton_loopback_place& place : places_) placed += place.length_bytes;
    EXPECT_EQ(placed, 2045u);
    close();
  }
}

TEST_F(Model, WhatWasSentLandsBehindTheWritersFenceAndNotBehindTheReceivers) {
  open("capabilities=rc,latency_ns=50000");
  std::memset(a_.memory.data(), 0x33, 100);
  ASSERT_EQ(write(100, 1), BATON_RC_OK);
  pass(10'000);  // on the wire
  fence(a_);
  EXPECT_TRUE(a_.log().is_fenced);
  EXPECT_EQ(a_.log().ops[0], BATON_OP_IN_DOUBT);
  pass(kMsNs);
  EXPECT_TRUE(arrived(100));
  std::memset(a_.memory.data(), 0x44, 100);
  open_path();
  ASSERT_EQ(write(100, 2, 1), BATON_RC_OK);
  pass(10'000);
  fence(b_, 1);
  pass(kMsNs);
  EXPECT_FALSE(arrived(100));
  pass(10 * kMsNs);
  progress(a_);
  EXPECT_NE(a_.log(1).broken.find("does not answer"), std::string::npos) << a_.log(1).broken;
}

TEST_F(Model, ASlowFenceLetsBytesLandUntilItEnds) {
  open("capabilities=rc,latency_ns=50000,fence_ns=100000000");
  std::memset(a_.memory.data(), 0x55, 100);
  ASSERT_EQ(write(100, 1), BATON_RC_OK);
  pass(10'000);
  fence(b_);
  EXPECT_FALSE(b_.log().is_fenced);
  pass(60'000);
  EXPECT_TRUE(arrived(100));
  run(200 * kMsNs);
  EXPECT_TRUE(b_.log().is_fenced);
  EXPECT_TRUE(b_.log().immediates.empty());
}

TEST_F(Model, AFenceOfSrdTakesThePathsOfItsEndpointAlong) {
  open("capabilities=srd,endpoints=2", 4);
  fence(a_, 0);
  progress(a_);
  std::vector<bool> broken;
  for (size_t i = 0; i < 4; ++i) broken.push_back(!a_.log(i).broken.empty());
  // Ends alternate between a and b, so a's all have even numbers: one endpoint.
  EXPECT_EQ(broken, (std::vector<bool>{false, true, true, true}));
  open_path();
  ASSERT_EQ(write(10, 1, 4), BATON_RC_OK);
  run(kMsNs);
  EXPECT_EQ(b_.log(4).immediates.size(), 1u);
  fence(a_, 1);  // its endpoint has gone already: nobody else suffers
  progress(a_);
  EXPECT_EQ(a_.log(4).broken, "");
}

TEST_F(Model, HalfDeadPathsDeliverAndSayNothing) {
  for (const char* settings : {"capabilities=rc", "capabilities=tcp"}) {
    open(settings);
    ASSERT_EQ(fault(BATON_LOOPBACK_FAULT_HALF_DEAD, 0), 1u);
    std::memset(a_.memory.data(), 0x66, 100);
    ASSERT_EQ(write(100, 9), BATON_RC_OK);
    run(100 * kMsNs);
    EXPECT_TRUE(arrived(100));
    EXPECT_EQ(b_.log().immediates.size(), 1u);
    EXPECT_TRUE(a_.log().ops.empty());
    EXPECT_EQ(a_.log().broken, "");
    fence(a_);
    EXPECT_EQ(a_.log().ops[0], BATON_OP_IN_DOUBT);
    close();
  }
}

TEST_F(Model, OneWayPathsBreakAfterTheirRetriesWhereThereAreAny) {
  open("capabilities=rc");
  ASSERT_EQ(fault(BATON_LOOPBACK_FAULT_ONE_WAY, 0), 1u);
  ASSERT_EQ(write(100, 9), BATON_RC_OK);
  run(kMsNs / 2);
  EXPECT_EQ(a_.log().broken, "");
  run(2 * kMsNs);
  EXPECT_NE(a_.log().broken, "");
  EXPECT_EQ(b_.log().broken, "");
  EXPECT_TRUE(b_.log().immediates.empty());
}

TEST_F(Model, StallsFullQueuesAndMissingMemoryPass) {
  open("capabilities=rc,max_posts=2");
  ASSERT_EQ(fault(BATON_LOOPBACK_FAULT_STALL, 0, 5 * kMsNs), 1u);
  ASSERT_EQ(write(10, 0), BATON_RC_OK);
  ASSERT_EQ(write(10, 1), BATON_RC_OK);
  EXPECT_EQ(write(10, 2), BATON_RC_AGAIN);
  run(4 * kMsNs);
  EXPECT_TRUE(b_.log().immediates.empty());
  run(2 * kMsNs);
  EXPECT_EQ(b_.log().immediates.size(), 2u);
  ASSERT_EQ(fault(BATON_LOOPBACK_FAULT_FULL, 0, now_ns_ + kMsNs), 1u);
  EXPECT_EQ(write(10, 3), BATON_RC_AGAIN);
  run(2 * kMsNs);
  EXPECT_EQ(write(10, 3), BATON_RC_OK);
  ASSERT_EQ(fault(BATON_LOOPBACK_FAULT_NO_MEMORY, 1, now_ns_ + kMsNs), 1u);
  baton_path_options options{};
  options.struct_size = sizeof options;
  options.stream_fd = -1;
  baton_path* path = nullptr;
  char error[BATON_ERROR_BYTES] = {};
  EXPECT_EQ(plugin().path_open(a_.rail, &options, &path, error), BATON_RC_NO_RESOURCE);
  run(2 * kMsNs);
  open_path();
}

TEST_F(Model, AKeyIsGoodForItsRegistrationAlone) {
  open("capabilities=rc");
  plugin().region_unregister(b_.rail, b_.region);
  b_.region = nullptr;
  ASSERT_EQ(write(10, 1), BATON_RC_OK);
  run(kMsNs);
  EXPECT_NE(a_.log().broken.find("remote access error"), std::string::npos) << a_.log().broken;
  EXPECT_EQ(b_.memory[0], 0xee);
}

TEST_F(Model, ReadsBringTheBytesOfTheMomentAndReportThem) {
  for (const char* settings :
       {"capabilities=rc", "capabilities=srd", "capabilities=tcp", "capabilities=shm"}) {
    SCOPED_TRACE(settings);
    open(settings);
    std::memset(b_.memory.data(), 0x77, 100);
    ASSERT_EQ(write(100, -1, 0, BATON_POST_READ), BATON_RC_OK);
    run(kMsNs);
    EXPECT_EQ(a_.log().ops[0], BATON_OP_DONE);
    EXPECT_EQ(a_.memory[99], 0x77);
    EXPECT_EQ(a_.memory[100], 0xee);
    ASSERT_FALSE(places_.empty());
    EXPECT_EQ(places_.back().is_read, 1u);
    EXPECT_EQ(places_.back().rail_tag, 1u);
    close();
  }
}

TEST_F(Model, ADeadProcessIsNoticedWhereAKernelTells) {
  for (const char* settings : {"capabilities=rc", "capabilities=tcp"}) {
    SCOPED_TRACE(settings);
    open(settings);
    ASSERT_EQ(fault(BATON_LOOPBACK_FAULT_DEAD_RAIL, 2), 1u);
    run(kMsNs);
    EXPECT_EQ(a_.log().broken.empty(), settings_ == "capabilities=rc");
    b_.memory.assign(kBytes, 0xee);
    write(10, 1);
    run(10 * kMsNs);
    EXPECT_EQ(b_.memory[0], 0xee);
    EXPECT_NE(a_.log().broken, "");
    close();
  }
}

TEST_F(Model, SettingsThatItDoesNotKnowAreRefused) {
  baton_loopback_model model;
  baton_loopback_model_init(&model);
  fabric_ = baton_loopback_fabric_create_model(&model);
  for (const char* wrong : {"capabilities=ib", "latency_ns=-1", "receive_depth=65", "speed=9"}) {
    baton_rail_options options{};
    options.struct_size = sizeof options;
    options.settings = wrong;
    options.in_process = fabric_;
    char error[BATON_ERROR_BYTES] = {};
    baton_rail* rail = nullptr;
    EXPECT_EQ(plugin().rail_open(&a_.host, &options, &rail, error), BATON_RC_INVALID) << wrong;
    EXPECT_NE(std::string(error).find(wrong), std::string::npos) << error;
  }
}

}  // namespace
}  // namespace baton_loopback
