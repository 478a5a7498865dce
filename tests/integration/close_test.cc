// Context::close while other threads are in the middle of a call: every call ends, nothing stays
// registered, and what close() says is what it did.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>

#include "tests/integration/plugin_module.h"
#include "tests/integration/rig.h"
#include "tests/support/test_seed.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::StatusCode;

// The symbols of the library that the Context loads, for as long as this lives.
class LoadedModule {
 public:
  LoadedModule() : library_(::dlopen(BATON_TEST_MODULE_FILE, RTLD_NOW | RTLD_LOCAL)) {
    if (library_ == nullptr) std::abort();
    hooks_ = static_cast<ModuleHooks*>(::dlsym(library_, kHooksSymbol));
  }
  ~LoadedModule() { ::dlclose(library_); }
  LoadedModule(const LoadedModule&) = delete;
  LoadedModule& operator=(const LoadedModule&) = delete;

  ModuleHooks* operator->() { return hooks_; }

 private:
  void* const library_;
  ModuleHooks* hooks_ = nullptr;
};

std::atomic<bool> registering{false};
std::atomic<bool> may_register{false};

baton::Result<baton::Section> register_some(baton::Context& context, std::vector<uint8_t>& memory) {
  baton::SectionOptions options;
  options.address = memory.data();
  options.length_bytes = memory.size();
  return context.register_section(options);
}

// Known by what a call says that looks at nothing else before.
bool is_closing(baton::Context& context) {
  return context.connect("no address").code() == StatusCode::kFailedPrecondition;
}

// The data path hangs in the first registration, so that the others wait for it, most of them for
// room in its queue, when close() begins.
TEST(CloseRace, RegistrationsUnderWayEnd) {
  constexpr int kThreads = 32;
  LoadedModule module;
  registering.store(false);
  may_register.store(false);
  module->before_register.store(+[] {
    registering.store(true);
    wait_until([] { return may_register.load(); });
  });
  baton::ContextOptions options = quiet_options("closes");
  options.plugin_files = {BATON_TEST_MODULE_FILE};
  options.rails[0].plugin = kModuleName;
  options.max_submissions = 2;
  auto context = require(baton::Context::create(options), "Context::create");
  std::vector<uint8_t> memory(64);
  std::atomic<int> begun{0};
  std::atomic<int> ended{0};
  std::atomic<int> strange{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      ++begun;
      auto section = register_some(context, memory);
      if (!section.is_ok() && section.code() != StatusCode::kFailedPrecondition) ++strange;
      if (section.is_ok() && !section->close().is_ok()) ++strange;
      ++ended;
    });
  }
  ASSERT_TRUE(wait_until([&] { return begun == kThreads && registering.load(); }));
  std::thread closer([&] { context.close(0).ignore(); });
  ASSERT_TRUE(wait_until([&] { return is_closing(context); }));
  may_register.store(true);
  if (!wait_until([&] { return ended == kThreads; })) {
    std::fprintf(stderr, "%d of %d registrations never end\n", kThreads - ended, kThreads);
    std::abort();  // they cannot be joined
  }
  for (std::thread& thread : threads) thread.join();
  closer.join();
  module->before_register.store(nullptr);
  EXPECT_EQ(strange, 0);
  EXPECT_EQ(module->regions, 0);
  EXPECT_EQ(module->rails_closed_early, 0);
}

