// baton-sim: seeded simulation of whole hand-offs in virtual time (docs/testing.md).
//
//   baton-sim --from SEED --seeds N [--capabilities rc|srd|tcp|shm|all] [--mutant NAME]
//             [--stop-at-first] [--require-all] [--trace] [--json FILE]
//
// Exit status: 0 nothing failed, 1 something did, 2 the command line is wrong.
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <cinttypes>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "perf/lib/output_file.h"
#include "tests/simulation/sim_batch.h"

#ifdef BATON_MUTANTS
#include "src/base/mutant.h"
#endif

namespace baton_test {
namespace {

struct Settings {
  uint64_t from = 1;
  uint64_t seeds = 100;
  std::string capabilities = "all";
  std::string mutant;
  std::string json;
  bool stops_at_first = false;
  bool requires_all = false;
  bool is_tracing = false;
  std::string program;
};

struct Failure {
  uint64_t seed = 0;
  std::string capabilities;
  std::string message;
  std::string replay;
};

std::string replay_command(const Settings& settings, uint64_t seed,
                           const std::string& capabilities) {
  return settings.program + " --from " + std::to_string(seed) + " --seeds 1 --capabilities " +
         capabilities + (settings.mutant.empty() ? "" : " --mutant " + settings.mutant) +
         " --trace";
}

// What the seeds were to have gone through and did not, each with a space before it.
std::string missing(const Settings& settings, const RunTally& tally) {
  std::string names;
  const auto expect = [&names](const std::string& name, uint64_t count) {
    if (count == 0) names += " " + name;
  };
  const auto fault = [&tally](const std::string& name) {
    const auto found = tally.faults.find(name);
    return found == tally.faults.end() ? 0 : found->second;
  };
  for (size_t kind = 0; kind < static_cast<size_t>(SimFaultKind::kCount); ++kind) {
    const std::string name = fault_name(static_cast<SimFaultKind>(kind));
    expect(name, fault(name));
  }
  expect("restart", fault("restart"));
  const bool has_credits = settings.capabilities != "tcp" && settings.capabilities != "shm";
  if (has_credits) expect("no_credits", fault("no_credits"));
  expect("settlement", tally.settlements);
  expect("fence", tally.fences);
  expect("pull", tally.requests.pulls);
  expect("shared_source", tally.requests.shared_sources);
  expect("group_done", tally.requests.groups_done);
  expect("group_failed", tally.requests.groups_failed);
  expect("lease_ran_out", tally.requests.leases_ran_out);
  expect("cancel", tally.requests.cancelled);
  expect("doubt", tally.requests.in_doubt);
  return names;
}

// The names of this build's mutants, each with a space before it; empty in a build without.
std::string mutant_names() {
  std::string names;
#ifdef BATON_MUTANTS
  for (uint8_t i = 1; i < baton::base::kNumMutants; ++i)
    names += " " + std::string(mutant_name(baton::base::Mutant{i}));
#endif
  return names;
}

// What is wrong with the name; empty: it is set.
std::string set_mutant(const std::string& name) {
#ifdef BATON_MUTANTS
  if (baton::base::set_mutant(name)) return {};
  return "there is no mutant \"" + name + "\"; there are:" + mutant_names();
#else
  return "\"" + name +
         "\": this build has no mutants. Build and run baton-sim-mutants instead: "
         "cmake --build BUILD --target baton-sim-mutants";
#endif
}

std::string to_json(const RunTally& tally, uint64_t seeds, const std::vector<Failure>& failures) {
  nlohmann::json out;
  out["seeds"] = seeds;
  out["failures"] = nlohmann::json::array();
  for (const Failure& failure : failures) {
    out["failures"].push_back({{"seed", failure.seed},
                               {"capabilities", failure.capabilities},
                               {"message", failure.message},
                               {"replay", failure.replay}});
  }
  out["handoffs"] = tally.requests.moved;
  out["bytes_checked"] = tally.requests.bytes_checked + tally.placed_bytes;
  out["faults"] = tally.faults;
  out["settlements"] = tally.settlements;
  out["fences"] = tally.fences;
  out["virtual_seconds"] = static_cast<double>(tally.virtual_ns) / 1e9;
  return out.dump(2) + "\n";
}

void print_failure(const Failure& failure, bool is_tracing) {
  std::printf("seed %" PRIu64 " (%s) failed:\n%s", failure.seed, failure.capabilities.c_str(),
              failure.message.c_str());
  if (!is_tracing) {
    std::printf("%s", describe(make_sim_scenario(failure.seed, failure.capabilities)).c_str());
  }
  std::printf("repeat with: %s\n", failure.replay.c_str());
  std::fflush(stdout);
}

void print_summary(const RunTally& tally, uint64_t seeds, size_t failures) {
  std::printf("%" PRIu64 " seeds, %zu failed; %" PRIu64 " grants, %" PRIu64
              " transfers, done %" PRIu64 " and %" PRIu64 ", %" PRIu64 " cancelled, %" PRIu64
              " in doubt; %" PRIu64 " pulls; %" PRIu64 " groups, done %" PRIu64 ", failed %" PRIu64
              "; %" PRIu64 " leases ran out; %" PRIu64 " shared sources; %" PRIu64
              " bytes checked; %" PRIu64 " fences, %" PRIu64 " settlements; %.1f virtual seconds\n",
              seeds, failures, tally.requests.granted, tally.requests.moved,
              tally.requests.grants_done, tally.requests.transfers_done, tally.requests.cancelled,
              tally.requests.in_doubt, tally.requests.pulls, tally.requests.groups,
              tally.requests.groups_done, tally.requests.groups_failed,
              tally.requests.leases_ran_out, tally.requests.shared_sources,
              tally.requests.bytes_checked + tally.placed_bytes, tally.fences, tally.settlements,
              static_cast<double>(tally.virtual_ns) / 1e9);
}

// The exit status. `json` may be null.
int run_all(const Settings& settings, baton_perf::OutputFile* json) {
  RunTally tally;
  std::vector<Failure> failures;
  uint64_t done = 0;
  const SimBatch batch = {settings.from, settings.seeds, settings.capabilities,
                          settings.is_tracing};
  batch.run([&](const SeedReport& report) {
    ++done;
    add_to(&tally, report.tally);
    if (!report.wrong.empty()) {
      failures.push_back({report.seed, report.capabilities, report.wrong,
                          replay_command(settings, report.seed, report.capabilities)});
      print_failure(failures.back(), settings.is_tracing);
      if (settings.stops_at_first) return false;
    }
    if (done % 50 == 0) {
      std::fprintf(stderr, "baton-sim: %" PRIu64 " of %" PRIu64 " seeds, %zu failed\n", done,
                   settings.seeds, failures.size());
    }
    return true;
  });
  print_summary(tally, done, failures.size());
  if (json != nullptr) {
    const baton::Status written = json->write(to_json(tally, done, failures));
    if (!written.is_ok()) {
      std::fprintf(stderr, "baton-sim: %s\n", written.to_string().c_str());
      return 1;
    }
  }
  const std::string absent = settings.requires_all ? missing(settings, tally) : "";
  if (!absent.empty()) std::printf("did not occur in any seed:%s\n", absent.c_str());
  return failures.empty() && absent.empty() ? 0 : 1;
}

}  // namespace
}  // namespace baton_test

