#include "baton/options.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace baton {
namespace {

ContextOptions good() {
  ContextOptions options;
  options.name = "prefill-0.a_B";
  return options;
}

TEST(ContextOptions, DefaultsAreValid) {
  EXPECT_TRUE(ContextOptions().validate().is_ok()) << ContextOptions().validate().to_string();
  EXPECT_TRUE(good().validate().is_ok());
}

struct Wrong {
  const char* field;
  std::function<void(ContextOptions&)> change;
  std::vector<std::string> words;  // the value and the rule
};

class WrongOption : public testing::TestWithParam<size_t> {
 public:
  static const std::vector<Wrong>& all() {
    static const std::vector<Wrong> list = {
        {"name", [](auto& o) { o.name = "with space"; }, {"\"with space\"", "letters, digits"}},
        {"name", [](auto& o) { o.name = "slash/"; }, {"\"slash/\"", "letters, digits"}},
        {"name", [](auto& o) { o.name = std::string("nul\0", 4); }, {"letters, digits"}},
        {"name", [](auto& o) { o.name = "\xc3\xa9"; }, {"letters, digits"}},
        {"name", [](auto& o) { o.name.assign(129, 'a'); }, {"129", "at most 128"}},
        {"bind_host", [](auto& o) { o.bind_host.clear(); }, {"empty", "127.0.0.1"}},
        {"rails", [](auto& o) { o.rails.clear(); }, {"empty", "at least one"}},
        {"rails[1].plugin",
         [](auto& o) {
           o.rails.push_back({});
           o.rails[1].plugin.clear();
         },
         {"empty", "plug-in"}},
        {"rails", [](auto& o) { o.rails.resize(257); }, {"257", "at most 256"}},
        {"rails[0].device",
         [](auto& o) { o.rails[0].device = "eth0\n"; },
         {"eth0?", "control characters"}},
        {"rails[0].device",
         [](auto& o) { o.rails[0].device.assign(256, 'x'); },
         {"xxx", "at most 255"}},
        {"default_deadline_ms",
         [](auto& o) { o.default_deadline_ms = 86'400'001; },
         {"86400001", "a day"}},
        {"default_lease_ms",
         [](auto& o) { o.default_lease_ms = 86'400'001; },
         {"86400001", "a day"}},
        {"heartbeat_interval_ms",
         [](auto& o) { o.heartbeat_interval_ms = 0; },
         {"0", "at least 1"}},
        {"connect_timeout_ms", [](auto& o) { o.connect_timeout_ms = 0; }, {"0", "at least 1"}},
        {"default_deadline_ms", [](auto& o) { o.default_deadline_ms = 0; }, {"0", "at least 1"}},
        {"peer_dead_after_ms",
         [](auto& o) { o.peer_dead_after_ms = 1999; },
         {"1999", "two heartbeats", "1000"}},
        {"peer_dead_after_ms", [](auto& o) { o.peer_dead_after_ms = 0; }, {"0", "two heartbeats"}},
        {"default_lease_ms",
         [](auto& o) { o.default_lease_ms = 2001; },
         {"2001", "two heartbeats", "1000"}},
        {"default_lease_ms", [](auto& o) { o.default_lease_ms = 0; }, {"0", "two heartbeats"}},
        {"unit_bytes", [](auto& o) { o.unit_bytes = 4095; }, {"4095", "4096 to 16777216"}},
        {"unit_bytes", [](auto& o) { o.unit_bytes = 16777217; }, {"16777217", "4096"}},
        {"max_submissions", [](auto& o) { o.max_submissions = 0; }, {"0", "power of two"}},
        {"max_submissions", [](auto& o) { o.max_submissions = 1; }, {"1", "2 to 65536"}},
        {"max_submissions", [](auto& o) { o.max_submissions = 1u << 17; }, {"131072", "65536"}},
        {"max_submissions", [](auto& o) { o.max_submissions = 1u << 31; }, {"2147483648", "65536"}},
        {"max_submissions", [](auto& o) { o.max_submissions = 48; }, {"48", "power of two"}},
        {"max_events", [](auto& o) { o.max_events = 1; }, {"1", "2 to 1048576"}},
        {"max_events", [](auto& o) { o.max_events = 1u << 21; }, {"2097152", "1048576"}},
        {"max_events", [](auto& o) { o.max_events = 65535; }, {"65535", "power of two"}},
        {"max_live", [](auto& o) { o.max_live = 0; }, {"0", "1 to 65536"}},
        {"max_live", [](auto& o) { o.max_live = 65537; }, {"65537", "1 to 65536"}},
    };
    return list;
  }
};

TEST_P(WrongOption, IsNamedWithItsValueAndTheRule) {
  const Wrong& wrong = all()[GetParam()];
  ContextOptions options = good();
  wrong.change(options);
  const Status status = options.validate();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  const std::string begin = std::string("ContextOptions::") + wrong.field + " is ";
  EXPECT_EQ(status.message().rfind(begin, 0), 0u) << status.message();
  for (const std::string& word : wrong.words) {
    EXPECT_NE(status.message().find(word), std::string::npos)
        << "\"" << word << "\" is missing in: " << status.message();
  }
}

INSTANTIATE_TEST_SUITE_P(ContextOptions, WrongOption,
                         testing::Range(size_t{0}, WrongOption::all().size()));

TEST(ContextOptions, LimitsThemselvesAreValid) {
  const auto expect_valid = [](const std::function<void(ContextOptions&)>& change) {
    ContextOptions options = good();
    change(options);
    EXPECT_TRUE(options.validate().is_ok()) << options.validate().to_string();
  };
  expect_valid([](auto& o) { o.name.assign(128, 'a'); });
  expect_valid([](auto& o) { o.name.clear(); });
  expect_valid([](auto& o) { o.unit_bytes = 4096; });
  expect_valid([](auto& o) { o.unit_bytes = 16777216; });
  expect_valid([](auto& o) { o.max_submissions = 2; });
  expect_valid([](auto& o) { o.max_events = 2; });
  expect_valid([](auto& o) { o.max_submissions = 1u << 16; });
  expect_valid([](auto& o) { o.max_events = 1u << 20; });
  expect_valid([](auto& o) { o.max_live = 1; });
  expect_valid([](auto& o) { o.max_live = 65536; });
  expect_valid([](auto& o) { o.peer_dead_after_ms = 2000; });
  expect_valid([](auto& o) { o.default_lease_ms = 2002; });
  expect_valid([](auto& o) { o.busy_poll_us = 0; });
}

// Halving, not doubling: nothing overflows.
TEST(ContextOptions, HugeTimesAreValid) {
  ContextOptions options = good();
  options.heartbeat_interval_ms = 43'199'999;
  options.peer_dead_after_ms = UINT32_MAX;
  options.default_lease_ms = 86'400'000;
  options.default_deadline_ms = 86'400'000;
  EXPECT_TRUE(options.validate().is_ok()) << options.validate().to_string();
  options.heartbeat_interval_ms = UINT32_MAX;
  EXPECT_EQ(options.validate().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baton
