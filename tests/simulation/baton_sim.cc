// baton-sim: seeded simulation of whole hand-offs in virtual time (docs/testing.md).
//
//   baton-sim --from SEED --seeds N [--capabilities rc|srd|tcp|shm|all] [--mutant NAME]
//             [--stop-at-first] [--trace] [--json FILE]
//
// Exit status: 0 nothing failed, 1 something did, 2 the command line is wrong.
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/simulation/virtual_run.h"

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
  bool is_tracing = false;
  std::string program;
};

struct Failure {
  uint64_t seed = 0;
  std::string capabilities;
  std::string message;
  std::string replay;
};

// For whoever reads what an assertion left.
char current_run[256];

void say_current_run(int) {
  const char text[] = "baton-sim: aborted in: ";
  (void)!::write(STDERR_FILENO, text, sizeof text - 1);
  (void)!::write(STDERR_FILENO, current_run, std::strlen(current_run));
  (void)!::write(STDERR_FILENO, "\n", 1);
  std::signal(SIGABRT, SIG_DFL);
}

std::string replay_command(const Settings& settings, uint64_t seed,
                           const std::string& capabilities) {
  return settings.program + " --from " + std::to_string(seed) + " --seeds 1 --capabilities " +
         capabilities + (settings.mutant.empty() ? "" : " --mutant " + settings.mutant) +
         " --trace";
}

// All that this seed's run found wrong; empty: nothing.
std::string run_seed(uint64_t seed, const std::string& capabilities, bool is_tracing,
                     RunTally* tally, uint64_t* hash) {
  testing::TestPartResultArray results;
  {
    const testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &results);
    const SimScenario scenario = make_sim_scenario(seed, capabilities);
    if (is_tracing) std::printf("%s", describe(scenario).c_str());
    VirtualRun run(scenario, is_tracing, tally);
    run.run([&results] { return results.size() > 0; });
    *hash = run.hash();
  }
  std::string text;
  for (int i = 0; i < results.size() && i < 8; ++i) {
    const testing::TestPartResult& result = results.GetTestPartResult(i);
    const char* file = result.file_name() == nullptr ? "" : result.file_name();
    text += std::string(file) + ":" + std::to_string(result.line_number()) + ": " +
            result.message() + "\n";
  }
  return text;
}

bool take(int* i, int argc, char** argv, const char* name, std::string* out) {
  const std::string argument = argv[*i];
  const std::string with_equals = std::string(name) + "=";
  if (argument.rfind(with_equals, 0) == 0) {
    *out = argument.substr(with_equals.size());
    return true;
  }
  if (argument != name || *i + 1 >= argc) return false;
  *out = argv[++*i];
  return true;
}

bool parse(int argc, char** argv, Settings* settings) {
  settings->program = argv[0];
  std::string from;
  std::string seeds;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--trace") {
      settings->is_tracing = true;
    } else if (argument == "--stop-at-first") {
      settings->stops_at_first = true;
    } else if (!take(&i, argc, argv, "--from", &from) && !take(&i, argc, argv, "--seeds", &seeds) &&
               !take(&i, argc, argv, "--capabilities", &settings->capabilities) &&
               !take(&i, argc, argv, "--mutant", &settings->mutant) &&
               !take(&i, argc, argv, "--json", &settings->json)) {
      std::fprintf(stderr, "baton-sim: unknown argument \"%s\"\n", argv[i]);
      return false;
    }
  }
  if (!from.empty()) settings->from = std::strtoull(from.c_str(), nullptr, 0);
  if (!seeds.empty()) settings->seeds = std::strtoull(seeds.c_str(), nullptr, 0);
  for (const char* known : {"all", "rc", "srd", "tcp", "shm"}) {
    if (settings->capabilities == known) return true;
  }
  std::fprintf(stderr, "baton-sim: --capabilities is rc, srd, tcp, shm or all\n");
  return false;
}

bool set_mutant(const std::string& name) {
  if (name.empty()) return true;
#ifdef BATON_MUTANTS
  if (baton::base::set_mutant(name)) return true;
  std::fprintf(stderr, "baton-sim: no mutant \"%s\"; there are:", name.c_str());
  for (uint8_t i = 1; i < baton::base::kNumMutants; ++i)
    std::fprintf(stderr, " %s", std::string(mutant_name(baton::base::Mutant{i})).c_str());
  std::fprintf(stderr, "\n");
#else
  std::fprintf(stderr,
               "baton-sim: this build has no mutants. Build and run baton-sim-mutants instead: "
               "cmake --build BUILD --target baton-sim-mutants\n");
#endif
  return false;
}

void write_json(const Settings& settings, const RunTally& tally, uint64_t seeds,
                const std::vector<Failure>& failures) {
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
  std::ofstream(settings.json) << out.dump(2) << "\n";
}

int run_all(const Settings& settings) {
  std::vector<std::string> sets = {settings.capabilities};
  if (settings.capabilities == "all") sets = {"rc", "srd", "tcp", "shm"};
  RunTally tally;
  std::vector<Failure> failures;
  uint64_t done = 0;
  for (; done < settings.seeds; ++done) {
    const uint64_t seed = settings.from + done;
    const std::string& capabilities = sets[seed % sets.size()];
    const std::string replay = replay_command(settings, seed, capabilities);
    std::snprintf(current_run, sizeof current_run, "%s", replay.c_str());
    uint64_t hash = 0;
    const std::string wrong = run_seed(seed, capabilities, settings.is_tracing, &tally, &hash);
    if (settings.is_tracing) std::printf("hash %016" PRIx64 "\n", hash);
    if (!wrong.empty()) {
      failures.push_back({seed, capabilities, wrong, replay});
      std::printf("seed %" PRIu64 " (%s) failed:\n%s", seed, capabilities.c_str(), wrong.c_str());
      if (!settings.is_tracing) {
        std::printf("%s", describe(make_sim_scenario(seed, capabilities)).c_str());
      }
      std::printf("repeat with: %s\n", replay.c_str());
      std::fflush(stdout);
      if (settings.stops_at_first) break;
    }
    if ((done + 1) % 50 == 0) {
      std::fprintf(stderr, "baton-sim: %" PRIu64 " of %" PRIu64 " seeds, %zu failed\n", done + 1,
                   settings.seeds, failures.size());
    }
  }
  if (!settings.json.empty()) write_json(settings, tally, std::min(done, settings.seeds), failures);
  std::printf(
      "%" PRIu64 " seeds, %zu failed; %" PRIu64 " grants, %" PRIu64 " transfers, done %" PRIu64
      " and %" PRIu64 ", %" PRIu64 " cancelled, %" PRIu64 " in doubt; %" PRIu64
      " bytes checked; %" PRIu64 " fences, %" PRIu64 " settlements; %.1f virtual seconds\n",
      std::min(done, settings.seeds), failures.size(), tally.requests.granted, tally.requests.moved,
      tally.requests.grants_done, tally.requests.transfers_done, tally.requests.cancelled,
      tally.requests.in_doubt, tally.requests.bytes_checked + tally.placed_bytes, tally.fences,
      tally.settlements, static_cast<double>(tally.virtual_ns) / 1e9);
  return failures.empty() ? 0 : 1;
}

}  // namespace
}  // namespace baton_test

int main(int argc, char** argv) {
  int gtest_argc = 1;
  testing::InitGoogleTest(&gtest_argc, argv);
  baton_test::Settings settings;
  if (!baton_test::parse(argc, argv, &settings) || !baton_test::set_mutant(settings.mutant))
    return 2;
  std::signal(SIGABRT, baton_test::say_current_run);
  return baton_test::run_all(settings);
}
