// baton-told: how soon the survivor of a pair knows that the other side was killed or stopped.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "baton/version.h"
#include "perf/lib/output_file.h"
#include "perf/lib/progress_printer.h"
#include "perf/pair/child.h"
#include "perf/pair/exit_code.h"
#include "perf/told/survivor.h"
#include "perf/told/told_peer.h"

namespace baton_perf {
namespace {

struct Arguments {
  ToldSettings settings;
  ToldPeerSettings peer;
  std::string json_path;
  bool quiet = false;
  bool mute = false;
};

int fail(const baton::Status& status) {
  std::fprintf(stderr, "baton-told: %s\n", status.to_string().c_str());
  return exit_code_of(status);
}

void add_options(CLI::App& app, Arguments& arguments) {
  ToldSettings& settings = arguments.settings;
  app.add_option("--kills", settings.kills, "How often the peer is killed (100)");
  app.add_option("--stops", settings.stops, "How often it is stopped (100)");
  app.add_option("--deadline-ms", settings.deadline_ms, "Of the Grants of a stopped peer (500)")
      ->check(CLI::Range(100u, 60'000u));
  app.add_option("--kill-bar-ms", settings.kill_bar_ms, "No kill is told of later (100)");
  app.add_option("--stop-bar-ms", settings.stop_bar_ms,
                 "No stop is told of later than this after the deadline (2000)");
  app.add_option("--seed", settings.seed, "Of the phases and moments (1)");
  app.add_option("--json", arguments.json_path, "Write the result to this file");
  app.add_flag("--quiet", arguments.quiet, "No progress on standard error");
}

CLI::App* add_peer(CLI::App& app, Arguments& arguments) {
  CLI::App* peer = app.add_subcommand("peer", "The process that is struck; started by the tool");
  peer->add_option("--name", arguments.peer.name);
  peer->add_option("--layers", arguments.peer.layers);
  peer->add_option("--deadline-ms", arguments.peer.deadline_ms);
  peer->add_option("--connect", arguments.peer.address);
  peer->add_flag("--mute", arguments.mute);
  return peer;
}

int measure(const Arguments& arguments) {
  std::optional<OutputFile> file;
  if (!arguments.json_path.empty()) {
    auto created = OutputFile::create(arguments.json_path);
    if (!created.is_ok()) return fail(created.status());
    file.emplace(std::move(*created));
  }
  ProgressPrinter printer("baton-told", arguments.quiet);
  const auto result =
      measure_told(arguments.settings, [&](const std::string& text) { printer.show(text); });
  printer.finish();
  if (!result.is_ok()) return fail(result.status());
  std::fputs(to_text(*result).c_str(), stdout);
  if (file) {
    const auto written = file->write(to_json(*result).dump(2) + "\n");
    if (!written.is_ok()) return fail(written);
  }
  if (result->holds()) return kExitOk;
  std::fprintf(stderr, "baton-told: told later than the bar\n");
  return kExitFailed;
}

int run(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Kills and stops the other process of a pair in random phases of its hand-offs, and takes "
      "the time until every Gate, Grant and Transfer of the survivor has ended.",
      "baton-told");
  app.set_version_flag("--version", std::string(baton::version()));
  add_options(app, arguments);
  CLI::App* peer = add_peer(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::Error& error) {
    std::fprintf(stderr, "baton-told: %s (baton-told --help lists the options)\n", error.what());
    return kExitBadInput;
  }
  if (peer->parsed()) {
    arguments.peer.is_writer = arguments.peer.address.empty();
    arguments.peer.answers = !arguments.mute;
    return fail(run_told_peer(arguments.peer));
  }
  exit_on_signals();
  return measure(arguments);
}

}  // namespace
}  // namespace baton_perf

int main(int argc, char** argv) { return baton_perf::run(argc, argv); }
