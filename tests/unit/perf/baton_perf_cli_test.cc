#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/command.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"

namespace baton_perf {
namespace {

using baton_test::ChildProcess;
using baton_test::finish_command;
using baton_test::Finished;
using baton_test::run_command;
using baton_test::start_command;

const char* const kTool = BATON_PERF_PATH;

nlohmann::json read_json(const std::string& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
}

// The first child of a process; 0 while it has none.
pid_t child_of(pid_t parent) {
  const std::string task = std::to_string(parent);
  std::ifstream file("/proc/" + task + "/task/" + task + "/children");
  pid_t child = 0;
  file >> child;
  return child;
}

bool is_gone(pid_t pid) { return ::kill(pid, 0) != 0 && errno == ESRCH; }

// A measurement that would run for a minute, and its listening process.
struct LongRun {
  LongRun()
      : process(start_command(
            kTool, {"pair", "--seconds", "60", "--rounds", "600", "--footprint-bytes", "8MiB"})),
        listener(0) {
    // Both sides are up when the first progress line comes.
    EXPECT_TRUE(process.read_line_after("baton-perf: round"));
    listener = child_of(process.pid());
    EXPECT_GT(listener, 0);
  }
  ChildProcess process;
  pid_t listener;
};

class BatonPerfPair : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(BatonPerfPair, MeasuresVerifiesAndRecords) {
  const baton_test::TempDir folder;
  const std::string path = folder.file("result.json");
  std::vector<std::string> arguments = {
      "pair", "--seconds",  "0.2", "--rounds", "2", "--footprint-bytes",
      "8MiB", "--baseline", "tcp", "--json",   path};
  arguments.insert(arguments.end(), GetParam().begin(), GetParam().end());
  const Finished finished = run_command(kTool, arguments);
  ASSERT_EQ(finished.code, 0) << finished.text;
  EXPECT_NE(finished.text.find("ratio to tcp"), std::string::npos) << finished.text;
  const nlohmann::json json = read_json(path);
  ASSERT_TRUE(json.is_object());
  for (const char* key : {"gb_per_s", "runs_per_s", "ratio"}) {
    EXPECT_GT(json[key].get<double>(), 0) << key;
  }
  for (const char* key : {"p50", "p90", "p99", "p999", "max"}) {
    EXPECT_GT(json["latency_us"][key].get<double>(), 0) << key;
    EXPECT_GT(json["baseline"]["latency_us"][key].get<double>(), 0) << key;
  }
  EXPECT_GT(json["cpu_s_per_gb"]["local"].get<double>(), 0);
  EXPECT_GT(json["cpu_s_per_gb"]["remote"].get<double>(), 0);
  EXPECT_GE(json["bytes_verified"].get<uint64_t>(), uint64_t{3} << 20);
  EXPECT_EQ(json["bytes_verified"], json["baseline"]["bytes_verified"]);
  EXPECT_EQ(json["baseline"]["name"], "tcp");
  EXPECT_GT(json["latency_ratio"]["p50"].get<double>(), 0);
  EXPECT_GT(json["latency_ratio"]["p99"].get<double>(), 0);
  EXPECT_EQ(json["settings"]["footprint_bytes"], 8u << 20);
  EXPECT_EQ(json["settings"]["transport"], "tcp");
  EXPECT_FALSE(json["machine"]["kernel"].get<std::string>().empty());
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, BatonPerfPair,
    testing::Values(std::vector<std::string>{"--op", "write"},
                    std::vector<std::string>{"--op", "read"},
                    std::vector<std::string>{"--op", "write", "--run-bytes", "4097", "--runs",
                                             "100", "--in-flight", "3"},
                    std::vector<std::string>{"--op", "read", "--run-bytes", "1MiB", "--runs", "2",
                                             "--in-flight", "2", "--progress", "caller"}));

TEST(BatonPerf, ListenAndConnectAreTwoCommands) {
  ChildProcess listener = start_command(kTool, {"pair", "--listen"});
  const auto address = listener.read_line();
  ASSERT_TRUE(address);
  EXPECT_EQ(address->find("baton://"), 0u) << *address;
  const Finished finished = run_command(kTool, {"pair", "--connect", *address, "--seconds", "0.1",
                                                "--footprint-bytes", "8MiB", "--quiet"});
  EXPECT_EQ(finished.code, 0) << finished.text;
  EXPECT_EQ(finish_command(listener).code, 0);
}

TEST(BatonPerf, ConnectTimes) {
  const baton_test::TempDir folder;
  const std::string path = folder.file("result.json");
  const Finished finished = run_command(kTool, {"connect", "--count", "20", "--json", path});
  ASSERT_EQ(finished.code, 0) << finished.text;
  EXPECT_GT(read_json(path)["latency_us"]["p50"].get<double>(), 0);
}

struct BadInput {
  std::vector<std::string> arguments;
  std::string expected;
};

class BatonPerfBadInput : public testing::TestWithParam<BadInput> {};

TEST_P(BatonPerfBadInput, IsOneClearLine) {
  const Finished finished = run_command(kTool, GetParam().arguments);
  EXPECT_EQ(finished.code, 2) << finished.text;
  EXPECT_NE(finished.text.find(GetParam().expected), std::string::npos) << finished.text;
  EXPECT_EQ(std::count(finished.text.begin(), finished.text.end(), '\n'), 1) << finished.text;
}

INSTANTIATE_TEST_SUITE_P(
    Cases, BatonPerfBadInput,
    testing::Values(
        BadInput{{"pair", "--transport", "pigeon"}, "unknown transport \"pigeon\": tcp"},
        BadInput{{"pair", "--transport", "loopback"}, "\"loopback\" is not usable here"},
        BadInput{{"pair", "--op", "erase"}, "unknown operation \"erase\": write or read"},
        BadInput{{"pair", "--baseline", "udp"}, "unknown baseline \"udp\": tcp, tcp-tuned"},
        BadInput{{"pair", "--run-bytes", "big"}, "\"big\" is not a size"},
        BadInput{{"pair", "--run-bytes", "0"}, "--run-bytes 0 is not allowed: 1 to 1 GiB"},
        BadInput{{"pair", "--runs", "0"}, "--runs 0 is not allowed: 1 to 65536"},
        BadInput{{"pair", "--runs", "many"}, "--runs"},
        BadInput{{"pair", "--in-flight", "0"}, "--in-flight 0 is not allowed"},
        BadInput{{"pair", "--rounds", "0"}, "--rounds 0 is not allowed"},
        BadInput{{"pair", "--seconds", "nan"}, "--seconds"},
        BadInput{{"pair", "--footprint-bytes", "4096"}, "the batches in flight alone are 4 MiB"},
        BadInput{{"pair", "--footprint-bytes", "1G1"}, "--footprint-bytes: \"1G1\" is not a size"},
        BadInput{{"pair", "--progress", "nobody"}, "unknown progress mode \"nobody\""},
        BadInput{{"pair", "--listen", "--connect", "x"}, "exclude each other"},
        BadInput{{"pair", "--connect", "nonsense"}, "nonsense"},
        BadInput{{"pair", "--json", "/nonexistent/a.json"}, "No such file or directory"},
        BadInput{{"pair", "--secret-file", "/nonexistent/key", "--listen"}, "/nonexistent/key"},
        BadInput{{"pair", "--faster"}, "--faster"},
        BadInput{{"connect", "--count", "0"}, "--count 0 is not allowed"},
        BadInput{{}, "subcommand"}));

TEST(BatonPerf, FullDiskIsNamed) {
  const Finished finished = run_command(kTool, {"pair", "--seconds", "0.1", "--footprint-bytes",
                                                "8MiB", "--quiet", "--json", "/dev/full"});
  EXPECT_EQ(finished.code, 2) << finished.text;
  EXPECT_NE(finished.text.find("\"/dev/full\": No space left on device"), std::string::npos);
}

TEST(BatonPerf, NobodyThereIsExit3) {
  ChildProcess listener = start_command(kTool, {"pair", "--listen"});
  const auto address = listener.read_line();
  ASSERT_TRUE(address);
  listener.kill();
  const Finished finished = run_command(kTool, {"pair", "--connect", *address, "--quiet"});
  EXPECT_EQ(finished.code, 3) << finished.text;
  EXPECT_NE(finished.text.find("cannot connect to " + *address), std::string::npos);
}

TEST(BatonPerf, APeerThatDiesIsExit3) {
  LongRun run;
  ASSERT_EQ(::kill(run.listener, SIGKILL), 0);
  const Finished finished = finish_command(run.process);
  EXPECT_EQ(finished.code, 3) << finished.text;
}

TEST(BatonPerf, InterruptedLeavesNoProcess) {
  LongRun run;
  run.process.send_signal(SIGINT);
  EXPECT_EQ(finish_command(run.process).code, 128 + SIGINT);
  EXPECT_TRUE(is_gone(run.listener));
}

TEST(BatonPerf, KilledLeavesNoProcess) {
  LongRun run;
  run.process.kill();
  EXPECT_TRUE(baton_test::wait_until([&] { return is_gone(run.listener); }));
}

TEST(BatonPerf, HelpAndVersionSucceed) {
  EXPECT_EQ(run_command(kTool, {"--help"}).code, 0);
  EXPECT_EQ(run_command(kTool, {"pair", "--help"}).code, 0);
  EXPECT_EQ(run_command(kTool, {"--version"}).code, 0);
}

}  // namespace
}  // namespace baton_perf