// The handle goes while the Grant over its memory cannot end: the data path hangs.
TEST(CloseSection, ADestructorThatFailsIsLogged) {
  LoadedModule module;
  registering.store(false);
  may_register.store(false);
  std::mutex log_mutex;
  std::string log;
  baton::ContextOptions options = quiet_options("hangs");
  options.plugin_files = {BATON_TEST_MODULE_FILE};
  options.rails[0].plugin = kModuleName;
  options.log_callback = [&](baton::LogLevel, std::string_view line) {
    const std::lock_guard<std::mutex> lock(log_mutex);
    log += std::string(line) + "\n";
  };
  auto context = require(baton::Context::create(options), "Context::create");
  options.name = "peer";
  auto peer = require(baton::Context::create(options), "Context::create");
  std::vector<uint8_t> memory(64);
  baton::SectionOptions section_options;
  section_options.name = "kept";
  section_options.address = memory.data();
  section_options.length_bytes = memory.size();
  auto section = require(context.register_section(section_options), "register_section");
  baton::RangeGrantRequest request;
  request.peer = require(context.connect(peer.address()), "connect");
  request.ranges = {{section.id(), 0, 64}};
  auto held = require(context.grant_ranges(request), "grant_ranges");
  module->before_register.store(+[] {
    registering.store(true);
    wait_until([] { return may_register.load(); });
  });
  std::thread hangs([&] { require(register_some(context, memory), "register_section"); });
  ASSERT_TRUE(wait_until([&] { return registering.load(); }));
  section = baton::Section();
  {
    const std::lock_guard<std::mutex> lock(log_mutex);
    EXPECT_NE(log.find("section 1 (\"kept\") lost its handle"), std::string::npos) << log;
    EXPECT_NE(log.find("DEADLINE_EXCEEDED"), std::string::npos) << log;
    EXPECT_NE(log.find("1 user"), std::string::npos) << log;
  }
  may_register.store(true);
  hangs.join();
  module->before_register.store(nullptr);
  EXPECT_EQ(held.wait(20000).code(), StatusCode::kCancelled);
  context.close(0).ignore();
  EXPECT_EQ(module->regions, 0) << "the Context's end unregisters it";
}

class ClosePair : public testing::TestWithParam<baton::ProgressMode> {
 protected:
  void start() {
    pair_ =
        std::make_unique<ContextPair>(ContextPair::Options{"tcp", true, test_seed(), GetParam()});
    source_ = std::make_unique<Pool>(PoolShape());
    target_ = std::make_unique<Pool>(PoolShape());
    std::atomic<bool> connected{false};
    source_->publish(pair_->prefill(), "kv");
    target_->publish(pair_->decode(), "kv");
    std::thread driver([&] {
      while (!connected.load() || pair_->prefill().peers().empty()) pair_->prefill().progress();
    });
    peer_ = require(pair_->decode().connect(pair_->prefill().address(), 20000), "connect");
    connected.store(true);
    driver.join();
  }

  baton::Result<baton::Grant> grant() {
    baton::GrantRequest request;
    request.peer = peer_;
    request.cache = target_->cache();
    request.source_cache = "kv";
    request.tag = "r";
    request.tokens = {0, 64};
    request.block_lists = {{0, 1, 2, 3}};
    return pair_->decode().grant(request);
  }

  std::unique_ptr<ContextPair> pair_;
  std::unique_ptr<Pool> source_;
  std::unique_ptr<Pool> target_;
  baton::PeerId peer_;
};

// The Section waits for the Grant's end, and so does the Context.
TEST_P(ClosePair, ASectionClosesWhileTheContextDoes) {
  for (int round = 0; round < 10; ++round) {
    start();
    auto held = require(grant(), "grant");
    std::thread section_closer(
        [&] { require_ok(target_->section_handle().close(), "Section::close"); });
    pair_->decode().close(0).ignore();
    section_closer.join();
    EXPECT_TRUE(baton::is_terminal(held.state()));
    EXPECT_FALSE(target_->section_handle().is_open());
  }
}

TEST_P(ClosePair, GrantsThatAreMadeMeanwhileEndOrAreRefused) {
  for (int round = 0; round < 10; ++round) {
    start();
    std::vector<baton::Grant> made;
    std::atomic<bool> refused{false};
    std::thread granter([&] {
      for (;;) {
        auto one = grant();
        if (!one.is_ok()) break;
        made.push_back(std::move(one).value());
      }
      refused.store(true);
    });
    if (GetParam() == baton::ProgressMode::kThread) {
      ASSERT_TRUE(wait_until([&] { return pair_->prefill().wait_offer("r", 0).is_ok(); }));
    }
    pair_->decode().close(0).ignore();
    granter.join();
    for (const auto& one : made)
      EXPECT_TRUE(baton::is_terminal(one.state())) << baton::state_name(one.state());
  }
}

