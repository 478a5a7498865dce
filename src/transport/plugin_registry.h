// PluginRegistry: the plug-ins that one Context knows, linked in or loaded from files.
//
// Invariants:
//  1. A plug-in is listed only after its table was checked: the ABI number, the size, and every
//  function present. Nobody
//     checks again.
//  2. Names are unique. A table's address never changes while the registry lives.
//
// Ownership: owns the loaded libraries and closes them at its end, so it outlives every Rail.
// Thread rule: add and load from one thread, before the rails are opened; find and list from any
// thread afterwards.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "baton/plugin/plugin.h"
#include "baton/status.h"

namespace baton::transport {

class PluginRegistry {
 public:
  PluginRegistry();
  ~PluginRegistry();
  PluginRegistry(const PluginRegistry&) = delete;
  PluginRegistry& operator=(const PluginRegistry&) = delete;

  // A plug-in of this library; `plugin` is static. Errors as load_file(), without those of the
  // file.
  Status add_builtin(const baton_plugin* plugin);
  // Loads a library and asks it for its table. kUnavailable: it cannot be loaded, or has no entry
  // (with dlerror's text); kMismatch: another ABI, or a table shorter than this version needs;
  // kInvalidArgument: the table lacks a function or a name, or the name is taken. Nothing stays
  // loaded after a failure. Runs the library's constructors.
  Result<const baton_plugin*> load_file(const std::string& path);

  // kUnavailable, with the names that are known, when there is none of that name.
  Result<const baton_plugin*> find(std::string_view name) const;
  // In the order in which they were added.
  std::vector<const baton_plugin*> list() const;

 private:
  struct Entry;
  Status add(std::unique_ptr<Entry> entry);

  std::vector<std::unique_ptr<Entry>> entries_;
};

}  // namespace baton::transport
