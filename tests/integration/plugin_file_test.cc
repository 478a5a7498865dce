// A plug-in that is loaded from a file, and that exchanges addresses for its Paths.
#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "baton/plugin/loopback.h"
#include "tests/integration/rig.h"
#include "tests/support/test_seed.h"

namespace baton_test {
namespace {

using baton::StatusCode;

constexpr uint64_t kBytes = 64u << 10;

class PluginFile : public testing::Test {
 protected:
  PluginFile() {
    baton_loopback_plan plan{};
    baton_loopback_plan_init(&plan);
    fabric_ = baton_loopback_fabric_create(&plan);
  }
  ~PluginFile() override {
    contexts_.clear();
    baton_loopback_fabric_destroy(fabric_);
  }

  baton::Context& make(const std::string& name) {
    baton::ContextOptions options = quiet_options(name);
    options.plugin_files = {BATON_TEST_WRITES_ONLY_PLUGIN};
    options.rails[0].plugin = "writes-only";
    options.rails[0].in_process = fabric_;
    contexts_.push_back(std::make_unique<baton::Context>(
        require(baton::Context::create(options), "Context::create")));
    return *contexts_.back();
  }

  static baton::Section register_memory(baton::Context& context, GuardedBuffer& memory) {
    baton::SectionOptions options;
    options.name = "memory";
    options.address = memory.data();
    options.length_bytes = memory.size();
    return require(context.register_section(options), "register_section");
  }

  // Opens all of `section` to `writer`.
  static baton::Grant open(baton::Context& context, baton::PeerId writer,
                           const baton::Section& section, const std::string& tag) {
    baton::RangeGrantRequest request;
    request.peer = writer;
    request.tag = tag;
    request.ranges = {{section.id(), 0, kBytes}};
    request.allow_write = request.allow_read = true;
    return require(context.grant_ranges(request), "grant_ranges");
  }

  static baton::RawRequest all_of(const baton::Section& local, const baton::GrantOffer& offer,
                                  const baton::Section& remote) {
    baton::RawRequest request;
    request.grant = offer.id;
    request.local_section = local.id();
    request.remote_section = remote.id();
    request.runs = {{0, 0, kBytes}};
    return request;
  }

  baton_loopback_fabric* fabric_ = nullptr;
  std::vector<std::unique_ptr<baton::Context>> contexts_;
};

TEST_F(PluginFile, WithoutReadsRefusesThemAndWrites) {
  baton::Context& writer = make("writer");
  baton::Context& target = make("target");
  GuardedBuffer source(kBytes);
  GuardedBuffer pages(kBytes);
  source.fill_pattern(test_seed());
  const auto local = register_memory(writer, source);
  const auto remote = register_memory(target, pages);
  const auto peer = require(target.connect(writer.address()), "connect");
  auto grant = open(target, peer, remote, "r");
  const auto offer = require(writer.wait_offer("r", 20000), "wait_offer");
  const auto request = all_of(local, offer, remote);
  const auto refused = writer.read(request);
  EXPECT_EQ(refused.code(), StatusCode::kUnavailable) << refused.status().to_string();
  EXPECT_NE(refused.status().message().find("\"writes-only\""), std::string::npos)
      << refused.status().to_string();
  EXPECT_TRUE(require(writer.write(request), "write").wait(20000).is_ok());
  EXPECT_EQ(compare_bytes(source.bytes(), pages.bytes()), "");
  grant.cancel("over");
  EXPECT_EQ(grant.wait(20000).code(), StatusCode::kCancelled);
}

// The Paths of one Context wait for their peers' addresses at the same time.
TEST_F(PluginFile, OneContextConnectsToManyAtATime) {
  constexpr size_t kPeers = 8;
  baton::Context& hub = make("hub");
  GuardedBuffer source(kBytes);
  source.fill_pattern(test_seed());
  const auto local = register_memory(hub, source);
  std::vector<std::unique_ptr<GuardedBuffer>> pages;
  std::vector<baton::Section> remotes;
  for (size_t i = 0; i < kPeers; ++i) {
    baton::Context& peer = make("peer-" + std::to_string(i));
    pages.push_back(std::make_unique<GuardedBuffer>(kBytes));
    remotes.push_back(register_memory(peer, *pages.back()));
  }
  std::vector<std::thread> dials;
  for (size_t i = 0; i < kPeers; ++i) {
    // Half of them are dialled by the hub, half dial it.
    dials.emplace_back([this, i, &hub] {
      baton::Context& peer = *contexts_[i + 1];
      baton::Context& from = i % 2 == 0 ? hub : peer;
      baton::Context& to = i % 2 == 0 ? peer : hub;
      require(from.connect(to.address(), 20000), "connect");
    });
  }
  for (std::thread& dial : dials) dial.join();
  for (size_t i = 0; i < kPeers; ++i) {
    baton::Context& peer = *contexts_[i + 1];
    const baton::PeerId hub_id = next_event(peer, baton::EventKind::kPeerUp).peer;
    const std::string tag = "r" + std::to_string(i);
    auto grant = open(peer, hub_id, remotes[i], tag);
    const auto offer = require(hub.wait_offer(tag, 20000), "wait_offer");
    auto write = require(hub.write(all_of(local, offer, remotes[i])), "write");
    EXPECT_TRUE(write.wait(20000).is_ok()) << i << ": " << write.status().to_string();
    EXPECT_EQ(compare_bytes(source.bytes(), pages[i]->bytes()), "") << "peer " << i;
    grant.cancel("over");
    EXPECT_EQ(grant.wait(20000).code(), StatusCode::kCancelled);
  }
}

}  // namespace
}  // namespace baton_test
