#include "examples/reference_engine/perfetto_trace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine_report/sample_report.h"

namespace {

using baton_engine::perfetto_trace;
using baton_engine::RunReport;
using baton_test::sample_report;
using nlohmann::json;

using Track = std::pair<int, int>;  // process, thread

std::vector<json> events_of(const json& trace, const std::string& phase) {
  std::vector<json> found;
  for (const json& event : trace.at("traceEvents")) {
    if (event.at("ph") == phase) found.push_back(event);
  }
  return found;
}

Track track_of(const json& event) {
  return {event.at("pid").get<int>(), event.at("tid").get<int>()};
}

std::map<Track, std::string> thread_names(const json& trace) {
  std::map<int, std::string> processes;
  std::map<Track, std::string> names;
  for (const json& event : events_of(trace, "M")) {
    if (event.at("name") == "process_name") {
      processes[event.at("pid")] = event.at("args").at("name");
    }
  }
  for (const json& event : events_of(trace, "M")) {
    if (event.at("name") != "thread_name") continue;
    names[track_of(event)] =
        processes.at(event.at("pid")) + "/" + event.at("args").at("name").get<std::string>();
  }
  return names;
}

// What a viewer takes for granted: fields and types, no time before 0, slices of a thread apart,
// every arrow end within a slice.
void expect_loadable(const json& trace) {
  const auto names = thread_names(trace);
  std::map<Track, std::vector<std::pair<double, double>>> slices;
  for (const json& event : events_of(trace, "X")) {
    EXPECT_TRUE(names.contains(track_of(event))) << event;
    EXPECT_TRUE(event.at("name").is_string());
    EXPECT_GE(event.at("ts").get<double>(), 0) << event;
    EXPECT_GE(event.at("dur").get<double>(), 0) << event;
    slices[track_of(event)].emplace_back(event.at("ts"), event.at("dur"));
  }
  constexpr double kRoundingUs = 1e-4;  // of a double; moments are nanoseconds
  for (auto& [track, of_track] : slices) {
    std::sort(of_track.begin(), of_track.end());
    for (size_t i = 1; i < of_track.size(); ++i) {
      EXPECT_GE(of_track[i].first + kRoundingUs, of_track[i - 1].first + of_track[i - 1].second)
          << names.at(track) << " " << i;
    }
  }
  for (const char* phase : {"s", "t", "f"}) {
    for (const json& event : events_of(trace, phase)) {
      const double at = event.at("ts");
      const auto& of_track = slices[track_of(event)];
      EXPECT_TRUE(std::any_of(of_track.begin(), of_track.end(), [&](const auto& slice) {
        return at + kRoundingUs >= slice.first && at <= slice.first + slice.second + kRoundingUs;
      })) << event;
    }
  }
}

TEST(PerfettoTraceTest, HasBothSidesOfBothHandOffs) {
  const json trace = json::parse(perfetto_trace(sample_report()));
  expect_loadable(trace);
  std::set<std::string> names;
  for (const auto& [track, name] : thread_names(trace)) names.insert(name);
  std::set<std::string> expected;
  for (const std::string suffix : {"", " (push-after)"}) {
    for (const char* thread : {"chunks", "computed", "posted"}) {
      expected.insert("prefill" + suffix + "/" + thread);
    }
    for (const char* thread : {"request", "placed", "seen by decode"}) {
      expected.insert("decode" + suffix + "/" + thread);
    }
  }
  EXPECT_EQ(names, expected);
}

TEST(PerfettoTraceTest, SlicesEndWhereThingsHappened) {
  const RunReport report = sample_report();
  const json trace = json::parse(perfetto_trace(report));
  const auto names = thread_names(trace);
  const int64_t zero_ns = report.handoff.requested_ns;  // the earliest moment
  std::map<std::string, std::vector<double>> ends;      // by layer
  for (const json& event : events_of(trace, "X")) {
    const std::string& name = names.at(track_of(event));
    if (!event.at("args").contains("layer") || event.at("args").value("chunk", 3) != 3) continue;
    ASSERT_EQ(event.at("name"), "layer " + std::to_string(ends[name].size()));
    const double begin = event.at("ts");
    ends[name].push_back(name == "decode/seen by decode" ? begin
                                                         : begin + event.at("dur").get<double>());
  }
  for (const baton_engine::LayerTimes& layer : report.handoff.layers) {
    const auto expect = [&](const std::string& name, int64_t moment_ns) {
      ASSERT_EQ(ends[name].size(), 30U) << name;
      EXPECT_NEAR(ends[name][layer.layer], static_cast<double>(moment_ns - zero_ns) * 1e-3, 1e-4);
    };
    expect("prefill/computed", layer.computed_ns);
    expect("prefill/posted", layer.posted_ns);
    expect("decode/placed", layer.placed_ns);
    expect("decode/seen by decode", layer.seen_ns);
  }
}

TEST(PerfettoTraceTest, AnArrowPerLayerFromComputedToSeen) {
  const json trace = json::parse(perfetto_trace(sample_report()));
  const auto names = thread_names(trace);
  std::map<int, std::string> ways;  // by id, in order of the file
  for (const json& event : trace.at("traceEvents")) {
    const std::string phase = event.at("ph");
    if (phase != "s" && phase != "t" && phase != "f") continue;
    ways[event.at("id")] += phase + " " + names.at(track_of(event)) + "; ";
  }
  ASSERT_EQ(ways.size(), 60U);
  std::map<std::string, int> count;
  for (const auto& [id, way] : ways) ++count[way];
  EXPECT_EQ(count["s prefill/computed; t prefill/posted; t decode/placed; "
                  "f decode/seen by decode; "],
            30);
  EXPECT_EQ(count["s prefill (push-after)/computed; t prefill (push-after)/posted; "
                  "t decode (push-after)/placed; f decode (push-after)/seen by decode; "],
            30);
}

TEST(PerfettoTraceTest, ComputedPerChunk) {
  const json trace = json::parse(perfetto_trace(sample_report()));
  const auto names = thread_names(trace);
  std::map<std::string, int> count;
  for (const json& event : events_of(trace, "X")) ++count[names.at(track_of(event))];
  EXPECT_EQ(count["prefill/computed"], 4 * 30);
  EXPECT_EQ(count["prefill/chunks"], 4);
  EXPECT_EQ(count["decode/request"], 1);
}

// Transfers overlap, finish out of order, or are not known.
TEST(PerfettoTraceTest, OddReportsLoad) {
  RunReport report = sample_report({.num_layers = 5, .decode_follows = true});
  std::swap(report.handoff.layers[1].placed_ns, report.handoff.layers[3].placed_ns);
  report.handoff.layers[2].posted_ns = 0;
  report.handoff.layers[4].seen_ns = 0;
  report.push_after.chunks.clear();
  report.push_after.first_token_ns = 0;
  report.model = "\xff";
  expect_loadable(json::parse(perfetto_trace(report)));
  expect_loadable(json::parse(perfetto_trace(RunReport{})));
}

TEST(PerfettoTraceTest, TwoClocksShowPrefillAlone) {
  RunReport report = sample_report();
  report.clock_is_shared = false;
  for (auto& layer : report.handoff.layers) layer.placed_ns = layer.seen_ns = 77;
  const json trace = json::parse(perfetto_trace(report));
  expect_loadable(trace);
  const auto names = thread_names(trace);
  for (const json& event : events_of(trace, "X")) {
    EXPECT_TRUE(names.at(track_of(event)).starts_with("prefill")) << event;
  }
}

// A row for each rank of the side that has several; rank 2 posted nothing.
TEST(PerfettoTraceTest, HasARowForEachRank) {
  RunReport report = sample_report();
  const size_t tracks = thread_names(json::parse(perfetto_trace(report))).size();
  baton_test::add_sample_ranks(report);
  const json trace = json::parse(perfetto_trace(report));
  expect_loadable(trace);
  const auto names = thread_names(trace);
  EXPECT_EQ(names.size(), tracks + 3);
  std::map<std::string, size_t> slices;
  for (const json& event : events_of(trace, "X")) ++slices[names.at(track_of(event))];
  EXPECT_EQ(slices["prefill/posted by rank 0"], report.handoff.layers.size());
  EXPECT_EQ(slices["prefill/posted by rank 1"], report.handoff.layers.size());
  EXPECT_EQ(slices["prefill/posted by rank 2"], 0U);
  report.decode_tp = 3;
  EXPECT_EQ(thread_names(json::parse(perfetto_trace(report))).size(), tracks + 4);
}

}  // namespace
