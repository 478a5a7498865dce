// The modelled fabric: what each transport does with bytes, immediates, fences and faults.
#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "baton/plugin/builtin.h"
#include "baton/plugin/loopback.h"
#include "baton/plugin/plugin.h"

namespace baton_loopback {
namespace {

constexpr int64_t kMsNs = 1'000'000;
constexpr size_t kBytes = 4096;

// One side: a rail, its memory as one region, and what its paths report.
struct Side {
  struct Log {
    std::vector<uint32_t> immediates;
    std::map<uint64_t, baton_op_status> ops;
    std::string broken;
    bool is_fenced = false;
  };

  baton_host host{};
  baton_rail* rail = nullptr;
  std::vector<uint8_t> memory = std::vector<uint8_t>(kBytes, 0xee);
  baton_region* region = nullptr;
  baton_region_key key{};
  std::vector<baton_path*> paths;
  std::vector<Log> logs;
  bool refuses = false;  // resolve()

  Log& log(size_t path = 0) { return logs[path]; }
};

const baton_plugin& plugin() { return *baton_plugin_loopback(); }

class Model : public testing::Test {
 protected:
  void open(const std::string& settings, uint32_t paths = 1) {
    settings_ = settings;
    baton_loopback_model model;
    baton_loopback_model_init(&model);
    model.settings = "latency_ns=1000,jitter_ns=0,bytes_per_us=1000,fence_ns=0,retry_ns=1000000";
    model.context = this;
    model.now_ns = [](void* self) { return static_cast<Model*>(self)->now_ns_; };
    model.wake = [](void*, uint32_t) {};
    model.on_place = [](void* self, const baton_loopback_place* place) {
      static_cast<Model*>(self)->places_.push_back(*place);
    };
    fabric_ = baton_loopback_fabric_create_model(&model);
    for (Side* side : {&a_, &b_}) open_rail(*side);
    for (uint32_t i = 0; i < paths; ++i) open_path();
  }

  void open_rail(Side& side) {
    side.host.struct_size = sizeof side.host;
    side.host.context = &side;
    side.host.now_ns = [](void*) { return int64_t{0}; };
    side.host.op_done = [](void* self, uint64_t path, uint64_t op, baton_op_status status) {
      const bool is_new = static_cast<Side*>(self)->log(path).ops.emplace(op, status).second;
      EXPECT_TRUE(is_new) << "op " << op << " is reported twice";
    };
    side.host.units_arrived = [](void* self, uint64_t path, uint32_t immediate) {
      static_cast<Side*>(self)->log(path).immediates.push_back(immediate);
    };
    side.host.path_broken = [](void* self, uint64_t path, const char* reason) {
      static_cast<Side*>(self)->log(path).broken = reason;
    };
    side.host.fenced = [](void* self, uint64_t path) {
      static_cast<Side*>(self)->log(path).is_fenced = true;
    };
    side.host.resolve = [](void* self, uint64_t, uint64_t, uint64_t, uint64_t address, uint32_t,
                           baton_access) -> baton_resolved {
      Side& owner = *static_cast<Side*>(self);
      if (owner.refuses) return {nullptr, 1};
      return {owner.memory.data() + address, 0};
    };
    baton_rail_options options{};
    options.struct_size = sizeof options;
    const std::string text = settings_ + ",tag=" + (&side == &a_ ? "1" : "2");
    options.settings = text.c_str();
    options.in_process = fabric_;
    char error[BATON_ERROR_BYTES] = {};
    ASSERT_EQ(plugin().rail_open(&side.host, &options, &side.rail, error), BATON_RC_OK) << error;
    ASSERT_EQ(plugin().region_register(side.rail, side.memory.data(), kBytes, 5, &side.region,
                                       &side.key, error),
              BATON_RC_OK);
  }

  // Without the other way, b does not take what a posts yet: finish_path().
  void open_path(bool is_whole = true) {
    uint8_t addresses[2][BATON_MAX_ADDRESS_BYTES];
    uint32_t lengths[2] = {};
    Side* sides[2] = {&a_, &b_};
    char error[BATON_ERROR_BYTES] = {};
    for (int i = 0; i < 2; ++i) {
      baton_path_options options{};
      options.struct_size = sizeof options;
      options.cookie = sides[i]->paths.size();
      options.epoch = ++epoch_;
      options.stream_fd = -1;
      baton_path* path = nullptr;
      ASSERT_EQ(plugin().path_open(sides[i]->rail, &options, &path, error), BATON_RC_OK) << error;
      sides[i]->paths.push_back(path);
      sides[i]->logs.emplace_back();
      ASSERT_EQ(plugin().path_address(path, addresses[i], &lengths[i]), BATON_RC_OK);
    }
    for (int i = 0; i < (is_whole ? 2 : 1); ++i) {
      ASSERT_EQ(
          plugin().path_connect(sides[i]->paths.back(), addresses[1 - i], lengths[1 - i], error),
          BATON_RC_OK)
          << error;
    }
    a_address_.assign(addresses[0], addresses[0] + lengths[0]);
  }
  void finish_path() {
    char error[BATON_ERROR_BYTES] = {};
    const auto length = static_cast<uint32_t>(a_address_.size());
    ASSERT_EQ(plugin().path_connect(b_.paths.back(), a_address_.data(), length, error), BATON_RC_OK)
        << error;
  }

