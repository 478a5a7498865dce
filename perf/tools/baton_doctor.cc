// baton-doctor: what Baton can use on this machine, why not, and what to do about it.
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
  std::string json_path;
  std::vector<std::string> plugin_files;
};

int fail(const baton::Status& status) {
  std::fprintf(stderr, "baton-doctor: %s\n", status.message().c_str());
  return kExitBadInput;
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
  std::fputs(baton_doctor::to_text(findings, usable).c_str(), stdout);
  if (file) {
    const nlohmann::json json = baton_doctor::to_json(findings, reports, usable);
    const std::string text =
        json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    const baton::Status written = file->write(text);
    if (!written.is_ok()) return fail(written);
  }
  return usable ? kExitUsable : kExitNotUsable;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Says what Baton can use on this machine, why not, and what to do about it.",
               "baton-doctor");
  app.set_version_flag("--version", std::string(baton::version()));
  app.add_option("--json", arguments.json_path, "Write the findings to this file too");
  app.add_option("--plugin", arguments.plugin_files, "A plug-in library to examine as well");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::Error& error) {
    std::fprintf(stderr, "baton-doctor: %s (baton-doctor --help lists the options)\n",
                 error.what());
    return kExitBadInput;
  }
  return examine(arguments);
}
