#include "baton/doctor.h"

#include <unistd.h>

#include <algorithm>

#include "baton/plugin/builtin.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/control/observer.h"
#include "src/transport/plugin_registry.h"
#include "src/transport/rail.h"

namespace baton {
namespace {

// A rail without paths reports nothing.
class NoEvents final : public transport::RailEvents {
 public:
  void on_op_done(uint64_t, uint64_t, baton_op_status) override {}
  void on_units_arrived(uint64_t, uint32_t) override {}
  void on_path_broken(uint64_t, const char*) override {}
  void on_fenced(uint64_t) override {}
  baton_resolved on_resolve(uint64_t, uint64_t, uint64_t, uint64_t, uint32_t,
                            baton_access) override {
    return {nullptr, 0};
  }
};

std::vector<std::string> texts_of(const baton_capabilities& capabilities) {
  struct Flag {
    uint32_t bit;
    const char* text;
  };
  static constexpr Flag kFlags[] = {
      {BATON_CAP_ORDERED, "ordered"},
      {BATON_CAP_IMM_COVERS_PRIOR, "an immediate covers the writes before it"},
      {BATON_CAP_NEEDS_REGISTRATION, "needs registered memory"},
      {BATON_CAP_NEEDS_STREAM, "runs over a stream socket of the control port"},
      {BATON_CAP_REACHES_HBM, "reaches GPU memory"},
      {BATON_CAP_SOFTWARE_PLACEMENT, "grants are enforced chunk by chunk"},
      {BATON_CAP_READ, "reads"},
      {BATON_CAP_SAME_HOST, "this machine only"},
      {BATON_CAP_IN_PROCESS, "this process only"},
  };
  std::vector<std::string> texts;
  for (const Flag& flag : kFlags) {
    if ((capabilities.flags & flag.bit) != 0) texts.emplace_back(flag.text);
  }
  texts.push_back(capabilities.immediate_bits == 0
                      ? "no immediates"
                      : "immediates of " + std::to_string(capabilities.immediate_bits) + " bits");
  texts.push_back("messages up to " + std::to_string(capabilities.max_message_bytes) + " bytes");
  texts.push_back("gathers " + std::to_string(capabilities.max_sources) + " source ranges");
  texts.push_back(std::to_string(capabilities.max_posts) + " posts unfinished on a path");
  return texts;
}

RailOptions options_for(const std::string& plugin, const ContextOptions& options) {
  const auto named = std::find_if(options.rails.begin(), options.rails.end(),
                                  [&](const RailOptions& rail) { return rail.plugin == plugin; });
  if (named != options.rails.end()) return *named;
  RailOptions defaults;
  defaults.plugin = plugin;
  return defaults;
}

PluginReport unusable(std::string name, const Status& status, std::string remedy) {
  PluginReport report;
  report.name = std::move(name);
  report.reason = status.message();
  report.remedy = std::move(remedy);
  return report;
}

void probe(const baton_plugin* plugin, const RailOptions& options, PluginReport& report) {
  baton_rail_options plain{};
  plain.struct_size = sizeof(plain);
  plain.device = options.device.empty() ? nullptr : options.device.c_str();
  plain.settings = options.settings.empty() ? nullptr : options.settings.c_str();
  plain.in_process = options.in_process;
  baton_probe answer{};
  answer.struct_size = sizeof(answer);
  plugin->probe(&plain, &answer);
  report.usable = answer.usable != 0;
  report.reason = answer.reason;
  report.remedy = answer.remedy;
}

PluginReport inspect(const baton_plugin* plugin, const ContextOptions& options) {
  PluginReport report;
  report.name = plugin->name;
  report.summary = plugin->summary == nullptr ? "" : plugin->summary;
  const RailOptions rail_options = options_for(report.name, options);
  probe(plugin, rail_options, report);
  if (!report.usable) return report;
  NoEvents events;
  base::MonotonicClock clock;
  base::Logger logger(options.log_level, options.log_callback);
  const auto rail = transport::Rail::open(RailIndex(0), plugin, rail_options, options.unit_bytes,
                                          &events, clock, logger);
  if (!rail.is_ok()) {
    report.usable = false;
    report.reason = rail.status().message();
    return report;
  }
  report.in_process = (*rail)->has(BATON_CAP_IN_PROCESS);
  report.capabilities = texts_of((*rail)->capabilities());
  return report;
}

}  // namespace

std::vector<PluginReport> inspect_plugins(const ContextOptions& options) {
  std::vector<PluginReport> reports;
  transport::PluginRegistry registry;
  for (const baton_plugin* plugin : {baton_plugin_tcp(), baton_plugin_loopback()}) {
    const Status added = registry.add_builtin(plugin);
    if (!added.is_ok()) reports.push_back(unusable(plugin->name, added, "report this fault"));
  }
  for (const std::string& file : options.plugin_files) {
    const auto loaded = registry.load_file(file);
    if (!loaded.is_ok()) {
      reports.push_back(
          unusable(file, loaded.status(),
                   "check the path, and that the plug-in was built for this version"));
    }
  }
  for (const baton_plugin* plugin : registry.list()) reports.push_back(inspect(plugin, options));
  return reports;
}

Result<std::string> fetch_dump(const DumpQuery& query) {
  if (query.timeout_ms == 0)
    return Status(StatusCode::kInvalidArgument, "DumpQuery::timeout_ms is 0: must be at least 1");
  control::ObserverOptions options;
  options.name = "observer-" + std::to_string(::getpid());
  options.timeout_ms = query.timeout_ms;
  options.format =
      query.format == DumpFormat::kJson ? wire::StateFormat::kJson : wire::StateFormat::kText;
  if (!query.secret_file.empty()) {
    base::Logger logger(LogLevel::kWarning);
    auto secret = control::read_secret_file(query.secret_file, logger);
    if (!secret.is_ok()) return secret.status();
    options.secret = std::move(secret).value();
  }
  return control::observe(query.address, options);
}

}  // namespace baton
