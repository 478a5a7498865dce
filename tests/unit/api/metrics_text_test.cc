// The Prometheus text: its grammar by a strict check of our own, and by Prometheus' own client
// where that is installed; and that docs/operations.md lists what there is.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "baton/metrics.h"
#include "tests/support/command.h"
#include "tests/support/temp_dir.h"

namespace baton {
namespace {

Metrics sample() {
  Metrics metrics;
  metrics.context = "decode-0";
  metrics.version = "0.1.0";
  metrics.uptime_seconds = 12.5;
  metrics.data_turn_age_seconds = 1e-6;
  metrics.busy[static_cast<size_t>(BusyCall::kPush)] = 3;
  PeerMetrics peer;
  peer.name = "prefill-0";
  peer.is_up = true;
  RequestMetrics& grants = peer.requests[static_cast<size_t>(RequestKind::kKvGrant)];
  grants.started = 7;
  grants.ended[static_cast<size_t>(StatusCode::kOk)] = 5;
  grants.ended[static_cast<size_t>(StatusCode::kPathLost)] = 1;
  peer.losses[static_cast<size_t>(StatusCode::kPeerLost)] = 2;
  peer.quarantined_bytes = 4096;
  peer.fence.counts = {1, 2, 0, 3};
  peer.fence.counts[DurationHistogram::kBuckets] = 1;
  peer.fence.sum_ns = 1'500'000'000;
  PathMetrics path;
  path.path = 1;
  path.rail = RailIndex(2);
  path.transport = "od\"d\\transport\n";
  path.is_open = true;
  path.posted_bytes = UINT64_MAX;
  path.fences[static_cast<size_t>(FenceCause::kNotQuiet)] = 4;
  peer.paths.push_back(path);
  metrics.peers.push_back(peer);
  peer.name = std::string(kFoldedPeers);
  peer.paths.clear();
  metrics.peers.push_back(peer);
  return metrics;
}

struct Sample {
  std::string name;
  std::string labels;
  std::string value;
};

struct Text {
  std::map<std::string, std::string> types;  // by family
  std::map<std::string, std::string> helps;
  std::vector<Sample> samples;
};

std::string family_of(const std::string& name, const Text& text) {
  if (text.types.count(name) != 0) return name;
  for (const char* suffix : {"_bucket", "_sum", "_count"}) {
    if (name.ends_with(suffix)) return name.substr(0, name.size() - std::string(suffix).size());
  }
  return name;
}

// Text format 0.0.4, with a family's lines together and HELP and TYPE before its samples.
Text parse(const std::string& text) {
  static const std::regex help_line(R"(# HELP ([a-z_]+) ([ -~]+))");
  static const std::regex type_line(R"(# TYPE ([a-z_]+) (counter|gauge|histogram))");
  static const std::regex sample_line(
      R"re(([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (-?[0-9.e+-]+|\+Inf))re");
  Text out;
  std::istringstream lines(text);
  std::string line;
  std::string family;
  while (std::getline(lines, line)) {
    std::smatch match;
    if (std::regex_match(line, match, help_line)) {
      family = match[1];
      EXPECT_TRUE(out.helps.emplace(family, match[2]).second) << "twice: " << line;
    } else if (std::regex_match(line, match, type_line)) {
      EXPECT_EQ(match[1], family) << line;
      EXPECT_TRUE(out.types.emplace(family, match[2]).second) << "twice: " << line;
    } else if (std::regex_match(line, match, sample_line)) {
      out.samples.push_back({match[1], match[2], match[3]});
      EXPECT_EQ(family_of(match[1], out), family) << line;
    } else {
      ADD_FAILURE() << "no line of the format: " << line;
    }
  }
  EXPECT_TRUE(text.ends_with('\n'));
  return out;
}

std::string value_of(const Text& text, const std::string& name, const std::string& labels) {
  for (const Sample& sample : text.samples) {
    if (sample.name == name && sample.labels == labels) return sample.value;
  }
  return "nothing";
}

TEST(PrometheusText, KeepsToTheFormat) {
  const Text text = parse(prometheus_text(sample()));
  std::set<std::string> series;
  for (const Sample& one : text.samples)
    EXPECT_TRUE(series.insert(one.name + "{" + one.labels + "}").second) << one.name << one.labels;
  for (const auto& [family, type] : text.types) {
    EXPECT_EQ(family.starts_with("baton_"), true) << family;
    EXPECT_EQ(family.ends_with("_total"), type == "counter") << family << " is a " << type;
    EXPECT_EQ(text.helps.count(family), 1u) << family;
    if (type == "histogram") {
      EXPECT_TRUE(family.ends_with("_seconds")) << family;
    }
  }
}

TEST(PrometheusText, SaysWhatTheStructSays) {
  const Text text = parse(prometheus_text(sample()));
  const std::string peer = "peer=\"prefill-0\"";
  EXPECT_EQ(value_of(text, "baton_info", "context=\"decode-0\",version=\"0.1.0\""), "1");
  EXPECT_EQ(value_of(text, "baton_uptime_seconds", ""), "12.5");
  EXPECT_EQ(value_of(text, "baton_busy_total", "call=\"push\""), "3");
  EXPECT_EQ(value_of(text, "baton_peer_up", peer), "1");
  EXPECT_EQ(value_of(text, "baton_grants_started_total", peer + ",kind=\"kv_grant\""), "7");
  EXPECT_EQ(value_of(text, "baton_grants_ended_total", peer + ",kind=\"kv_grant\",code=\"OK\""),
            "5");
  EXPECT_EQ(
      value_of(text, "baton_grants_ended_total", peer + ",kind=\"kv_grant\",code=\"PATH_LOST\""),
      "1");
  EXPECT_EQ(
      value_of(text, "baton_grants_ended_total", peer + ",kind=\"kv_grant\",code=\"IN_DOUBT\""),
      "nothing");
  EXPECT_EQ(value_of(text, "baton_peer_losses_total", peer + ",code=\"PEER_LOST\""), "2");
  EXPECT_EQ(value_of(text, "baton_quarantine_bytes", peer), "4096");
  const std::string path = peer + R"re(,path="1",rail="2",transport="od\"d\\transport\n")re";
  EXPECT_EQ(value_of(text, "baton_path_open", path), "1");
  EXPECT_EQ(value_of(text, "baton_posted_bytes_total", path), "18446744073709551615");
  EXPECT_EQ(value_of(text, "baton_fences_total", path + ",cause=\"not_quiet\""), "4");
}

TEST(PrometheusText, HistogramsAreCumulative) {
  const Text text = parse(prometheus_text(sample()));
  const std::string peer = "peer=\"prefill-0\"";
  EXPECT_EQ(value_of(text, "baton_fence_seconds_bucket", peer + ",le=\"8.192e-06\""), "1");
  EXPECT_EQ(value_of(text, "baton_fence_seconds_bucket", peer + ",le=\"1.6384e-05\""), "3");
  EXPECT_EQ(value_of(text, "baton_fence_seconds_bucket", peer + ",le=\"6.5536e-05\""), "6");
  EXPECT_EQ(value_of(text, "baton_fence_seconds_bucket", peer + ",le=\"68.719476736\""), "6");
  EXPECT_EQ(value_of(text, "baton_fence_seconds_bucket", peer + ",le=\"+Inf\""), "7");
  EXPECT_EQ(value_of(text, "baton_fence_seconds_count", peer), "7");
  EXPECT_EQ(value_of(text, "baton_fence_seconds_sum", peer), "1.5");
}

TEST(PrometheusText, NamesOfEnumsAreDistinct) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < kNumFenceCauses; ++i) names.insert(fence_cause_name(FenceCause(i)));
  for (size_t i = 0; i < kNumRequestKinds; ++i) names.insert(request_kind_name(RequestKind(i)));
  EXPECT_EQ(names.size(), kNumFenceCauses + kNumRequestKinds);
  names.clear();
  for (size_t i = 0; i < kNumBusyCalls; ++i) names.insert(busy_call_name(BusyCall(i)));
  EXPECT_EQ(names.size(), kNumBusyCalls);
  EXPECT_EQ(fence_cause_name(FenceCause(99)), "unknown");
}

