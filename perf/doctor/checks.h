// The checks of baton-doctor. Each only looks: nothing is changed, nothing stays open.
//
// Thread rule: pure reads of /proc, /sys and the linker; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "baton/doctor.h"
#include "perf/doctor/finding.h"

namespace baton_doctor {

// Where the kernel's files are looked for: the root of a captured machine in tests.
struct Root {
  std::string path;  // "" for this machine; "/sys/x" is looked for at path + "/sys/x"
};

Finding check_plugin(const baton::PluginReport& report);

Finding check_cpus();
Finding check_kernel();
// `limit_bytes`: RLIMIT_MEMLOCK; UINT64_MAX: none.
Finding judge_locked_memory(uint64_t limit_bytes);
Finding check_locked_memory();
// Descriptors that this process may open.
Finding check_open_files();
Finding check_huge_pages(const Root& root);
// NUMA nodes, packages and caches as hwloc sees them.
Finding check_topology();

Finding check_rdma_devices(const Root& root);
Finding check_gpus(const Root& root);
// The CUDA driver's library, by dlopen.
Finding check_cuda_driver();
Finding check_cuda_toolkit(const Root& root);

// The checks of this machine, without the plug-ins.
Findings check_machine();
// At least one plug-in is usable and reaches another process.
bool any_transport(const std::vector<baton::PluginReport>& reports);

}  // namespace baton_doctor
