// The fixture of the tests of the modelled fabric: two sides with a rail each, and paths between
// them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "baton/plugin/builtin.h"
#include "baton/plugin/loopback.h"
#include "baton/plugin/plugin.h"

namespace baton_loopback {

inline constexpr int64_t kMsNs = 1'000'000;
inline constexpr size_t kBytes = 4096;

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

inline const baton_plugin& plugin() { return *baton_plugin_loopback(); }

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

}  // namespace baton_loopback