// Prometheus' own parser: Debian's python3-prometheus-client.
TEST(PrometheusText, IsWhatPrometheusReads) {
  const char* const python = "/usr/bin/python3";
  if (baton_test::run_command(python, {"-c", "import prometheus_client.parser"}).code != 0)
    GTEST_SKIP() << "python3-prometheus-client is not installed";
  const baton_test::TempDir folder;
  std::ofstream(folder.file("metrics.txt")) << prometheus_text(sample());
  const char* const script =
      "import sys\n"
      "from prometheus_client.parser import text_string_to_metric_families as parse\n"
      "for family in parse(open(sys.argv[1]).read()):\n"
      "  print(family.name, family.type, len(family.samples))\n"
      "  for s in family.samples:\n"
      "    if 'transport' in s.labels: assert s.labels['transport'] == 'od\"d\\\\transport\\n'\n";
  const auto read = baton_test::run_command(python, {"-c", script, folder.file("metrics.txt")});
  EXPECT_EQ(read.code, 0) << read.text;
  EXPECT_NE(read.text.find("baton_fence_seconds histogram 54"), std::string::npos) << read.text;
  EXPECT_NE(read.text.find("baton_posted_bytes counter 1"), std::string::npos) << read.text;
  EXPECT_NE(read.text.find("baton_peer_up gauge 2"), std::string::npos) << read.text;
}

// | `name` | type | labels | help |
TEST(PrometheusText, TheDocumentListsEverySeries) {
  std::ifstream file(std::string(BATON_SOURCE_DIR) + "/docs/operations.md");
  ASSERT_TRUE(file.is_open());
  static const std::regex row_pattern(R"(\| `(baton_[a-z_]+)` \| ([a-z]+) \| [^|]* \| ([^|]+) \|)");
  std::map<std::string, std::string> types;
  std::map<std::string, std::string> helps;
  std::string line;
  while (std::getline(file, line)) {
    std::smatch match;
    if (!std::regex_match(line, match, row_pattern)) continue;
    types[match[1]] = match[2];
    helps[match[1]] = match[3];
  }
  const Text text = parse(prometheus_text(Metrics()));
  EXPECT_EQ(types, text.types);
  EXPECT_EQ(helps, text.helps);
}

}  // namespace
}  // namespace baton
