// What the test reads and sets in plugin_module.cc, a plug-in library of its own: the symbol
// kHooksSymbol is a ModuleHooks.
#pragma once

#include <atomic>

namespace baton_test {

inline constexpr const char* kHooksSymbol = "baton_test_module_hooks";
inline constexpr const char* kModuleName = "tcp-module";

struct ModuleHooks {
  std::atomic<int> rails{0};    // open now
  std::atomic<int> regions{0};  // registered now
  // Rails that were closed while a region was registered.
  std::atomic<int> rails_closed_early{0};
  // Called on the thread that registers, before it does.
  std::atomic<void (*)()> before_register{nullptr};
};

}  // namespace baton_test
