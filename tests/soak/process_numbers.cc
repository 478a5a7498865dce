#include "tests/soak/process_numbers.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

namespace baton_soak {
namespace {

// glibc maps and unmaps for large blocks and arenas as it likes; counter slots are committed page
// by page when they are used for the first time.
#ifdef BATON_TEST_SANITIZED  // a sanitizer keeps what was freed
constexpr uint64_t kMappingSlack = 1u << 20;
constexpr uint64_t kResidentSlack = 1u << 30;
#else
constexpr uint64_t kMappingSlack = 16;
constexpr uint64_t kResidentSlack = 32u << 20;
#endif

uint64_t count_entries(const std::string& folder) {
  std::error_code error;
  uint64_t count = 0;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    ++count;
  }
  return count;
}

}  // namespace

ProcessNumbers read_numbers(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid);
  ProcessNumbers numbers;
  numbers.descriptors = count_entries(folder + "/fd");
  // Ours has the one that reads.
  if (pid == ::getpid() && numbers.descriptors > 0) --numbers.descriptors;
  numbers.threads = count_entries(folder + "/task");
  std::ifstream maps(folder + "/maps");
  for (std::string line; std::getline(maps, line);) ++numbers.mappings;
  std::ifstream statm(folder + "/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  statm >> total >> resident;
  numbers.resident_bytes = resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return numbers;
}

uint64_t count_zombies() {
  uint64_t count = 0;
  std::error_code error;
  const std::string self = std::to_string(::getpid());
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    std::ifstream stat(entry.path() / "stat");
    std::string line;
    if (!std::getline(stat, line)) continue;
    // "pid (name) state parent ...": the name may hold anything.
    std::istringstream rest(line.substr(std::min(line.size(), line.rfind(')') + 1)));
    std::string state;
    std::string parent;
    rest >> state >> parent;
    if (state == "Z" && parent == self) ++count;
  }
  return count;
}

std::string growth(const ProcessNumbers& before, const ProcessNumbers& after) {
  std::ostringstream out;
  const auto check = [&out](const char* what, uint64_t was, uint64_t is, uint64_t slack) {
    if (is > was + slack) out << what << " grew from " << was << " to " << is << "; ";
  };
  check("descriptors", before.descriptors, after.descriptors, 0);
  check("threads", before.threads, after.threads, 0);
  check("mappings", before.mappings, after.mappings, kMappingSlack);
  check("resident bytes", before.resident_bytes, after.resident_bytes, kResidentSlack);
  if (after.free_counter_slots < before.free_counter_slots) {
    out << "free counter slots fell from " << before.free_counter_slots << " to "
        << after.free_counter_slots << "; ";
  }
  return out.str();
}

}  // namespace baton_soak
