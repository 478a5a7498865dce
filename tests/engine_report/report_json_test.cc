#include "examples/reference_engine/report_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/engine_report/sample_report.h"

namespace {

using baton_engine::report_json;
using baton_engine::RunReport;
using baton_test::add_sample_ranks;
using baton_test::sample_report;
using nlohmann::json;

json parsed(const RunReport& report) {
  const std::string text = report_json(report);
  EXPECT_EQ(text.back(), '\n');
  EXPECT_NE(text.find("\n  \"layers\": ["), std::string::npos);  // pretty-printed
  return json::parse(text);
}

TEST(ReportJsonTest, HasEveryValueUnderItsKey) {
  RunReport report = sample_report({.num_layers = 3, .num_chunks = 2, .chunk_tokens = 2});
  report.disaggregated = {{7, 8}, "other"};
  report.kv_bytes_compared = 1'000'000'000'001;
  report.kv_bytes_different = 3;
  report.logits_compared = 12;
  report.logits_different = 5;
  report.rounds.push_back({1, 2, 3, 4, 5, 6, 7, 8, 9});
  const json out = parsed(report);
  EXPECT_EQ(out.at("prompt_token_ids"), json({0, 31, 62, 93}));
  EXPECT_EQ(out.at("monolithic").at("tokens"), json({504, 2685, 282, 260, 2}));
  EXPECT_EQ(out.at("monolithic").at("text"), "The terms of the\n\xe2\x80\x9clicense\xe2\x80\x9d.");
  EXPECT_EQ(out.at("disaggregated"), json({{"tokens", {7, 8}}, {"text", "other"}}));
  EXPECT_EQ(out.at("kv"), json({{"bytes_compared", 1'000'000'000'001}, {"bytes_different", 3}}));
  EXPECT_EQ(out.at("logits"), json({{"compared", 12}, {"different", 5}}));
  EXPECT_EQ(out.at("equal"), false);
  EXPECT_EQ(out.at("tail_ns"), report.tail_ns);
  EXPECT_EQ(out.at("push_after_transfer_ns"), report.push_after_transfer_ns);
  EXPECT_DOUBLE_EQ(out.at("hidden_share").get<double>(), report.hidden_share);
  EXPECT_EQ(out.at("ttft_ns"), json({{"monolithic", report.ttft_monolithic_ns},
                                     {"disaggregated", report.ttft_disaggregated_ns},
                                     {"push_after", report.ttft_push_after_ns}}));
  EXPECT_EQ(out.at("prefill_ns"), json({{"monolithic", report.prefill_monolithic_ns},
                                        {"disaggregated", report.prefill_disaggregated_ns}}));
  EXPECT_EQ(out.at("transport"), "tcp");
  EXPECT_EQ(out.at("hand_off"), "push");
  EXPECT_EQ(out.at("kv_dtype"), "f16");
  EXPECT_EQ(out.at("model"), report.model);
  EXPECT_EQ(out.at("block_tokens"), 16);
  EXPECT_EQ(out.at("chunk_tokens"), 2);
  EXPECT_EQ(out.at("num_threads"), 2);
  EXPECT_EQ(out.at("clock_is_shared"), true);
  EXPECT_EQ(out.at("rounds"), json::array({{{"prefill_alone_ns", 1},
                                            {"prefill_push_ns", 2},
                                            {"prefill_alone_cpu_ns", 3},
                                            {"prefill_push_cpu_ns", 4},
                                            {"tail_ns", 5},
                                            {"push_after_transfer_ns", 6},
                                            {"layer_alone_ns", 7},
                                            {"ttft_push_ns", 8},
                                            {"ttft_push_after_ns", 9}}}));
}

void expect_layers(const json& layers, const std::vector<baton_engine::LayerTimes>& expected) {
  ASSERT_TRUE(layers.is_array());
  ASSERT_EQ(layers.size(), expected.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    const baton_engine::LayerTimes& layer = expected[i];
    EXPECT_EQ(layers[i], json({{"layer", layer.layer},
                               {"computed_ns", layer.computed_ns},
                               {"posted_ns", layer.posted_ns},
                               {"placed_ns", layer.placed_ns},
                               {"seen_ns", layer.seen_ns},
                               {"bytes", layer.bytes}}));
  }
}

TEST(ReportJsonTest, HasTheMomentsOfBothHandOffs) {
  const RunReport report = sample_report();
  const json out = parsed(report);
  expect_layers(out.at("layers"), report.handoff.layers);
  expect_layers(out.at("layers_push_after"), report.push_after.layers);
  for (const auto& [key, handoff] :
       {std::pair("handoff", &report.handoff), std::pair("push_after", &report.push_after)}) {
    const json& one = out.at(key);
    EXPECT_EQ(one.at("requested_ns"), handoff->requested_ns);
    EXPECT_EQ(one.at("prefill_begin_ns"), handoff->prefill_begin_ns);
    EXPECT_EQ(one.at("prefill_end_ns"), handoff->prefill_end_ns);
    EXPECT_EQ(one.at("prefill_cpu_ns"), handoff->prefill_cpu_ns);
    EXPECT_EQ(one.at("first_token_ns"), handoff->first_token_ns);
    EXPECT_EQ(one.at("kv_bytes"), handoff->kv_bytes);
    ASSERT_EQ(one.at("chunks").size(), 4U);
    EXPECT_EQ(one.at("chunks")[3].at("token_begin"), 768);
    EXPECT_EQ(one.at("chunks")[3].at("token_end"), 1024);
    EXPECT_EQ(one.at("chunks")[3].at("computed_ns"), json(handoff->chunks[3].computed_ns));
  }
}

TEST(ReportJsonTest, HasEveryRank) {
  RunReport report = sample_report();
  EXPECT_EQ(parsed(report).at("ranks"), json::array());
  EXPECT_EQ(parsed(report).at("prefill_tp"), 1);
  add_sample_ranks(report);
  const json out = parsed(report);
  EXPECT_EQ(out.at("prefill_tp"), 3);
  EXPECT_EQ(out.at("decode_tp"), 1);
  ASSERT_EQ(out.at("ranks").size(), 4U);
  for (size_t i = 0; i < 4; ++i) {
    const json& rank = out.at("ranks")[i];
    EXPECT_EQ(rank.at("side"), i < 3 ? "prefill" : "decode");
    EXPECT_EQ(rank.at("rank"), i % 3);
    EXPECT_EQ(rank.at("head_first"), report.ranks[i].head_first);
    EXPECT_EQ(rank.at("heads"), report.ranks[i].heads);
    EXPECT_EQ(rank.at("kv_bytes"), report.ranks[i].kv_bytes);
    expect_layers(rank.at("layers"), report.ranks[i].layers);
  }
}

TEST(ReportJsonTest, EmptyReportHasEmptyArrays) {
  const std::string text = report_json(RunReport{});
  const json out = json::parse(text);
  for (const char* key : {"layers", "layers_push_after", "prompt_token_ids", "rounds"}) {
    EXPECT_EQ(out.at(key), json::array()) << key;
  }
  EXPECT_EQ(out.at("monolithic").at("tokens"), json::array());
  EXPECT_EQ(out.at("handoff").at("chunks"), json::array());
  EXPECT_EQ(out.at("equal"), true);
}

TEST(ReportJsonTest, IllFormedTextIsReplaced) {
  RunReport report = sample_report({.num_layers = 1, .num_chunks = 1});
  report.monolithic.text =
      "a\xff\xc3"
      "b\xe2\x80";
  report.disaggregated.text = std::string("\0\x1b\"\\", 4);
  report.model = "\x80";
  const json out = parsed(report);
  EXPECT_EQ(out.at("monolithic").at("text"),
            "a\xef\xbf\xbd\xef\xbf\xbd"
            "b\xef\xbf\xbd");
  EXPECT_EQ(out.at("disaggregated").at("text"), std::string("\0\x1b\"\\", 4));
  EXPECT_EQ(out.at("model"), "\xef\xbf\xbd");
}

TEST(ReportJsonTest, TwoClocksMeasureNoTail) {
  RunReport report = sample_report();
  report.clock_is_shared = false;
  const json out = parsed(report);
  EXPECT_EQ(out.at("clock_is_shared"), false);
  for (const char* key : {"tail_ns", "push_after_transfer_ns", "hidden_share"}) {
    EXPECT_TRUE(out.at(key).is_null()) << key;
  }
  EXPECT_EQ(out.at("ttft_ns").at("disaggregated"), report.ttft_disaggregated_ns);
}

}  // namespace