// Whoever waited for a hand-off and closes at once has cancelled nothing, and its peer hears how it
// ended.
TEST(CloseAtOnce, AfterAWaitCancelsNothing) {
  ContextPair pair({"tcp", true, test_seed()});
  PoolShape shape;
  shape.layers = 1;
  Pool source(shape);
  Pool target(shape);
  source.publish(pair.prefill(), "kv");
  for (int round = 0; round < 60; ++round) {
    auto decode = require(baton::Context::create(quiet_options("round-" + std::to_string(round))),
                          "Context::create");
    target.publish(decode, "kv");
    baton::GrantRequest request;
    request.peer = require(decode.connect(pair.prefill().address()), "connect");
    request.cache = target.cache();
    request.source_cache = "kv";
    request.tag = std::to_string(round);
    request.tokens = {0, 16};
    request.block_lists = {{0}};
    auto held = require(decode.grant(request), "grant");
    baton::PushRequest push;
    push.grant = require(pair.prefill().wait_offer(request.tag, 20000), "wait_offer").id;
    push.cache = source.cache();
    push.block_lists = {{0}};
    auto transfer = require(pair.prefill().push(push), "push");
    require_ok(transfer.seal(), "seal");
    require_ok(held.wait(20000), "Grant::wait");
    const auto closed = decode.close(0);
    EXPECT_TRUE(closed.is_ok()) << "round " << round << ": " << closed.to_string();
    EXPECT_TRUE(transfer.wait(20000).is_ok()) << transfer.status().to_string();
  }
}

// Each thread's check passes before any of them counts.
TEST_P(ClosePair, NoMoreGrantsLiveThanMay) {
  constexpr uint32_t kMost = 4;
  constexpr int kThreads = 8;
  baton::ContextOptions options = quiet_options("few");
  options.max_live = kMost;
  options.progress = GetParam();
  auto few = require(baton::Context::create(options), "Context::create");
  auto peer = require(baton::Context::create(quiet_options("peer")), "Context::create");
  std::vector<uint8_t> memory(1u << 20);
  baton::SectionOptions section_options;
  section_options.address = memory.data();
  section_options.length_bytes = memory.size();
  auto section = require(few.register_section(section_options), "register_section");
  baton::RangeGrantRequest request;
  request.peer = require(few.connect(peer.address()), "connect");
  // Long enough to be checked that all threads are at it.
  for (uint64_t i = 0; i < 4096; ++i) request.ranges.push_back({section.id(), 2 * i, 1});
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> ready{0};
    std::atomic<uint32_t> made{0};
    std::atomic<int> strange{0};
    std::vector<baton::Grant> grants(kThreads);
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        ++ready;
        while (ready != kThreads) std::this_thread::yield();
        auto one = few.grant_ranges(request);
        if (one.is_ok()) {
          ++made;
          grants[static_cast<size_t>(i)] = std::move(one).value();
        } else if (one.code() != StatusCode::kBusy) {
          ++strange;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    // Fewer, when those of the round before are not counted out yet.
    EXPECT_LE(made, kMost);
    EXPECT_EQ(strange, 0);
    for (auto& one : grants) {
      if (!one.is_valid()) continue;
      one.cancel();
      EXPECT_EQ(one.wait(20000).code(), StatusCode::kCancelled) << one.status().to_string();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, ClosePair,
                         testing::Values(baton::ProgressMode::kThread,
                                         baton::ProgressMode::kCaller),
                         [](const auto& mode) {
                           return mode.param == baton::ProgressMode::kThread ? "Thread" : "Caller";
                         });

}  // namespace
}  // namespace baton_test
