// baton-perf: measures Baton between two processes.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "baton/version.h"
#include "perf/lib/output_file.h"
#include "perf/lib/progress_printer.h"
#include "perf/lib/size.h"
#include "perf/pair/child.h"
#include "perf/pair/connector.h"
#include "perf/pair/exit_code.h"
#include "perf/pair/listener.h"
#include "perf/pair/settings.h"

namespace baton_perf {
namespace {

using baton::Result;
using baton::Status;

constexpr uint32_t kListenerStartMs = 10'000;
constexpr uint32_t kListenerEndMs = 5'000;

// The command line as it was typed; texts are judged after parsing, so that messages are ours.
struct Arguments {
  EndpointSettings endpoint;
  PairSettings settings;
  std::string operation = "write";
  std::string run_bytes = "64KiB";
  std::string footprint_bytes;
  std::string progress = "thread";
  bool listen = false;
  std::string address;  // of --connect
  std::string json_path;
  bool quiet = false;
  uint32_t count = 100;  // of connect
};

int fail(const Status& status) {
  std::fprintf(stderr, "baton-perf: %s\n", status.message().c_str());
  return exit_code_of(status);
}

void add_endpoint_options(CLI::App& command, Arguments& arguments) {
  command.add_option("--transport", arguments.endpoint.transport, "Plug-in to measure (tcp)");
  command.add_option("--secret-file", arguments.endpoint.secret_file,
                     "Pre-shared key of both sides; needed beyond loopback");
  command.add_option("--progress", arguments.progress,
                     "Who drives the data path: thread (the library's) or caller");
  command.add_option("--connect", arguments.address,
                     "Measure against the listener at this address; without it and --listen, both "
                     "sides are started here");
  command.add_option("--json", arguments.json_path, "Write the result to this file");
  command.add_flag("--quiet", arguments.quiet, "No progress on standard error");
}

void add_pair_options(CLI::App& command, Arguments& arguments) {
  PairSettings& settings = arguments.settings;
  command.add_flag("--listen", arguments.listen,
                   "Be the listening side of one measurement; prints the address");
  command.add_option("--bind", arguments.endpoint.bind_host,
                     "Host that --listen binds (127.0.0.1)");
  command.add_option("--op", arguments.operation, "write or read, seen from the connecting side");
  command.add_option("--run-bytes", arguments.run_bytes, "Length of one run (64KiB)");
  command.add_option("--runs", settings.runs, "Runs a batch, at random places (64)");
  command.add_option("--in-flight", settings.in_flight, "Batches in flight (1)");
  command.add_option("--seconds", settings.seconds, "Timed seconds of each subject (5)");
  command.add_option("--rounds", settings.rounds,
                     "Rounds those are split into; subjects take turns (5)");
  command.add_option(
      "--baseline", settings.baseline,
      "Measure beside it, in turn: tcp (one plain stream), or tcp-tuned (one whose congestion "
      "control is that of the plug-in's own)");
  command.add_option("--footprint-bytes", arguments.footprint_bytes,
                     "Bytes of each buffer (8 x the last-level cache, or more if needed)");
  command.add_flag("--hot", settings.hot, "Buffers of just the batches in flight");
  command.add_option("--seed", settings.seed, "Of the random places and the content (1)");
}

Status judge_endpoint(Arguments& arguments) {
  if (arguments.progress != "thread" && arguments.progress != "caller") {
    return {baton::StatusCode::kInvalidArgument,
            "unknown progress mode \"" + arguments.progress + "\": thread or caller"};
  }
  arguments.endpoint.progress =
      arguments.progress == "caller" ? baton::ProgressMode::kCaller : baton::ProgressMode::kThread;
  return check_transport(arguments.endpoint.transport);
}

Status judge_pair(Arguments& arguments) {
  const Status status = judge_endpoint(arguments);
  if (!status.is_ok()) return status;
  if (arguments.listen && !arguments.address.empty()) {
    return {baton::StatusCode::kInvalidArgument, "--listen and --connect exclude each other"};
  }
  const Result<Operation> operation = parse_operation(arguments.operation);
  if (!operation.is_ok()) return operation.status();
  arguments.settings.operation = *operation;
  const Result<uint64_t> run_bytes = parse_size(arguments.run_bytes);
  if (!run_bytes.is_ok()) {
    return {run_bytes.code(), "--run-bytes: " + run_bytes.status().message()};
  }
  arguments.settings.run_bytes = *run_bytes;
  if (!arguments.footprint_bytes.empty()) {
    const Result<uint64_t> footprint = parse_size(arguments.footprint_bytes);
    if (!footprint.is_ok()) {
      return {footprint.code(), "--footprint-bytes: " + footprint.status().message()};
    }
    arguments.settings.footprint_bytes = *footprint;
  }
  const Status baseline = check_baseline(arguments.settings.baseline);
  return baseline.is_ok() ? check_settings(arguments.settings) : baseline;
}

int listen(const Arguments& arguments) {
  const Status status = run_listener(arguments.endpoint, [](const std::string& address) {
    std::printf("%s\n", address.c_str());
    std::fflush(stdout);
  });
  return status.is_ok() ? kExitOk : fail(status);
}

Result<Child> start_listener(const Arguments& arguments) {
  std::vector<std::string> command = {
      "pair",       "--listen",         "--transport", arguments.endpoint.transport,
      "--progress", arguments.progress, "--bind",      arguments.endpoint.bind_host};
  if (!arguments.endpoint.secret_file.empty()) {
    command.insert(command.end(), {"--secret-file", arguments.endpoint.secret_file});
  }
  return Child::start(command);
}

template <typename Outcome>
int report(const Result<Outcome>& outcome, std::optional<OutputFile>& file) {
  if (!outcome.is_ok()) return fail(outcome.status());
  std::fputs(to_text(*outcome).c_str(), stdout);
  if (!file) return kExitOk;
  const Status written = file->write(to_json(*outcome).dump(2) + "\n");
  return written.is_ok() ? kExitOk : fail(written);
}

// Opens the result file, starts the listener unless one was named, runs `measure`, reports.
template <typename Measure>
int with_listener(const Arguments& arguments, const Measure& measure) {
  std::optional<OutputFile> file;
  if (!arguments.json_path.empty()) {
    Result<OutputFile> created = OutputFile::create(arguments.json_path);
    if (!created.is_ok()) return fail(created.status());
    file.emplace(std::move(*created));
  }
  std::optional<Child> child;
  std::string address = arguments.address;
  if (address.empty()) {
    Result<Child> started = start_listener(arguments);
    if (!started.is_ok()) return fail(started.status());
    child.emplace(std::move(*started));
    const Result<std::string> line = child->read_line(kListenerStartMs);
    if (!line.is_ok()) return fail(line.status());
    address = *line;
  }
  ProgressPrinter printer("baton-perf", arguments.quiet);
  const auto outcome = measure(address, [&](const std::string& text) { printer.show(text); });
  printer.finish();
  if (outcome.is_ok() && child) {
    const Status ended = child->wait(kListenerEndMs);
    if (!ended.is_ok()) return fail(ended);
  }
  return report(outcome, file);
}

int run_pair(Arguments& arguments) {
  const Status judged = judge_pair(arguments);
  if (!judged.is_ok()) return fail(judged);
  if (arguments.listen) return listen(arguments);
  return with_listener(arguments, [&](const std::string& address, const ProgressLine& progress) {
    return run_connector(arguments.endpoint, arguments.settings, address, progress);
  });
}

int run_connect(Arguments& arguments) {
  const Status judged = judge_endpoint(arguments);
  if (!judged.is_ok()) return fail(judged);
  if (arguments.count == 0 || arguments.count > 1'000'000) {
    return fail({baton::StatusCode::kInvalidArgument,
                 "--count " + std::to_string(arguments.count) + " is not allowed: 1 to 1000000"});
  }
  return with_listener(arguments, [&](const std::string& address, const ProgressLine& progress) {
    return measure_connect(arguments.endpoint, address, arguments.count, progress);
  });
}

int run(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Measures Baton between two processes. \"Done\" in every figure means placed.",
               "baton-perf");
  app.set_version_flag("--version", std::string(baton::version()));
  app.require_subcommand(1);
  CLI::App* pair = app.add_subcommand("pair", "Throughput and latency of batches of runs");
  add_endpoint_options(*pair, arguments);
  add_pair_options(*pair, arguments);
  CLI::App* connect =
      app.add_subcommand("connect", "Time until a peer is connected and its sections are known");
  add_endpoint_options(*connect, arguments);
  connect->add_option("--count", arguments.count, "Connections, one after another (100)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::Error& error) {
    std::fprintf(stderr, "baton-perf: %s (baton-perf --help lists the options)\n", error.what());
    return kExitBadInput;
  }
  exit_on_signals();
  return pair->parsed() ? run_pair(arguments) : run_connect(arguments);
}

}  // namespace
}  // namespace baton_perf

int main(int argc, char** argv) { return baton_perf::run(argc, argv); }
