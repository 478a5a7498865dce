// A host table that records every report and checks the border's invariants as they happen.
//
// One TestHost serves one rail and is used by the one thread that drives it. Regions have guard
// bytes on both sides.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "baton/plugin/plugin.h"

namespace baton_conformance {

inline constexpr std::byte kPoison{0xA5};
inline constexpr std::byte kGuard{0x5C};
inline constexpr size_t kGuardBytes = 4096;

// Time that only tests move. Shared by both ends.
struct TestClock {
  std::atomic<int64_t> now_ns{1'000'000};
};

// What is allocated inside an operation of the plug-in, by the host table or by operator new.
// Counted per thread.
struct AllocationCount {
  uint64_t host = 0;
  uint64_t operator_new = 0;
};
AllocationCount& allocation_count();
// What is allocated while one lives is counted, callbacks of the host apart.
class PluginScope {
 public:
  PluginScope();
  ~PluginScope();
  PluginScope(const PluginScope&) = delete;
  PluginScope& operator=(const PluginScope&) = delete;

 private:
  uint64_t start_;
};

struct Region {
  uint64_t key = 0;
  uint64_t base = 0;
  std::vector<std::byte> storage;
  baton_region* handle = nullptr;

  [[nodiscard]] std::span<std::byte> bytes() {
    return std::span(storage).subspan(kGuardBytes, storage.size() - 2 * kGuardBytes);
  }
  [[nodiscard]] bool guards_intact() const;
};

enum class OpState : uint8_t { kUnknown, kPosted, kDone, kInDoubt, kRefused };

struct PathLog {
  std::vector<OpState> ops;  // by op
  std::vector<uint32_t> immediates;
  size_t reported = 0;
  bool broken = false;
  bool fenced = false;
  std::string reason;

  [[nodiscard]] size_t count(OpState state) const;
};

class TestHost {
 public:
  explicit TestHost(TestClock* clock);
  ~TestHost();
  TestHost(const TestHost&) = delete;
  TestHost& operator=(const TestHost&) = delete;

  [[nodiscard]] const baton_host* table() const { return &table_; }

  // Filled with poison.
  Region& add_region(size_t length_bytes);
  [[nodiscard]] Region& region(size_t index) { return *regions_[index]; }
  [[nodiscard]] size_t num_regions() const { return regions_.size(); }
  // Grants that resolve() honours; 1 is live from the start. An ended one refuses with `ended`.
  void allow(uint64_t grant) { live_grants_.push_back(grant); }
  void end(uint64_t grant);

  [[nodiscard]] PathLog& log(uint64_t cookie) { return *logs_.at(cookie); }
  uint64_t add_path();

  // Called from units_arrived and op_done, before they are recorded.
  std::function<void(uint32_t immediate)> on_immediate;
  std::function<void(uint64_t op, baton_op_status status)> on_op;

  // The connection says what is running, so that callbacks can check where they come from.
  void enter(uint64_t budget_bytes, bool may_report);
  void leave();
  [[nodiscard]] int64_t outstanding_bytes() const { return outstanding_bytes_; }

 private:
  static TestHost* self(void* context) { return static_cast<TestHost*>(context); }
  void check_callback(uint64_t cookie, const char* what, bool report);
  void fill_table();
  baton_resolved resolve(uint64_t cookie, uint64_t grant, uint64_t key, uint64_t address,
                         uint32_t length_bytes);
  void op_done(uint64_t cookie, uint64_t op, baton_op_status status);

  baton_host table_{};
  TestClock* clock_;
  std::vector<std::unique_ptr<Region>> regions_;
  std::vector<uint64_t> live_grants_{1};
  std::vector<uint64_t> ended_grants_;
  std::vector<std::unique_ptr<PathLog>> logs_;
  int64_t outstanding_bytes_ = 0;
  uint64_t random_state_ = 1;
  uint64_t budget_bytes_ = 0;
  bool inside_ = false;
  bool may_report_ = false;
  std::thread::id thread_;
};

}  // namespace baton_conformance
