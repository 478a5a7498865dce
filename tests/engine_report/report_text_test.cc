#include "examples/reference_engine/report_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/engine_report/sample_report.h"

namespace {

using baton_engine::report_text;
using baton_engine::RunReport;
using baton_test::sample_report;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

TEST(ReportTextTest, SaysWhatWasMeasured) {
  const RunReport report = sample_report();
  const std::string text = report_text(report);
  EXPECT_THAT(text, HasSubstr("SmolLM2-135M-Instruct.Q4_1\n"));
  EXPECT_THAT(text, HasSubstr("1,024 tokens in 4 chunks of at most 256\n"));
  EXPECT_THAT(text, HasSubstr("push over tcp, 2 compute threads a process\n"));
  EXPECT_THAT(text,
              HasSubstr("Monolithic, 5 tokens:\n  | The terms of the\n  | \xe2\x80\x9clicense"));
  EXPECT_THAT(text, HasSubstr("Disaggregated, 5 tokens:\n  | The terms of the\n"));
  EXPECT_THAT(text, HasSubstr("\n    0     3391.092     3391.212     3391.862        4559.180"));
  EXPECT_THAT(text, HasSubstr("\n   29     4558.280     4558.473     4559.460        4596.880"));
  EXPECT_THAT(text, HasSubstr("tail                  1.18 ms"));
  EXPECT_THAT(text, HasSubstr("same of push-after    17.8 ms"));
  EXPECT_THAT(text, HasSubstr("hidden share          93.3 %"));
  EXPECT_THAT(text, HasSubstr("  monolithic          4,561 ms\n"));
  EXPECT_THAT(text, HasSubstr("  disaggregated       4,605 ms  +43.9 ms (+1.0 %)"));
  EXPECT_THAT(text, HasSubstr("  push-after          4,606 ms  +44.3 ms (+1.0 %)"));
  EXPECT_THAT(text, HasSubstr("push-after costs      +0.380 ms"));
  EXPECT_THAT(text, HasSubstr("prefill slow-down     +41.0 ms (+0.9 %)"));
  EXPECT_THAT(text, HasSubstr("KV compared           23,592,960 bytes, 0 different\n"));
  EXPECT_THAT(text, Not(HasSubstr("Rounds")));
  EXPECT_THAT(text,
              EndsWith("\nEQUAL: disaggregated and monolithic generated the same, bit by bit\n"));
}

TEST(ReportTextTest, SaysWhatEachRankDid) {
  RunReport report = sample_report();
  EXPECT_THAT(report_text(report), Not(HasSubstr("rank")));
  baton_test::add_sample_ranks(report);
  const std::string text = report_text(report);
  EXPECT_THAT(text, HasSubstr("ranks                 3 of prefill, 1 of decode, a process each\n"));
  EXPECT_THAT(text, HasSubstr("\nprefill 0       0-0     4558.280     4558.473            -"));
  EXPECT_THAT(text, HasSubstr("\nprefill 1       1-1     4558.280     4558.472            -"));
  EXPECT_THAT(text, HasSubstr("\nprefill 2         -     4558.280            -            -"));
  EXPECT_THAT(text, HasSubstr("\n decode 0       0-1            -            -     4559.460        "
                              "4596.880"));
  // Times of another clock are not set beside these.
  report.clock_is_shared = false;
  EXPECT_THAT(report_text(report), HasSubstr("\n decode 0       0-1            -            -    "
                                             "        -               -"));
}

TEST(ReportTextTest, SaysWhatDiffers) {
  RunReport report = sample_report();
  report.disaggregated.tokens[2] = 9;
  report.kv_bytes_different = 1234;
  report.logits_different = 1;
  const std::string text = report_text(report);
  EXPECT_THAT(text, HasSubstr("23,592,960 bytes, 1,234 different\n"));
  EXPECT_THAT(text, HasSubstr("245,760, 1 different\n"));
  EXPECT_THAT(text, HasSubstr("the first that differs is token 3\n"));
  EXPECT_THAT(text, HasSubstr("\nUNEQUAL: "));
  EXPECT_THAT(text, Not(HasSubstr("\nEQUAL: ")));
}

TEST(ReportTextTest, OneWayShorterDiffersAfterItsEnd) {
  RunReport report = sample_report();
  report.disaggregated.tokens.pop_back();
  EXPECT_THAT(report_text(report), HasSubstr("the first that differs is token 5\n"));
}

TEST(ReportTextTest, RoundsAreATable) {
  RunReport report = sample_report();
  report.rounds.resize(3);
  report.rounds[0] = {.prefill_alone_ns = 4'500'000'000,
                      .prefill_push_ns = 4'600'000'000,
                      .prefill_alone_cpu_ns = 9'000'000'000,
                      .prefill_push_cpu_ns = 9'090'000'000,
                      .tail_ns = 250'000,
                      .layer_alone_ns = 500'000};
  report.rounds[1].tail_ns = 1'250'000;
  report.rounds[2] = report.rounds[0];
  const std::string text = report_text(report);
  EXPECT_THAT(text, HasSubstr("\n     1          4,500      4,600      9,000      9,090    0.250"
                              "           -      0.500          -                -\n"));
  EXPECT_THAT(text, HasSubstr("\n     2              -          -          -          -     1.25"));
  EXPECT_THAT(text, HasSubstr("\nmedian          4,500      4,600      9,000      9,090    0.250"));
  EXPECT_THAT(text, HasSubstr("push / alone          prefill 1.022, its CPU time 1.010"));
  EXPECT_THAT(text, HasSubstr("tail / one layer      0.50\n"));
}

TEST(ReportTextTest, NothingHandedOver) {
  const std::string text = report_text(RunReport{});
  EXPECT_THAT(text, HasSubstr("No layer was handed off.\n\nTime to first token:\n"));
  EXPECT_THAT(text, Not(HasSubstr("hidden share")));
  EXPECT_THAT(text, Not(HasSubstr("slow-down")));
  EXPECT_THAT(text, HasSubstr("EQUAL"));
}

TEST(ReportTextTest, MomentsThatDidNotHappenAreDashes) {
  RunReport report = sample_report({.num_layers = 1, .num_chunks = 1});
  report.handoff.layers[0].placed_ns = 0;
  report.handoff.layers[0].seen_ns = 0;
  EXPECT_THAT(report_text(report), HasSubstr("            -               -"));
}

TEST(ReportTextTest, TwoClocksMeasureNoTail) {
  RunReport report = sample_report();
  report.clock_is_shared = false;
  const std::string text = report_text(report);
  EXPECT_THAT(text, HasSubstr("tail                  unknown: prefill runs under another kernel"));
  EXPECT_THAT(text, Not(HasSubstr("hidden share")));
  EXPECT_THAT(text, Not(HasSubstr("push-after costs")));
  EXPECT_THAT(text, HasSubstr("4558.280     4558.473            -               -"));
}

TEST(ReportTextTest, PromptsCannotDriveTheTerminal) {
  RunReport report = sample_report({.num_layers = 1, .num_chunks = 1});
  report.monolithic.text = "\x1b[2J\xff\r";
  const std::string text = report_text(report);
  EXPECT_THAT(text, HasSubstr("  | \xef\xbf\xbd[2J\xef\xbf\xbd\xef\xbf\xbd\n"));
  EXPECT_TRUE(std::none_of(text.begin(), text.end(), [](char character) {
    return static_cast<unsigned char>(character) < 0x20 && character != '\n';
  }));
}

}  // namespace