int main(int argc, char** argv) {
  int gtest_argc = 1;
  testing::InitGoogleTest(&gtest_argc, argv);
  baton_test::Settings settings;
  settings.program = argv[0];
  CLI::App app("Whole hand-offs in virtual time; a seed decides everything in its run");
  app.add_option("--from", settings.from, "The first seed (1)");
  app.add_option("--seeds", settings.seeds, "How many, one after the other (100)")
      ->check(CLI::Validator(
          [](const std::string& text) {
            return text.find_first_not_of("0123456789") == std::string::npos &&
                           text.find_first_not_of('0') != std::string::npos
                       ? ""
                       : "must be a whole number from 1 on, not " + text;
          },
          "UINT >= 1"));
  app.add_option("--capabilities", settings.capabilities,
                 "What the rails are modelled on (all: one after the other)")
      ->check(CLI::IsMember({"all", "rc", "srd", "tcp", "shm"}));
  app.add_option("--mutant", settings.mutant,
                 "A fault in the protocol, for baton-sim-mutants:" + baton_test::mutant_names())
      ->check(baton_test::set_mutant);
  app.add_flag("--stop-at-first", settings.stops_at_first, "End with the first seed that fails");
  app.add_flag("--require-all", settings.requires_all,
               "Fail, too, unless every kind of fault and of hand-off has occurred");
  app.add_flag("--trace", settings.is_tracing, "Print all that happens, with its virtual time");
  app.add_option("--json", settings.json, "Write the summary to this file");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  std::optional<baton_perf::OutputFile> json;
  if (!settings.json.empty()) {
    auto opened = baton_perf::OutputFile::create(settings.json);
    if (!opened.is_ok()) {
      std::fprintf(stderr, "baton-sim: %s\n", opened.status().to_string().c_str());
      return 2;
    }
    json.emplace(std::move(opened).value());
  }
  return baton_test::run_all(settings, json.has_value() ? &*json : nullptr);
}
