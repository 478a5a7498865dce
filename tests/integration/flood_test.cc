// A peer that sends and sends to a process whose data path nobody drives: it is dropped, told why,
// and costs the other side no more than a bound.
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/rig.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::EventKind;
using baton::Status;
using baton::StatusCode;

class Flood : public testing::Test {
 protected:
  Flood() {
    baton::ContextOptions options = quiet_options("undriven");
    options.progress = baton::ProgressMode::kCaller;
    options.log_level = baton::LogLevel::kWarning;
    options.log_callback = [this](baton::LogLevel, std::string_view line) {
      const std::lock_guard<std::mutex> lock(log_mutex_);
      log_ += std::string(line) + "\n";
    };
    undriven_ = std::make_unique<baton::Context>(
        require(baton::Context::create(std::move(options)), "Context::create"));
    flooder_ = std::make_unique<baton::Context>(
        require(baton::Context::create(quiet_options("flooder")), "Context::create"));
  }
  ~Flood() override {
    // In this order: the log callback uses this object.
    flooder_.reset();
    undriven_.reset();
  }

  // Drives the other side until both are up, and no longer.
  baton::PeerId connect() {
    std::atomic<bool> connected{false};
    std::thread driver([&] {
      while (!connected.load() || undriven_->peers().empty()) undriven_->progress();
    });
    const auto peer = flooder_->connect(undriven_->address(), 20000);
    connected.store(true);
    driver.join();
    return require(baton::Result<baton::PeerId>(peer), "connect");
  }

  std::string log() {
    const std::lock_guard<std::mutex> lock(log_mutex_);
    return log_;
  }

  std::mutex log_mutex_;
  std::string log_;
  std::unique_ptr<baton::Context> undriven_;
  std::unique_ptr<baton::Context> flooder_;
};

TEST_F(Flood, OfMessagesToAnUndrivenContextDropsTheSender) {
  const baton::PeerId peer = connect();
  const std::vector<uint8_t> text(3, 'x');
  uint64_t sent = 0;
  Status refused;
  ASSERT_TRUE(wait_until([&] {
    do {
      refused = flooder_->send_message(peer, sent, text);
      if (refused.is_ok()) ++sent;
    } while (refused.is_ok());
    return refused.code() == StatusCode::kNotFound;  // or BUSY
  })) << "after "
      << sent << " messages: " << refused.to_string();
  ASSERT_EQ(refused.code(), StatusCode::kNotFound) << sent << " messages";

  const baton::Event down = next_event(*flooder_, EventKind::kPeerDown);
  EXPECT_EQ(down.peer, peer);
  EXPECT_EQ(down.status.code(), StatusCode::kExhausted) << down.status.to_string();
  EXPECT_NE(log().find("(\"flooder\" at "), std::string::npos) << log();
  EXPECT_NE(log().find("EXHAUSTED"), std::string::npos) << log();

  // What was taken comes in order, without gaps, and no more than was sent.
  uint64_t received = 0;
  bool is_down = false;
  std::vector<baton::Event> events(64);
  const auto poll = [&] {
    const size_t count = undriven_->poll_events(events);
    for (size_t i = 0; i < count; ++i) {
      is_down = is_down || events[i].kind == EventKind::kPeerDown;
      if (events[i].kind == EventKind::kMessage && events[i].tag_number == received) ++received;
    }
    return count;
  };
  ASSERT_TRUE(wait_until([&] {
    while (undriven_->progress() + poll() > 0) {
    }
    return is_down;
  }));
  EXPECT_GT(received, 0u);
  EXPECT_LE(received, sent);

  // Nothing is left of it: it may come again.
  const baton::PeerId again = connect();
  require_ok(flooder_->send_message(again, 77, text), "send_message");
  bool arrived = false;
  ASSERT_TRUE(wait_until([&] {
    undriven_->progress();
    const size_t count = undriven_->poll_events(events);
    for (size_t i = 0; i < count; ++i)
      arrived = arrived || (events[i].kind == EventKind::kMessage && events[i].tag_number == 77);
    return arrived;
  }));
}

// Each connection leaves word for the data path. Of one that was over before the data path could
// hear of it nothing is kept, and nothing else is lost with it.
TEST_F(Flood, ConnectionsThatComeAndGoWhileMessagesWaitLeaveNothingBehind) {
  constexpr uint64_t kMessages = 20'000;  // more than the data path's queue holds
  const baton::PeerId peer = connect();
  for (uint64_t i = 0; i < kMessages; ++i) require_ok(flooder_->send_message(peer, i, {}), "send");
  auto visitor = require(baton::Context::create(quiet_options("visitor")), "Context::create");
  for (uint64_t i = 0; i < 40; ++i) {
    const auto visited = require(visitor.connect(undriven_->address(), 20000), "connect");
    require_ok(visitor.send_message(visited, i, {}), "send_message");
    require_ok(visitor.disconnect(visited), "disconnect");
    EXPECT_EQ(next_event(visitor, EventKind::kPeerDown).peer, visited);
  }
  const auto stays = require(visitor.connect(undriven_->address(), 20000), "connect");
  require_ok(visitor.send_message(stays, kMessages, {}), "send_message");
  uint64_t received = 0;
  bool arrived = false;
  std::vector<baton::Event> events(64);
  ASSERT_TRUE(wait_until([&] {
    while (undriven_->progress() > 0) {
    }
    const size_t count = undriven_->poll_events(events);
    for (size_t i = 0; i < count; ++i) {
      if (events[i].kind != EventKind::kMessage) continue;
      if (events[i].tag_number == received) ++received;
      arrived = arrived || events[i].tag_number == kMessages;
    }
    return arrived && received >= kMessages;
  })) << received;
}

