#include "tests/simulation/sim_batch.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "nlohmann/json.hpp"

namespace baton_test {
namespace {

constexpr std::pair<const char*, uint64_t Tally::*> kCounts[] = {
    {"granted", &Tally::granted},
    {"moved", &Tally::moved},
    {"grants_done", &Tally::grants_done},
    {"transfers_done", &Tally::transfers_done},
    {"cancelled", &Tally::cancelled},
    {"in_doubt", &Tally::in_doubt},
    {"leases_ran_out", &Tally::leases_ran_out},
    {"bytes_checked", &Tally::bytes_checked},
    {"pulls", &Tally::pulls},
    {"shared_sources", &Tally::shared_sources},
    {"groups", &Tally::groups},
    {"groups_done", &Tally::groups_done},
    {"groups_failed", &Tally::groups_failed},
};
static_assert(sizeof(Tally) == std::size(kCounts) * sizeof(uint64_t));

// A report as one line between the two processes.
std::string to_line(const SeedReport& report) {
  nlohmann::json line;
  line["wrong"] = report.wrong;
  line["hash"] = report.hash;
  for (const auto& [name, count] : kCounts) line["counts"][name] = report.tally.requests.*count;
  line["faults"] = report.tally.faults;
  line["settlements"] = report.tally.settlements;
  line["fences"] = report.tally.fences;
  line["placed_bytes"] = report.tally.placed_bytes;
  line["virtual_ns"] = report.tally.virtual_ns;
  // What a failed expectation says may hold any bytes.
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void from_line(const std::string& text, SeedReport* report) {
  const nlohmann::json line = nlohmann::json::parse(text);
  report->wrong = line["wrong"];
  report->hash = line["hash"];
  for (const auto& [name, count] : kCounts) report->tally.requests.*count = line["counts"][name];
  report->tally.faults = line["faults"];
  report->tally.settlements = line["settlements"];
  report->tally.fences = line["fences"];
  report->tally.placed_bytes = line["placed_bytes"];
  report->tally.virtual_ns = line["virtual_ns"];
}

void run_seed(bool is_tracing, SeedReport* report) {
  testing::TestPartResultArray results;
  {
    const testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &results);
    const SimScenario scenario = make_sim_scenario(report->seed, report->capabilities);
    if (is_tracing) std::printf("%s", describe(scenario).c_str());
    VirtualRun run(scenario, is_tracing, &report->tally);
    run.run([&results] { return results.size() > 0; });
    report->hash = run.hash();
  }
  for (int i = 0; i < results.size() && i < 8; ++i) {
    const testing::TestPartResult& result = results.GetTestPartResult(i);
    const char* file = result.file_name() == nullptr ? "" : result.file_name();
    report->wrong += std::string(file) + ":" + std::to_string(result.line_number()) + ": " +
                     result.message() + "\n";
  }
}

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(2);
}

// The child: all seeds from this one on.
[[noreturn]] void run_all(const SimBatch& batch, uint64_t done, int out) {
  for (; done < batch.seeds; ++done) {
    SeedReport report;
    report.seed = batch.from + done;
    report.capabilities = batch.capabilities_of(report.seed);
    run_seed(batch.is_tracing, &report);
    if (batch.is_tracing) std::printf("hash %016" PRIx64 "\n", report.hash);
    std::fflush(stdout);
    const std::string line = to_line(report);
    for (size_t at = 0; at < line.size();) {
      const ssize_t wrote = ::write(out, line.data() + at, line.size() - at);
      if (wrote <= 0) std::_Exit(0);  // nobody listens any more
      at += static_cast<size_t>(wrote);
    }
  }
  std::exit(0);  // so that a sanitizer looks for leaks
}

std::string death_of(int status) {
  if (WIFSIGNALED(status)) {
    return "its process was ended by signal " + std::to_string(WTERMSIG(status)) + " (" +
           ::strsignal(WTERMSIG(status)) + "); what it said is on the standard error\n";
  }
  return "its process ended with exit status " + std::to_string(WEXITSTATUS(status)) + "\n";
}

}  // namespace

void add_to(RunTally* all, const RunTally& one) {
  for (const auto& [name, count] : kCounts) all->requests.*count += one.requests.*count;
  for (const auto& [kind, count] : one.faults) all->faults[kind] += count;
  all->settlements += one.settlements;
  all->fences += one.fences;
  all->placed_bytes += one.placed_bytes;
  all->virtual_ns += one.virtual_ns;
}

const std::string& SimBatch::capabilities_of(uint64_t seed) const {
  static const std::array<std::string, 4> sets = {"rc", "srd", "tcp", "shm"};
  return capabilities == "all" ? sets[seed % sets.size()] : capabilities;
}

void SimBatch::run(const std::function<bool(const SeedReport&)>& report) const {
  uint64_t done = 0;
  bool goes_on = true;
  while (goes_on && done < seeds) {
    int ends[2] = {};
    if (::pipe(ends) != 0) fail("pipe");
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child < 0) fail("fork");
    if (child == 0) {
      ::close(ends[0]);
      ::signal(SIGPIPE, SIG_IGN);
      run_all(*this, done, ends[1]);
    }
    ::close(ends[1]);
    std::unique_ptr<FILE, int (*)(FILE*)> lines(::fdopen(ends[0], "r"), &std::fclose);
    if (lines == nullptr) fail("fdopen");
    char* text = nullptr;
    size_t room = 0;
    while (goes_on && done < seeds) {
      const ssize_t got = ::getline(&text, &room, lines.get());
      // What it did not write to its end it did not do to its end.
      if (got <= 0 || text[got - 1] != '\n') break;
      SeedReport one;
      one.seed = from + done++;
      one.capabilities = capabilities_of(one.seed);
      from_line(text, &one);
      goes_on = report(one);
    }
    std::free(text);
    lines.reset();
    int status = 0;
    ::waitpid(child, &status, 0);
    if (!goes_on || (done == seeds && status == 0)) return;
    // Behind the last seed: it had something to say of all of them.
    if (done == seeds) --done;
    SeedReport dead;
    dead.seed = from + done++;
    dead.capabilities = capabilities_of(dead.seed);
    dead.wrong = death_of(status);
    goes_on = report(dead);
  }
}

}  // namespace baton_test
