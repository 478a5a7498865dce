#include "perf/pair/settings.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace baton_perf {
namespace {

TEST(PairSettingsTest, TravelAsJson) {
  PairSettings settings;
  settings.operation = Operation::kRead;
  settings.run_bytes = 4097;
  settings.runs = 3;
  settings.baseline = "tcp";
  settings.footprint_bytes = 1u << 20;
  settings.seed = 99;
  const auto copy = settings_from_json(to_json(settings));
  ASSERT_TRUE(copy.is_ok()) << copy.status().to_string();
  EXPECT_EQ(to_json(*copy), to_json(settings));
}

TEST(PairSettingsTest, WhatAPeerSendsIsChecked) {
  const nlohmann::json wrong = {{"op", "erase"},     {"run_bytes", 0},       {"runs", "many"},
                                {"in_flight", -1},   {"rounds", 0},          {"seconds", 1e9},
                                {"baseline", "udp"}, {"footprint_bytes", 1}, {"hot", 3}};
  for (const auto& [key, value] : wrong.items()) {
    nlohmann::json json = to_json(PairSettings());
    json[key] = value;
    EXPECT_FALSE(settings_from_json(json).is_ok()) << key;
    json.erase(key);
    EXPECT_FALSE(settings_from_json(json).is_ok()) << key;
  }
  EXPECT_FALSE(settings_from_json(nlohmann::json()).is_ok());
  for (const char* key : {"run_bytes", "runs", "rounds", "in_flight", "footprint_bytes", "seed"}) {
    for (const double number : {1.5, -1.0, 1e300}) {
      nlohmann::json json = to_json(PairSettings());
      json[key] = number;
      EXPECT_FALSE(settings_from_json(json).is_ok()) << key << " " << number;
    }
  }
  // One more than 32 bits hold is not 1.
  nlohmann::json json = to_json(PairSettings());
  json["runs"] = (uint64_t{1} << 32) + 1;
  EXPECT_FALSE(settings_from_json(json).is_ok());
}

TEST(PairSettingsTest, FootprintIsColdUnlessHotIsAsked) {
  PairSettings settings;  // 4 MiB a batch
  EXPECT_EQ(resolve_footprint(settings, 32u << 20), 256u << 20);
  EXPECT_EQ(resolve_footprint(settings, 0), uint64_t{1} << 30);
  EXPECT_EQ(resolve_footprint(settings, 1u << 10), 8u << 20);
  settings.hot = true;
  settings.in_flight = 2;
  EXPECT_EQ(resolve_footprint(settings, 32u << 20), 8u << 20);
  settings.footprint_bytes = 100u << 20;
  EXPECT_EQ(resolve_footprint(settings, 32u << 20), 100u << 20);
}

}  // namespace
}  // namespace baton_perf