  void TearDown() override { close(); }

  // As if nothing had been opened.
  void close() {
    if (fabric_ == nullptr) return;
    for (Side* side : {&a_, &b_}) {
      if (side->rail == nullptr) continue;
      for (size_t i = 0; i < side->paths.size(); ++i) fence(*side, i);
    }
    run(1000 * kMsNs);
    for (Side* side : {&a_, &b_}) {
      if (side->rail == nullptr) continue;
      for (size_t i = 0; i < side->paths.size(); ++i) {
        EXPECT_TRUE(side->log(i).is_fenced);
        plugin().path_close(side->paths[i]);
      }
      if (side->region != nullptr) plugin().region_unregister(side->rail, side->region);
      plugin().rail_close(side->rail);
    }
    baton_loopback_fabric_destroy(fabric_);
    fabric_ = nullptr;
    a_ = Side();
    b_ = Side();
    next_op_ = 0;
    places_.clear();
  }

  // The fabric's time goes on; nobody calls progress().
  void pass(int64_t ns) {
    const int64_t until_ns = now_ns_ + ns;
    for (int64_t next = baton_loopback_fabric_next_ns(fabric_); next <= until_ns;
         next = baton_loopback_fabric_next_ns(fabric_)) {
      now_ns_ = std::max(now_ns_, next);
      baton_loopback_fabric_run(fabric_);
    }
    now_ns_ = until_ns;
  }
  void progress(Side& side) {
    if (side.rail != nullptr) plugin().progress(side.rail, 1 << 20);
  }
  // Both are driven all the time.
  void run(int64_t ns) {
    const int64_t until_ns = now_ns_ + ns;
    for (;;) {
      progress(a_);
      progress(b_);
      const int64_t next = baton_loopback_fabric_next_ns(fabric_);
      if (next > until_ns) break;
      pass(next - now_ns_);
    }
    now_ns_ = until_ns;
    progress(a_);
    progress(b_);
  }
  void fence(Side& side, size_t path = 0) { plugin().fence(side.paths[path]); }

  // From a to b: memory[0, length) to the same place. Its number is the op's.
  baton_rc write(uint32_t length, int64_t immediate = -1, size_t path = 0,
                 baton_post_kind kind = BATON_POST_WRITE) {
    baton_source source{a_.memory.data(), a_.region, length, 0};
    baton_post post{};
    post.kind = kind;
    post.has_immediate = immediate >= 0 ? 1 : 0;
    post.immediate = static_cast<uint32_t>(immediate);
    post.num_sources = 1;
    post.sources = &source;
    post.op = next_op_;
    post.grant = 77;
    post.target_key = b_.key.key;
    post.target_address = b_.key.base;
    post.length_bytes = length;
    uint32_t accepted = 0;
    const baton_rc rc = plugin().post(a_.paths[path], &post, 1, &accepted);
    if (accepted == 1) ++next_op_;
    return rc;
  }

  uint32_t fault(baton_loopback_fault_kind kind, uint32_t path, int64_t until_ns = INT64_MAX) {
    baton_loopback_fault fault{};
    fault.struct_size = sizeof fault;
    fault.kind = kind;
    fault.path = path;
    fault.rail_tag = path;
    fault.until_ns = until_ns;
    return baton_loopback_fabric_fault(fabric_, &fault);
  }
  bool arrived(uint32_t length) const {
    return std::memcmp(b_.memory.data(), a_.memory.data(), length) == 0;
  }

  std::string settings_;
  int64_t now_ns_ = 0;
  baton_loopback_fabric* fabric_ = nullptr;
  uint64_t epoch_ = 0;
  std::vector<uint8_t> a_address_;  // of the path that was opened last
  uint64_t next_op_ = 0;
  std::vector<baton_loopback_place> places_;
  Side a_;
  Side b_;
};

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
