#include "src/transport/rail.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "src/base/limits.h"

namespace baton::transport {
namespace {

constexpr uint32_t kUnitBytes = 1u << 20;

// What the plug-in below is and does; it keeps no state of its own.
struct Fake {
  baton_rc open_rc = BATON_RC_OK;
  baton_capabilities capabilities{};
  const baton_host* host = nullptr;
  std::string device;
  std::string settings;
  void* in_process = nullptr;
  int closed = 0;
};
Fake* fake = nullptr;

baton_rc fake_open(const baton_host* host, const baton_rail_options* options, baton_rail** out,
                   char error[BATON_ERROR_BYTES]) {
  fake->host = host;
  fake->device = options->device == nullptr ? "(none)" : options->device;
  fake->settings = options->settings == nullptr ? "(none)" : options->settings;
  fake->in_process = options->in_process;
  if (fake->open_rc != BATON_RC_OK) {
    std::strncpy(error, "as the test wants it", BATON_ERROR_BYTES - 1);
    return fake->open_rc;
  }
  *out = reinterpret_cast<baton_rail*>(fake);
  return BATON_RC_OK;
}

baton_plugin fake_table() {
  baton_plugin table{};
  table.struct_size = sizeof(table);
  table.abi = BATON_PLUGIN_ABI;
  table.name = "fake";
  table.rail_open = fake_open;
  table.rail_close = [](baton_rail*) { ++fake->closed; };
  table.capabilities = [](const baton_rail*, baton_capabilities* out) {
    const size_t room = out->struct_size;
    *out = fake->capabilities;
    out->struct_size = room;
  };
  return table;
}

struct RecordedEvents : RailEvents {
  void on_op_done(uint64_t path, uint64_t op, baton_op_status status) override {
    seen.push_back("op " + std::to_string(path) + " " + std::to_string(op) + " " +
                   std::to_string(status));
  }
  void on_units_arrived(uint64_t path, uint32_t immediate) override {
    seen.push_back("units " + std::to_string(path) + " " + std::to_string(immediate));
  }
  void on_path_broken(uint64_t path, const char* reason) override {
    seen.push_back("broken " + std::to_string(path) + " " + reason);
  }
  void on_fenced(uint64_t path) override { seen.push_back("fenced " + std::to_string(path)); }
  baton_resolved on_resolve(uint64_t path, uint64_t grant, uint64_t key, uint64_t address,
                            uint32_t length, baton_access access) override {
    seen.push_back("resolve " + std::to_string(path) + " " + std::to_string(grant) + " " +
                   std::to_string(key) + " " + std::to_string(address) + " " +
                   std::to_string(length) + " " + std::to_string(access));
    return {this, 1};
  }
  std::vector<std::string> seen;
};

class RailTest : public testing::Test {
 protected:
  RailTest() : table_(fake_table()), logger_(LogLevel::kOff) {
    fake = &fake_;
    fake_.capabilities.immediate_bits = 32;
    fake_.capabilities.max_message_bytes = kUnitBytes;
    fake_.capabilities.max_sources = base::kMaxUnitSources;
    fake_.capabilities.max_posts = 1;
    options_.plugin = "fake";
  }
  ~RailTest() override { fake = nullptr; }

  Result<std::unique_ptr<Rail>> open() {
    return Rail::open(RailIndex(3), &table_, options_, kUnitBytes, &events_, clock_, logger_);
  }

  // Opens, refused with this text, and lets go of what the plug-in had opened.
  void expect_lacking(const std::string& text) {
    const int closed_before = fake_.closed;
    const auto rail = open();
    EXPECT_EQ(rail.status(),
              Status(StatusCode::kUnavailable, "opening rail 3 of plug-in \"fake\": " + text));
    EXPECT_EQ(fake_.closed, closed_before + 1);
  }

