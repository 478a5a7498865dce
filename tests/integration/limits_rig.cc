#include "tests/integration/limits_rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <sstream>

#include "tests/integration/process_rig.h"

namespace baton_test {
namespace {

void say(const std::string& line) { std::cout << line << std::endl; }

void set_soft_limit(__rlimit_resource resource, rlim_t soft) {
  rlimit limit{};
  ::getrlimit(resource, &limit);
  limit.rlim_cur = soft;
  if (::setrlimit(resource, &limit) != 0) {
    std::perror("setrlimit");
    std::abort();
  }
}

int64_t cpu_ms() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return used.tv_sec * 1000 + used.tv_nsec / 1'000'000;
}

int run_limited(const std::string& name) {
  set_soft_limit(RLIMIT_NOFILE, 128);
  auto context = require(baton::Context::create(process_options(name)), "create");
  Pool source(big_shape());
  source.memory().fill_pattern(kOriginal);
  source.publish(context, "kv");
  DescriptorHog hog;
  say("ADDRESS " + context.address());
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "leave") {
      uint32_t left = 0;
      words >> left;
      hog.leave(left);
      say("LEFT");
    } else if (command == "release") {
      hog.release();
      say("RELEASED");
    } else if (command == "connect") {
      std::string address;
      words >> address;
      const auto peer = context.connect(address, 3000);
      say("DIALED " + (peer.is_ok() ? std::string("OK") : peer.status().to_string()));
    } else if (command == "push") {
      auto transfer = start_push(context, source);
      require_ok(transfer.seal(), "seal");
      transfer.wait(30000).ignore();
      say("ENDED " + std::string(baton::state_name(transfer.state())));
    } else if (command == "cpu") {
      say("CPU " + std::to_string(cpu_ms()));
    }
  }
  return 0;
}

// "SAME" when a hand-off between the two is right in every byte.
std::string hand_over(ContextPair& pair, Pool& source, Pool& target,
                      const std::vector<uint8_t>& expected) {
  auto grant = require(
      pair.decode().grant(grant_request(pair.prefill_peer(), target.cache(), 60000)), "grant");
  auto transfer = start_push(pair.prefill(), source);
  require_ok(transfer.seal(), "seal");
  require_ok(grant.wait(60000), "Grant::wait");
  require_ok(transfer.wait(60000), "Transfer::wait");
  const std::string difference = compare_bytes(expected, target.memory().bytes());
  return difference.empty() ? "SAME" : "DIFFERENT " + difference;
}

uint64_t address_space_bytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t pages = 0;
  statm >> pages;
  return pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

int run_memory() {
  Pool source(big_shape());
  Pool target(big_shape());
  source.memory().fill_pattern(kOriginal);
  const auto expected = big_expected();
  const uint64_t base = address_space_bytes();
  uint64_t space = 1u << 20;
  for (;; space += 512u << 10) {
    set_soft_limit(RLIMIT_AS, base + space);
    const auto context = baton::Context::create(process_options("tight"));
    if (context.is_ok()) break;
    set_soft_limit(RLIMIT_AS, RLIM_INFINITY);
    say("CODE " + context.status().to_string());
  }
  set_soft_limit(RLIMIT_AS, RLIM_INFINITY);
  say("MADE within " + std::to_string(space >> 20) + " MiB");
  ContextPair pair({});
  source.publish(pair.prefill(), "kv");
  target.publish(pair.decode(), "kv");
  pair.connect();
  say(hand_over(pair, source, target, expected));
  return 0;
}

// Until the kernel gives no more: single pages whose neighbours have other rights are not joined.
std::vector<void*> take_all_mappings() {
  std::vector<void*> taken;
  taken.reserve(1u << 20);
  for (;;) {
    const int rights = taken.size() % 2 == 0 ? PROT_READ : PROT_NONE;
    void* const page = ::mmap(nullptr, 4096, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || taken.size() == taken.capacity()) return taken;
    taken.push_back(page);
  }
}

int run_mappings() {
  Pool source(big_shape());
  Pool target(big_shape());
  source.memory().fill_pattern(kOriginal);
  ContextPair pair({});
  source.publish(pair.prefill(), "kv");
  target.publish(pair.decode(), "kv");
  const auto expected = big_expected();
  pair.connect();
  auto grant = require(
      pair.decode().grant(grant_request(pair.prefill_peer(), target.cache(), 60000)), "grant");
  auto word = require(pair.prefill().create_progress_word(), "create_progress_word");
  auto transfer = start_push(pair.prefill(), source);
  require_ok(transfer.submit_chunk({kTokens, &word, 0}), "submit_chunk");
  const auto taken = take_all_mappings();
  const auto refused = baton::Context::create(process_options("tight"));
  require_ok(word.advance_to(big_shape().layers), "advance_to");
  const auto grant_end = grant.wait(60000);
  const auto transfer_end = transfer.wait(60000);
  for (void* const page : taken) ::munmap(page, 4096);
  say("TAKEN " + std::to_string(taken.size()));
  say("CODE " + refused.status().to_string());
  require_ok(grant_end, "Grant::wait");
  require_ok(transfer_end, "Transfer::wait");
  const std::string difference = compare_bytes(expected, target.memory().bytes());
  say(difference.empty() ? "SAME" : "DIFFERENT " + difference);
  return 0;
}

int run_descriptors() {
  DIR* const folder = ::opendir("/proc/self/fd");
  std::string text;
  while (const dirent* const entry = ::readdir(folder)) {
    const std::string name = entry->d_name;
    if (name == "." || name == ".." || name == std::to_string(::dirfd(folder))) continue;
    char target[256] = {};
    if (::readlink(("/proc/self/fd/" + name).c_str(), target, sizeof(target) - 1) < 0) continue;
    text += (text.empty() ? "" : " ") + name;
    if (std::stoi(name) > STDERR_FILENO) text += "=" + std::string(target);
  }
  ::closedir(folder);
  say(text);
  return 0;
}

}  // namespace

void DescriptorHog::leave(uint32_t left) {
  for (;;) {
    const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0) break;
    taken_.push_back(fd);
  }
  for (; left > 0 && !taken_.empty(); --left) {
    ::close(taken_.back());
    taken_.pop_back();
  }
}

void DescriptorHog::release() {
  for (const int fd : taken_) ::close(fd);
  taken_.clear();
}

std::optional<int> run_limited_role(int argc, char** argv) {
  const std::string role = argc > 1 ? argv[1] : "";
  if (role == "--role=limited" && argc > 2) return run_limited(argv[2]);
  if (role == "--role=memory") return run_memory();
  if (role == "--role=mappings") return run_mappings();
  if (role == "--role=descriptors") return run_descriptors();
  return std::nullopt;
}

}  // namespace baton_test
