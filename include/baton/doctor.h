// What Baton can use on this machine, for baton-doctor and for programs that choose a transport.
//
// Thread rule: pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "baton/export.h"
#include "baton/options.h"

namespace baton {

// One plug-in, linked in or loaded from ContextOptions::plugin_files.
struct PluginReport {
  std::string name;  // "tcp"; the file's path when it could not be loaded
  std::string summary;
  bool usable = false;      // a rail can be opened here
  bool in_process = false;  // reaches peers of this process only
  std::string reason;       // when not usable: why
  std::string remedy;       // and what to do about it
  // Short texts such as "ordered", "immediates of 32 bits", "messages up to 67108864 bytes"; empty
  // when not usable.
  std::vector<std::string> capabilities;
};

// Asks each plug-in whether it is usable; of those that are, opens a rail for a moment to learn its
// capabilities. A plug-in that `options.rails` names is asked with that rail's device and settings,
// the others with their defaults. Allocates, and may take as long as a driver takes.
BATON_EXPORT std::vector<PluginReport> inspect_plugins(const ContextOptions& options);

}  // namespace baton
