#include "tests/conformance/test_host.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "tests/support/alloc_count.h"

namespace baton_conformance {
namespace {

thread_local int scopes = 0;
thread_local uint64_t callback_allocations = 0;
thread_local AllocationCount allocations;

// What a callback of the tests allocates is not the plug-in's.
class CallbackScope {
 public:
  CallbackScope() : start_(baton_test::allocations_of_thread()) {}
  ~CallbackScope() { callback_allocations += baton_test::allocations_of_thread() - start_; }
  CallbackScope(const CallbackScope&) = delete;
  CallbackScope& operator=(const CallbackScope&) = delete;

 private:
  uint64_t start_;
};

}  // namespace

AllocationCount& allocation_count() { return allocations; }
PluginScope::PluginScope() : start_(baton_test::allocations_of_thread() - callback_allocations) {
  ++scopes;
}
PluginScope::~PluginScope() {
  --scopes;
  allocations.operator_new += baton_test::allocations_of_thread() - callback_allocations - start_;
}

bool Region::guards_intact() const {
  const auto good = [](std::byte byte) { return byte == kGuard; };
  return std::all_of(storage.begin(), storage.begin() + kGuardBytes, good) &&
         std::all_of(storage.end() - kGuardBytes, storage.end(), good);
}

size_t PathLog::count(OpState state) const {
  return static_cast<size_t>(std::count(ops.begin(), ops.end(), state));
}

TestHost::TestHost(TestClock* clock) : clock_(clock) { fill_table(); }

TestHost::~TestHost() {
  EXPECT_EQ(outstanding_bytes_, 0) << "the plug-in kept memory of the host";
  for (const auto& region : regions_) EXPECT_TRUE(region->guards_intact());
}

Region& TestHost::add_region(size_t length_bytes) {
  auto region = std::make_unique<Region>();
  region->storage.assign(length_bytes + 2 * kGuardBytes, kPoison);
  std::fill_n(region->storage.begin(), kGuardBytes, kGuard);
  std::fill_n(region->storage.end() - kGuardBytes, kGuardBytes, kGuard);
  regions_.push_back(std::move(region));
  return *regions_.back();
}

void TestHost::end(uint64_t grant) {
  std::erase(live_grants_, grant);
  ended_grants_.push_back(grant);
}

uint64_t TestHost::add_path() {
  logs_.push_back(std::make_unique<PathLog>());
  return logs_.size() - 1;
}

void TestHost::enter(uint64_t budget_bytes, bool may_report) {
  inside_ = true;
  may_report_ = may_report;
  budget_bytes_ = budget_bytes;
  thread_ = std::this_thread::get_id();
}

void TestHost::leave() { inside_ = false; }

void TestHost::check_callback(uint64_t cookie, const char* what, bool report) {
  EXPECT_TRUE(inside_) << what << " outside of an operation";
  EXPECT_EQ(thread_, std::this_thread::get_id()) << what << " on a foreign thread";
  EXPECT_TRUE(may_report_ || !report) << what << " from within post or flush";
  ASSERT_LT(cookie, logs_.size()) << what << " with an unknown cookie";
  EXPECT_FALSE(logs_[cookie]->fenced) << what << " after fenced()";
}

baton_resolved TestHost::resolve(uint64_t cookie, uint64_t grant, uint64_t key, uint64_t address,
                                 uint32_t length_bytes) {
  check_callback(cookie, "resolve", false);
  EXPECT_GT(length_bytes, 0u);
  if (budget_bytes_ > 0) {
    EXPECT_LE(length_bytes, std::max<uint64_t>(budget_bytes_, 256u << 10)) << "a chunk of no chunk";
  }
  if (std::find(ended_grants_.begin(), ended_grants_.end(), grant) != ended_grants_.end()) {
    return {nullptr, 1};
  }
  if (std::find(live_grants_.begin(), live_grants_.end(), grant) == live_grants_.end()) {
    return {nullptr, 0};
  }
  for (const auto& region : regions_) {
    if (region->key != key) continue;
    const uint64_t offset = address - region->base;
    const auto bytes = region->bytes();
    if (offset > bytes.size() || length_bytes > bytes.size() - offset) return {nullptr, 0};
    return {bytes.data() + offset, 0};
  }
  return {nullptr, 0};
}

void TestHost::op_done(uint64_t cookie, uint64_t op, baton_op_status status) {
  check_callback(cookie, "op_done", true);
  if (on_op) on_op(op, status);
  PathLog& log = *logs_.at(cookie);
  ASSERT_LT(op, log.ops.size()) << "an op that was never posted";
  EXPECT_EQ(log.ops[op], OpState::kPosted) << "op " << op << " reported twice, or not accepted";
  log.ops[op] = status == BATON_OP_DONE       ? OpState::kDone
                : status == BATON_OP_IN_DOUBT ? OpState::kInDoubt
                                              : OpState::kRefused;
  ++log.reported;
}

void TestHost::fill_table() {
  table_.struct_size = sizeof table_;
  table_.context = this;
  table_.now_ns = [](void* context) { return self(context)->clock_->now_ns.load(); };
  table_.random = [](void* context) { return ++self(context)->random_state_; };
  table_.log = [](void*, baton_log_level, const char*) {};
  table_.allocate = [](void* context, size_t bytes, size_t alignment) -> void* {
    if (scopes > 0) ++allocations.host;
    self(context)->outstanding_bytes_ += static_cast<int64_t>(bytes);
    return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  };
  table_.release = [](void* context, void* memory, size_t bytes) {
    self(context)->outstanding_bytes_ -= static_cast<int64_t>(bytes);
    std::free(memory);
  };
  table_.op_done = [](void* context, uint64_t cookie, uint64_t op, baton_op_status status) {
    const CallbackScope scope;
    self(context)->op_done(cookie, op, status);
  };
  table_.units_arrived = [](void* context, uint64_t cookie, uint32_t immediate) {
    const CallbackScope scope;
    TestHost* host = self(context);
    host->check_callback(cookie, "units_arrived", true);
    if (host->on_immediate) host->on_immediate(immediate);
    host->logs_.at(cookie)->immediates.push_back(immediate);
  };
  table_.path_broken = [](void* context, uint64_t cookie, const char* reason) {
    const CallbackScope scope;
    TestHost* host = self(context);
    host->check_callback(cookie, "path_broken", true);
    EXPECT_FALSE(host->logs_.at(cookie)->broken) << "path_broken twice";
    EXPECT_STRNE(reason, "");
    host->logs_.at(cookie)->broken = true;
    host->logs_.at(cookie)->reason = reason;
  };
  table_.fenced = [](void* context, uint64_t cookie) {
    const CallbackScope scope;
    TestHost* host = self(context);
    host->check_callback(cookie, "fenced", true);
    PathLog& log = *host->logs_.at(cookie);
    EXPECT_EQ(log.count(OpState::kPosted), 0u) << "an op outstanding at fenced()";
    log.fenced = true;
  };
  table_.resolve = [](void* context, uint64_t cookie, uint64_t grant, uint64_t key,
                      uint64_t address, uint32_t length_bytes, baton_access) {
    const CallbackScope scope;
    return self(context)->resolve(cookie, grant, key, address, length_bytes);
  };
}

}  // namespace baton_conformance
