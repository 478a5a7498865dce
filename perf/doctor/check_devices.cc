#include <dlfcn.h>

#include <algorithm>
#include <filesystem>

#include "perf/doctor/checks.h"
#include "perf/lib/machine.h"

namespace baton_doctor {
namespace {

// Names of the entries of a folder, sorted; empty when it is not there.
std::vector<std::string> entries(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : ", ") + text;
  return all;
}

}  // namespace

Finding check_rdma_devices(const Root& root) {
  const std::string folder = root.path + "/sys/class/infiniband";
  Finding finding{.what = "RDMA devices"};
  std::vector<std::string> texts;
  bool any_active = false;
  for (const std::string& device : entries(folder)) {
    for (const std::string& port : entries(folder + "/" + device + "/ports")) {
      const std::string files = folder + "/" + device + "/ports/" + port;
      const std::string state = baton_perf::read_line(files + "/state").value_or("unknown");
      const std::string rate = baton_perf::read_line(files + "/rate").value_or("rate unknown");
      any_active = any_active || state.find("ACTIVE") != std::string::npos;
      texts.push_back(device + " port " + port + " (" + state + ", " + rate + ")");
    }
  }
  finding.detail = texts.empty() ? "none" : joined(texts);
  if (any_active) return finding;
  finding.level = texts.empty() ? Level::kMissing : Level::kWarning;
  finding.why = "bytes to other hosts go over TCP, through the CPU and the kernel";
  finding.remedy =
      texts.empty() ? "nothing if this machine has no RDMA NIC; else load its driver (rdma-core, "
                      "modprobe mlx5_ib) or pass /dev/infiniband into the container"
                    : "check the cable and the switch port: ibstat, ip link";
  return finding;
}

Finding check_gpus(const Root& root) {
  Finding finding{.what = "GPUs"};
  std::vector<std::string> texts;
  const std::string folder = root.path + "/proc/driver/nvidia/gpus";
  for (const std::string& address : entries(folder)) {
    const std::string model =
        baton_perf::read_field(folder + "/" + address + "/information", "Model")
            .value_or("unknown model");
    texts.push_back(model + " at " + address);
  }
  finding.detail = texts.empty() ? "none" : joined(texts);
  if (!texts.empty()) return finding;
  finding.level = Level::kMissing;
  finding.why = "host memory only: no section in HBM";
  finding.remedy =
      "nothing if this machine has no NVIDIA GPU; else install its driver, or give the "
      "container the GPUs (--gpus all)";
  return finding;
}

Finding check_cuda_driver() {
  Finding finding{.what = "CUDA driver library"};
  void* library = ::dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (library != nullptr) {
    using GetVersion = int (*)(int*);
    const auto get_version = reinterpret_cast<GetVersion>(::dlsym(library, "cuDriverGetVersion"));
    int version = 0;
    if (get_version != nullptr) get_version(&version);
    finding.detail = "libcuda.so.1, CUDA " + std::to_string(version / 1000) + "." +
                     std::to_string(version % 1000 / 10);
    ::dlclose(library);
    return finding;
  }
  const char* error = ::dlerror();
  finding.level = Level::kMissing;
  finding.detail = error == nullptr ? "libcuda.so.1 cannot be loaded" : error;
  finding.why = "GPU memory and GPU gates are not usable";
  finding.remedy = "comes with the NVIDIA driver; not needed for host memory";
  return finding;
}

Finding check_cuda_toolkit(const Root& root) {
  Finding finding{.what = "CUDA toolkit"};
  for (const char* path : {"/usr/local/cuda/include/cuda.h", "/usr/include/cuda.h"}) {
    if (std::filesystem::exists(root.path + path)) {
      finding.detail = path;
      return finding;
    }
  }
  finding.level = Level::kMissing;
  finding.detail = "no cuda.h in /usr/local/cuda/include or /usr/include";
  finding.why = "Baton builds without its GPU parts";
  finding.remedy = "install the toolkit before building, if this machine builds for GPUs";
  return finding;
}

}  // namespace baton_doctor
