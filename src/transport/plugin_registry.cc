#include "src/transport/plugin_registry.h"

#include <dlfcn.h>

#include <cstddef>
#include <utility>

#include "src/base/assert.h"

namespace baton::transport {
namespace {

// The last function that this version calls; a later version's longer table is welcome.
constexpr size_t kSmallestTableBytes = offsetof(baton_plugin, arm) + sizeof(baton_plugin::arm);

struct CloseLibrary {
  void operator()(void* library) const { (void)::dlclose(library); }
};
using UniqueLibrary = std::unique_ptr<void, CloseLibrary>;

// The name of the first function that is missing, or null.
const char* missing_function(const baton_plugin& plugin) {
  const struct {
    const char* name;
    bool present;
  } functions[] = {
      {"probe", plugin.probe != nullptr},
      {"rail_open", plugin.rail_open != nullptr},
      {"rail_close", plugin.rail_close != nullptr},
      {"capabilities", plugin.capabilities != nullptr},
      {"region_register", plugin.region_register != nullptr},
      {"region_unregister", plugin.region_unregister != nullptr},
      {"path_open", plugin.path_open != nullptr},
      {"path_address", plugin.path_address != nullptr},
      {"path_connect", plugin.path_connect != nullptr},
      {"path_close", plugin.path_close != nullptr},
      {"post", plugin.post != nullptr},
      {"flush", plugin.flush != nullptr},
      {"fence", plugin.fence != nullptr},
      {"progress", plugin.progress != nullptr},
      {"wait_fd", plugin.wait_fd != nullptr},
      {"arm", plugin.arm != nullptr},
  };
  for (const auto& function : functions) {
    if (!function.present) return function.name;
  }
  return nullptr;
}

// Reads no field before it is known to lie within the table.
Status check_table(const baton_plugin* plugin, const std::string& origin) {
  if (plugin == nullptr) {
    return Status(StatusCode::kInvalidArgument, origin + ": its entry returned no table");
  }
  const std::string size = std::to_string(plugin->struct_size);
  if (plugin->struct_size < offsetof(baton_plugin, abi) + sizeof(plugin->abi)) {
    return Status(StatusCode::kMismatch, origin + ": its table is only " + size + " bytes long");
  }
  if (plugin->abi != BATON_PLUGIN_ABI) {
    return Status(StatusCode::kMismatch, origin + ": plug-in ABI " + std::to_string(plugin->abi) +
                                             ", this version speaks " +
                                             std::to_string(BATON_PLUGIN_ABI));
  }
  if (plugin->struct_size < kSmallestTableBytes) {
    return Status(StatusCode::kMismatch, origin + ": its table is " + size +
                                             " bytes long, this version needs " +
                                             std::to_string(kSmallestTableBytes));
  }
  if (plugin->name == nullptr || plugin->name[0] == '\0') {
    return Status(StatusCode::kInvalidArgument, origin + ": its table has no name");
  }
  if (const char* missing = missing_function(*plugin)) {
    return Status(StatusCode::kInvalidArgument,
                  origin + ": plug-in \"" + plugin->name + "\" lacks the function " + missing);
  }
  return Status::ok();
}

const char* last_dl_error() {
  const char* text = ::dlerror();
  return text != nullptr ? text : "no reason given";
}

}  // namespace

struct PluginRegistry::Entry {
  UniqueLibrary library;  // null when linked in
  const baton_plugin* plugin = nullptr;
  std::string origin;
};

PluginRegistry::PluginRegistry() = default;
PluginRegistry::~PluginRegistry() = default;

Status PluginRegistry::add(std::unique_ptr<Entry> entry) {
  BATON_RETURN_IF_ERROR(check_table(entry->plugin, entry->origin));
  for (const auto& other : entries_) {
    if (std::string_view(other->plugin->name) == entry->plugin->name) {
      return Status(StatusCode::kInvalidArgument, entry->origin + ": the plug-in name \"" +
                                                      entry->plugin->name + "\" is taken by the " +
                                                      other->origin);
    }
  }
  entries_.push_back(std::move(entry));
  return Status::ok();
}

Status PluginRegistry::add_builtin(const baton_plugin* plugin) {
  auto entry = std::make_unique<Entry>();
  entry->plugin = plugin;
  entry->origin = "linked-in plug-in";
  return add(std::move(entry));
}

Result<const baton_plugin*> PluginRegistry::load_file(const std::string& path) {
  // dlopen takes an empty name for the program itself.
  if (path.empty()) return Status(StatusCode::kInvalidArgument, "plug-in file: the path is empty");
  auto entry = std::make_unique<Entry>();
  entry->origin = "plug-in file " + path;
  entry->library.reset(::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL));
  if (entry->library == nullptr) {
    return Status(StatusCode::kUnavailable, entry->origin + ": dlopen: " + last_dl_error());
  }
  void* symbol = ::dlsym(entry->library.get(), BATON_PLUGIN_ENTRY);
  if (symbol == nullptr) {
    return Status(StatusCode::kUnavailable, entry->origin + ": dlsym: " + last_dl_error());
  }
  const baton_plugin* plugin = reinterpret_cast<baton_plugin_entry_fn>(symbol)();
  entry->plugin = plugin;
  BATON_RETURN_IF_ERROR(add(std::move(entry)));
  return plugin;
}

Result<const baton_plugin*> PluginRegistry::find(std::string_view name) const {
  std::string known;
  for (const auto& entry : entries_) {
    if (name == entry->plugin->name) return entry->plugin;
    known += known.empty() ? "" : ", ";
    known += entry->plugin->name;
  }
  return Status(StatusCode::kUnavailable, "no plug-in named \"" + std::string(name) +
                                              "\"; known: " + (known.empty() ? "none" : known));
}

std::vector<const baton_plugin*> PluginRegistry::list() const {
  std::vector<const baton_plugin*> plugins;
  for (const auto& entry : entries_) plugins.push_back(entry->plugin);
  return plugins;
}

}  // namespace baton::transport
