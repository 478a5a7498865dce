#include <hwloc.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <fstream>

#include "perf/doctor/checks.h"
#include "perf/lib/machine.h"
#include "perf/lib/size.h"

namespace baton_doctor {

using baton_perf::format_size;
using baton_perf::read_field;
using baton_perf::read_line;

Finding check_cpus() {
  const baton_perf::Machine machine = baton_perf::read_machine();
  Finding finding{.what = "CPUs"};
  finding.detail = std::to_string(machine.cpus) + " usable, " + machine.cpu_model +
                   (machine.hypervisor ? ", virtual machine" : "");
  if (machine.cpus < 2) {
    finding.level = Level::kWarning;
    finding.why = "the data thread and the application share one CPU";
    finding.remedy =
        "give the process two CPUs, or drive progress yourself (ProgressMode::kCaller)";
  }
  return finding;
}

Finding check_kernel() {
  utsname names{};
  Finding finding{.what = "kernel"};
  if (::uname(&names) != 0) {
    finding.level = Level::kWarning;
    finding.detail = "uname failed";
    return finding;
  }
  finding.detail = std::string(names.sysname) + " " + names.release + " " + names.machine;
  return finding;
}

Finding judge_locked_memory(uint64_t limit_bytes) {
  // A KV pool is gigabytes; 8 MiB is what systemd gives a process.
  constexpr uint64_t kUsefulBytes = uint64_t{1} << 30;
  Finding finding{.what = "locked memory"};
  if (limit_bytes == UINT64_MAX) {
    finding.detail = "unlimited";
    return finding;
  }
  finding.detail = "limit " + format_size(limit_bytes);
  if (limit_bytes >= kUsefulBytes) return finding;
  finding.level = Level::kWarning;
  finding.why =
      "RDMA registration and pinned staging lock memory and fail past this limit; tcp "
      "does not need it";
  finding.remedy =
      "ulimit -l unlimited (LimitMEMLOCK=infinity in a systemd unit, --ulimit "
      "memlock=-1 for a container)";
  return finding;
}

Finding check_locked_memory() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return judge_locked_memory(0);
  return judge_locked_memory(limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur);
}

Finding check_open_files() {
  rlimit limit{};
  Finding finding{.what = "open files"};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return finding;
  finding.detail =
      limit.rlim_cur == RLIM_INFINITY ? "unlimited" : "limit " + std::to_string(limit.rlim_cur);
  // Two sockets a peer, and what the application itself opens.
  if (limit.rlim_cur >= 1024) return finding;
  finding.level = Level::kWarning;
  finding.why = "each peer takes two descriptors or more";
  finding.remedy = "ulimit -n 65536";
  return finding;
}

Finding check_huge_pages(const Root& root) {
  Finding finding{.what = "huge pages"};
  const std::string reserved =
      read_field(root.path + "/proc/meminfo", "HugePages_Total").value_or("0");
  const std::string transparent =
      read_line(root.path + "/sys/kernel/mm/transparent_hugepage/enabled").value_or("not built in");
  const size_t open = transparent.find('[');
  const size_t close = transparent.find(']');
  const std::string mode = open != std::string::npos && close != std::string::npos
                               ? transparent.substr(open + 1, close - open - 1)
                               : transparent;
  finding.detail = reserved + " reserved, transparent: " + mode;
  if (reserved == "0" && (mode == "never" || mode == "not built in")) {
    finding.level = Level::kWarning;
    finding.why = "large KV pools in small pages cost more TLB misses and longer registrations";
    finding.remedy = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled";
  }
  return finding;
}

Finding check_topology() {
  Finding finding{.what = "topology"};
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) {
    finding.level = Level::kWarning;
    finding.detail = "hwloc failed";
    return finding;
  }
  if (hwloc_topology_load(topology) == 0) {
    const auto count = [&](hwloc_obj_type_t type) {
      return std::to_string(hwloc_get_nbobjs_by_type(topology, type));
    };
    finding.detail = count(HWLOC_OBJ_PACKAGE) + " package(s), " + count(HWLOC_OBJ_NUMANODE) +
                     " NUMA node(s), " + count(HWLOC_OBJ_CORE) + " core(s), " +
                     count(HWLOC_OBJ_L3CACHE) + " L3 cache(s)";
  } else {
    finding.level = Level::kWarning;
    finding.detail = "hwloc could not read the topology";
    finding.why = "rails cannot be chosen by distance";
  }
  hwloc_topology_destroy(topology);
  return finding;
}

}  // namespace baton_doctor
