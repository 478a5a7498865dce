// The ways in which the suite is run: a new plug-in adds its lines here and nothing else.
#include <dlfcn.h>

#include <cstdio>

#include "baton/plugin/builtin.h"
#include "tests/conformance/connection.h"

namespace baton_conformance {
namespace {

PluginSource linked_loopback() {
  return {baton_plugin_loopback(), baton_loopback_fabric_create, baton_loopback_fabric_destroy};
}

PluginSource linked_tcp() { return {baton_plugin_tcp(), nullptr, nullptr}; }

// Libraries stay loaded until the process ends: sanitizers name frames by them.
PluginSource load_library(const char* path) {
  void* library = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    std::fprintf(stderr, "%s\n", ::dlerror());
    return {};
  }
  auto entry = reinterpret_cast<baton_plugin_entry_fn>(::dlsym(library, BATON_PLUGIN_ENTRY));
  PluginSource source;
  if (entry != nullptr) source.plugin = entry();
  source.fabric_create = reinterpret_cast<decltype(source.fabric_create)>(
      ::dlsym(library, "baton_loopback_fabric_create"));
  source.fabric_destroy = reinterpret_cast<decltype(source.fabric_destroy)>(
      ::dlsym(library, "baton_loopback_fabric_destroy"));
  return source;
}

PluginSource library_loopback() { return load_library(BATON_TEST_LOOPBACK_MODULE); }
PluginSource library_tcp() { return load_library(BATON_TEST_TCP_MODULE); }

baton_loopback_plan plan(uint32_t flags) {
  baton_loopback_plan result;
  baton_loopback_plan_init(&result);
  result.flags = flags;
  return result;
}

}  // namespace

std::vector<Fixture> all_fixtures() {
  constexpr uint32_t kOrdered = BATON_CAP_ORDERED | BATON_CAP_IMM_COVERS_PRIOR;
  baton_loopback_plan delayed = plan(kOrdered);
  delayed.delay_min_ns = 10'000;
  delayed.delay_max_ns = 2'000'000;
  baton_loopback_plan reordered = plan(0);
  reordered.reorder_percent = 80;
  baton_loopback_plan scattered = reordered;
  scattered.delay_min_ns = 0;
  scattered.delay_max_ns = 3'000'000;
  scattered.seed = 7;
  baton_loopback_plan small_steps = plan(kOrdered);
  small_steps.bytes_per_progress = 5'003;
  return {
      {"LoopbackOrdered", linked_loopback, StreamKind::kNone, plan(kOrdered)},
      {"LoopbackOrderedUncovered", linked_loopback, StreamKind::kNone, plan(BATON_CAP_ORDERED)},
      {"LoopbackUnordered", linked_loopback, StreamKind::kNone, plan(0)},
      {"LoopbackReordered", linked_loopback, StreamKind::kNone, reordered},
      {"LoopbackDelayed", linked_loopback, StreamKind::kNone, delayed},
      {"LoopbackDelayedReordered", linked_loopback, StreamKind::kNone, scattered},
      {"LoopbackSmallSteps", linked_loopback, StreamKind::kNone, small_steps},
      {"LoopbackLibrary", library_loopback, StreamKind::kNone, plan(kOrdered)},
      {"TcpV4", linked_tcp, StreamKind::kTcpV4, {}},
      {"TcpV6", linked_tcp, StreamKind::kTcpV6, {}},
      {"TcpUnix", linked_tcp, StreamKind::kUnix, {}},
      {"TcpLibrary", library_tcp, StreamKind::kTcpV4, {}},
  };
}

}  // namespace baton_conformance
