// baton-doctor: what Baton can use on this machine, why not, and what to do about it; or, with
// --peer, what a running Context is doing.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "baton/doctor.h"
#include "baton/version.h"
#include "perf/doctor/checks.h"
#include "perf/doctor/report.h"
#include "perf/lib/output_file.h"

namespace {

constexpr int kExitUsable = 0;
constexpr int kExitNotUsable = 1;
constexpr int kExitBadInput = 2;

struct Arguments {
  bool wants_json = false;
  std::string json_path;  // "" with wants_json: standard output
  std::vector<std::string> plugin_files;
  std::string peer;  // "": this machine
  std::string secret_file;
  uint32_t timeout_ms = 5000;
};

int fail(const baton::Status& status) {
  std::fprintf(stderr, "baton-doctor: %s\n", status.message().c_str());
  return kExitBadInput;
}

bool is_bad_input(baton::StatusCode code) {
  return code == baton::StatusCode::kInvalidArgument || code == baton::StatusCode::kNotFound ||
         code == baton::StatusCode::kIoError;
}

// 0: it was asked; 1: it was not reached, or would not tell; 2: wrong arguments.
int observe(const Arguments& arguments) {
  std::optional<baton_perf::OutputFile> file;
  if (!arguments.json_path.empty()) {
    auto created = baton_perf::OutputFile::create(arguments.json_path);
    if (!created.is_ok()) return fail(created.status());
    file.emplace(std::move(*created));
  }
  baton::DumpQuery query;
  query.address = arguments.peer;
  query.secret_file = arguments.secret_file;
  query.timeout_ms = arguments.timeout_ms;
  query.format = arguments.wants_json ? baton::DumpFormat::kJson : baton::DumpFormat::kText;
  const auto dump = baton::fetch_dump(query);
  if (!dump.is_ok()) {
    std::fprintf(stderr, "baton-doctor: %s\n", dump.status().to_string().c_str());
    return is_bad_input(dump.code()) ? kExitBadInput : kExitNotUsable;
  }
  if (!file) {
    std::fputs(dump->c_str(), stdout);
    return kExitUsable;
  }
  const baton::Status written = file->write(*dump);
  return written.is_ok() ? kExitUsable : fail(written);
}

int examine(const Arguments& arguments) {
  std::optional<baton_perf::OutputFile> file;
  if (!arguments.json_path.empty()) {
    auto created = baton_perf::OutputFile::create(arguments.json_path);
    if (!created.is_ok()) return fail(created.status());
    file.emplace(std::move(*created));
  }
  baton::ContextOptions options;
  options.plugin_files = arguments.plugin_files;
  const std::vector<baton::PluginReport> reports = baton::inspect_plugins(options);
  baton_doctor::Findings findings;
  for (const baton::PluginReport& report : reports) {
    findings.push_back(baton_doctor::check_plugin(report));
  }
  for (baton_doctor::Finding& finding : baton_doctor::check_machine()) {
    findings.push_back(std::move(finding));
  }
  const bool usable = baton_doctor::any_transport(reports);
  std::string json;
  if (arguments.wants_json) {
    json = baton_doctor::to_json(findings, reports, usable)
               .dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
           "\n";
  }
  const bool prints_json = arguments.wants_json && !file;
  std::fputs(prints_json ? json.c_str() : baton_doctor::to_text(findings, usable).c_str(), stdout);
  if (file) {
    const baton::Status written = file->write(json);
    if (!written.is_ok()) return fail(written);
  }
  return usable ? kExitUsable : kExitNotUsable;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Says what Baton can use on this machine, why not, and what to do about it; or, with --peer, "
      "what a running Context is doing.",
      "baton-doctor");
  app.set_version_flag("--version", std::string(baton::version()));
  CLI::Option* const json =
      app.add_option("--json", arguments.json_path,
                     "JSON: to this file too, or, without one, instead of the text")
          ->expected(0, 1);
  CLI::Option* const plugins =
      app.add_option("--plugin", arguments.plugin_files, "A plug-in library to examine as well");
  CLI::Option* const peer =
      app.add_option("--peer", arguments.peer,
                     "Show what the Context at this address is doing (baton://HOST:PORT/NAME)")
          ->check(CLI::Validator(
              [](const std::string& text) { return text.empty() ? "is empty" : ""; }, ""))
          ->excludes(plugins);
  app.add_option("--secret-file", arguments.secret_file, "The secret file of --peer")->needs(peer);
  app.add_option("--timeout-ms", arguments.timeout_ms, "How long --peer may take to answer")
      ->needs(peer)
      ->check(CLI::Range(1u, 3'600'000u));
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::Error& error) {
    std::fprintf(stderr, "baton-doctor: %s (baton-doctor --help lists the options)\n",
                 error.what());
    return kExitBadInput;
  }
  arguments.wants_json = json->count() > 0;
  return arguments.peer.empty() ? examine(arguments) : observe(arguments);
}