// More Grants than the other side keeps: those past its bound end there and then, the others are
// well.
TEST_F(Flood, OfGrantsEndsThoseThatAreTooMany) {
  constexpr uint32_t kKept = 4;
  baton::ContextOptions options = quiet_options("small");
  options.max_live = kKept;
  auto small = require(baton::Context::create(std::move(options)), "Context::create");
  std::vector<uint8_t> memory(64);
  baton::SectionOptions section_options;
  section_options.name = "pages";
  section_options.address = memory.data();
  section_options.length_bytes = memory.size();
  auto section = require(flooder_->register_section(section_options), "register_section");
  const auto peer = require(flooder_->connect(small.address()), "connect");
  std::vector<baton::Grant> grants;
  for (uint32_t i = 0; i < 3 * kKept; ++i) {
    baton::RangeGrantRequest request;
    request.peer = peer;
    request.tag = std::to_string(i);
    request.ranges = {{section.id(), 0, 64}};
    request.allow_write = true;
    grants.push_back(require(flooder_->grant_ranges(request), "grant_ranges"));
  }
  for (uint32_t i = kKept; i < 3 * kKept; ++i) {
    const Status end = grants[i].wait(20000);
    EXPECT_EQ(end.code(), StatusCode::kExhausted) << i << ": " << end.to_string();
    EXPECT_EQ(grants[i].state(), baton::State::kFailed) << i;
  }
  for (uint32_t i = 0; i < kKept; ++i) {
    EXPECT_EQ(grants[i].state(), baton::State::kActive) << i;
    EXPECT_TRUE(small.wait_offer(std::to_string(i), 20000).is_ok()) << i;
  }
  // Their end makes room for as many.
  for (uint32_t i = 0; i < kKept; ++i) {
    grants[i].cancel("enough");
    EXPECT_EQ(grants[i].wait(20000).code(), StatusCode::kCancelled) << i;
  }
  baton::RangeGrantRequest request;
  request.peer = peer;
  request.tag = "late";
  request.ranges = {{section.id(), 0, 64}};
  auto late = require(flooder_->grant_ranges(request), "grant_ranges");
  EXPECT_TRUE(small.wait_offer("late", 20000).is_ok());
  EXPECT_EQ(late.state(), baton::State::kActive);
}

// Neither side polls. What is left at the end is bounded, and says so.
TEST_F(Flood, OfEventsThatNobodyPollsIsBounded) {
  constexpr uint32_t kKept = 4;
  baton::ContextOptions options = quiet_options("granter");
  options.max_events = kKept;
  auto granter = require(baton::Context::create(options), "Context::create");
  options.name = "offered";
  auto offered = require(baton::Context::create(options), "Context::create");
  std::vector<uint8_t> memory(64);
  baton::SectionOptions section_options;
  section_options.address = memory.data();
  section_options.length_bytes = memory.size();
  auto section = require(granter.register_section(section_options), "register_section");
  baton::RangeGrantRequest request;
  request.peer = require(granter.connect(offered.address()), "connect");
  request.ranges = {{section.id(), 0, 64}};
  for (uint32_t i = 0; i < 5 * kKept; ++i) {
    request.tag = std::to_string(i);
    auto grant = require(granter.grant_ranges(request), "grant_ranges");
    require(offered.wait_offer(request.tag, 20000), "wait_offer");
    grant.cancel();
    EXPECT_EQ(grant.wait(20000).code(), StatusCode::kCancelled);
  }
  request.tag = "stands";
  auto stands = require(granter.grant_ranges(request), "grant_ranges");
  require(offered.wait_offer(request.tag, 20000), "wait_offer");
  std::vector<baton::Event> events(200);
  // The event of an end comes a moment after the end.
  uint64_t ends = 0;
  uint64_t lost = 0;
  ASSERT_TRUE(wait_until([&] {
    const size_t count = granter.poll_events(events);
    for (size_t i = 0; i < count; ++i) {
      ends += events[i].kind == EventKind::kGrantEnded;
      if (events[i].kind == EventKind::kEventsLost) lost += events[i].tag_number;
    }
    return ends + lost == 5 * kKept;
  })) << ends
      << " ends, " << lost << " lost";
  EXPECT_GE(lost, 4 * kKept - 1);
  // Of the offers only the one that stands.
  ASSERT_EQ(offered.poll_events(events), 2u);
  EXPECT_EQ(events[0].kind, EventKind::kPeerUp);
  EXPECT_EQ(events[1].kind, EventKind::kGrantOffered);
  EXPECT_EQ(events[1].tag, "stands");
}

}  // namespace
}  // namespace baton_test