  Fake fake_;
  const baton_plugin table_;
  RailOptions options_;
  RecordedEvents events_;
  base::ManualClock clock_{4711};
  base::Logger logger_;
};

TEST_F(RailTest, EveryAnswerOfAPluginHasACode) {
  const struct {
    baton_rc rc;
    StatusCode code;
  } cases[] = {
      {BATON_RC_AGAIN, StatusCode::kBusy},
      {BATON_RC_INVALID, StatusCode::kInvalidArgument},
      {BATON_RC_UNAVAILABLE, StatusCode::kUnavailable},
      {BATON_RC_NO_RESOURCE, StatusCode::kExhausted},
      {BATON_RC_BROKEN, StatusCode::kPathLost},
      {BATON_RC_IO, StatusCode::kIoError},
      {static_cast<baton_rc>(7), StatusCode::kInternal},
  };
  EXPECT_TRUE(status_of(BATON_RC_OK, "a call", "no error").is_ok());
  for (const auto& one : cases) {
    EXPECT_EQ(status_of(one.rc, "a call", "why"), Status(one.code, "a call: why"));
    EXPECT_EQ(status_of(one.rc, "a call", ""), Status(one.code, "a call"));
    EXPECT_EQ(status_of(one.rc, "a call", nullptr), Status(one.code, "a call"));
  }
}

TEST_F(RailTest, OpensWithTheOptionsAndClosesAtItsEnd) {
  options_.device = "eth7";
  options_.settings = "a=1,b=2";
  options_.in_process = this;
  fake_.capabilities.flags = BATON_CAP_READ;
  {
    const auto rail = open();
    ASSERT_TRUE(rail.is_ok()) << rail.status().to_string();
    EXPECT_EQ(fake_.device, "eth7");
    EXPECT_EQ(fake_.settings, "a=1,b=2");
    EXPECT_EQ(fake_.in_process, this);
    EXPECT_EQ((*rail)->index(), RailIndex(3));
    EXPECT_EQ((*rail)->name(), "fake");
    EXPECT_TRUE((*rail)->has(BATON_CAP_READ));
    EXPECT_FALSE((*rail)->has(BATON_CAP_ORDERED));
    EXPECT_EQ(fake_.closed, 0);
  }
  EXPECT_EQ(fake_.closed, 1);
}

TEST_F(RailTest, WhatIsNotSetIsNullToThePlugin) {
  ASSERT_TRUE(open().is_ok());
  EXPECT_EQ(fake_.device, "(none)");
  EXPECT_EQ(fake_.settings, "(none)");
  EXPECT_EQ(fake_.in_process, nullptr);
}

TEST_F(RailTest, ARefusalOfThePluginIsPassedOnAndNothingIsClosed) {
  fake_.open_rc = BATON_RC_NO_RESOURCE;
  EXPECT_EQ(open().status(), Status(StatusCode::kExhausted,
                                    "opening rail 3 of plug-in \"fake\": as the test wants it"));
  EXPECT_EQ(fake_.closed, 0);
}

TEST_F(RailTest, APluginThatCannotCarryAHandoffIsRefused) {
  fake_.capabilities.immediate_bits = 0;
  expect_lacking("its writes carry immediates of 0 bits, 32 are needed");
  fake_.capabilities.immediate_bits = 32;
  fake_.capabilities.max_sources = 15;
  expect_lacking("its writes gather 15 source ranges, 16 are needed");
  fake_.capabilities.max_sources = 16;
  fake_.capabilities.max_message_bytes = kUnitBytes - 1;
  expect_lacking(
      "its longest message has 1048575 bytes, 1048576 are needed (ContextOptions::unit_bytes)");
  fake_.capabilities.max_message_bytes = kUnitBytes;
  EXPECT_TRUE(open().is_ok());
}

TEST_F(RailTest, TheHostTableServesAndPassesReportsOn) {
  const auto rail = open();
  ASSERT_TRUE(rail.is_ok());
  const baton_host& host = *fake_.host;
  EXPECT_EQ(host.now_ns(host.context), 4711);
  EXPECT_NE(host.random(host.context), host.random(host.context));
  void* memory = host.allocate(host.context, 100, 64);
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 64, 0u);
  std::memset(memory, 1, 100);
  host.release(host.context, memory, 100);
  host.op_done(host.context, 7, 8, BATON_OP_IN_DOUBT);
  host.units_arrived(host.context, 7, 9);
  host.path_broken(host.context, 7, "torn");
  host.fenced(host.context, 7);
  const baton_resolved resolved = host.resolve(host.context, 7, 1, 2, 3, 4, BATON_ACCESS_READ);
  EXPECT_EQ(resolved.address, &events_);
  EXPECT_EQ(resolved.ended, 1u);
  EXPECT_EQ(events_.seen, (std::vector<std::string>{"op 7 8 1", "units 7 9", "broken 7 torn",
                                                    "fenced 7", "resolve 7 1 2 3 4 2"}));
}

}  // namespace
}  // namespace baton::transport
