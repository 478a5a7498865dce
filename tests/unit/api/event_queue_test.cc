#include "src/api/event_queue.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include "src/base/clock.h"

namespace baton::api {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

Event event(EventKind kind, uint64_t number = 0) {
  Event out;
  out.kind = kind;
  out.tag_number = number;
  return out;
}

bool is_readable(const EventQueue& queue) {
  pollfd waiting{queue.fd(), POLLIN, 0};
  return ::poll(&waiting, 1, 0) == 1;
}

class EventQueueTest : public testing::Test {
 protected:
  EventQueueTest() : queue_(base::EventFd::create().value(), 4) {}

  EventQueue queue_;
};

TEST_F(EventQueueTest, GivesEventsInTheirOrder) {
  for (uint64_t i = 0; i < 5; ++i) EXPECT_TRUE(queue_.push(event(EventKind::kGrantEnded, i)));
  std::array<Event, 3> out;
  ASSERT_EQ(queue_.poll(out), 3u);
  for (uint64_t i = 0; i < 3; ++i) EXPECT_EQ(out[i].tag_number, i);
  ASSERT_EQ(queue_.poll(out), 2u);
  EXPECT_EQ(out[1].tag_number, 4u);
  EXPECT_EQ(queue_.poll(out), 0u);
  EXPECT_FALSE(queue_.take().has_value());
}

TEST_F(EventQueueTest, MessagesPastTheLimitAreRefused) {
  for (uint64_t i = 0; i < 4; ++i) EXPECT_TRUE(queue_.push(event(EventKind::kMessage, i)));
  EXPECT_FALSE(queue_.push(event(EventKind::kMessage, 4)));
  EXPECT_EQ(queue_.take()->tag_number, 0u);
  EXPECT_TRUE(queue_.push(event(EventKind::kMessage, 5))) << "room again";
  EXPECT_FALSE(queue_.push(event(EventKind::kMessage, 6)));
  for (const uint64_t expected : {1u, 2u, 3u, 5u}) EXPECT_EQ(queue_.take()->tag_number, expected);
  EXPECT_FALSE(queue_.take().has_value());
}

TEST_F(EventQueueTest, EventsOfRequestsAreNeverRefused) {
  for (uint64_t i = 0; i < 4; ++i) ASSERT_TRUE(queue_.push(event(EventKind::kMessage, i)));
  constexpr EventKind kOthers[] = {EventKind::kPeerUp, EventKind::kPeerDown,
                                   EventKind::kGrantOffered, EventKind::kGrantEnded,
                                   EventKind::kTransferEnded};
  for (int round = 0; round < 20; ++round) {
    for (const EventKind kind : kOthers) EXPECT_TRUE(queue_.push(event(kind)));
  }
  std::vector<Event> out(200);
  EXPECT_EQ(queue_.poll(out), 104u);
}

TEST_F(EventQueueTest, OtherEventsTakeNoRoomFromMessages) {
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(queue_.push(event(EventKind::kGrantEnded)));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(queue_.push(event(EventKind::kMessage)));
  EXPECT_FALSE(queue_.push(event(EventKind::kMessage)));
}

TEST_F(EventQueueTest, TheDescriptorIsReadableWhileEventsWait) {
  EXPECT_FALSE(is_readable(queue_));
  ASSERT_TRUE(queue_.push(event(EventKind::kPeerUp)));
  ASSERT_TRUE(queue_.push(event(EventKind::kPeerUp)));
  EXPECT_TRUE(is_readable(queue_));
  EXPECT_TRUE(queue_.take().has_value());
  EXPECT_TRUE(is_readable(queue_)) << "one waits still";
  EXPECT_TRUE(queue_.take().has_value());
  EXPECT_FALSE(is_readable(queue_));
  ASSERT_TRUE(queue_.push(event(EventKind::kPeerUp)));
  EXPECT_TRUE(is_readable(queue_));
}

TEST_F(EventQueueTest, ARefusedMessageDoesNotWakeAnybody) {
  EventQueue none(base::EventFd::create().value(), 0);
  EXPECT_FALSE(none.push(event(EventKind::kMessage)));
  EXPECT_FALSE(is_readable(none));
}

TEST_F(EventQueueTest, WaitTakesWhatIsThereAtOnce) {
  ASSERT_TRUE(queue_.push(event(EventKind::kPeerUp, 9)));
  const auto got = queue_.wait(base::monotonic_now_ns() - kSecondNs);
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->tag_number, 9u);
}

TEST_F(EventQueueTest, WaitEndsAtItsDeadline) {
  EXPECT_FALSE(queue_.wait(base::monotonic_now_ns()).has_value());
}

TEST_F(EventQueueTest, WaitIsWokenByAnEvent) {
  std::thread pusher([&] { EXPECT_TRUE(queue_.push(event(EventKind::kPeerDown, 3))); });
  const auto got = queue_.wait(base::monotonic_now_ns() + 60 * kSecondNs);
  pusher.join();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->tag_number, 3u);
}

TEST_F(EventQueueTest, EveryEventIsTakenOnceByWhoeverWaits) {
  constexpr uint64_t kEvents = 2000;
  constexpr size_t kTakers = 3;
  std::vector<std::vector<uint64_t>> taken(kTakers);
  std::vector<std::thread> takers;
  for (size_t i = 0; i < kTakers; ++i) {
    takers.emplace_back([&, i] {
      for (;;) {
        const auto got = queue_.wait(base::monotonic_now_ns() + 60 * kSecondNs);
        if (!got.has_value() || got->kind == EventKind::kPeerDown) return;
        taken[i].push_back(got->tag_number);
      }
    });
  }
  for (uint64_t i = 0; i < kEvents; ++i) ASSERT_TRUE(queue_.push(event(EventKind::kGrantEnded, i)));
  for (size_t i = 0; i < kTakers; ++i) ASSERT_TRUE(queue_.push(event(EventKind::kPeerDown)));
  for (std::thread& taker : takers) taker.join();
  std::vector<bool> seen(kEvents, false);
  for (const auto& numbers : taken) {
    for (size_t i = 0; i < numbers.size(); ++i) {
      EXPECT_FALSE(seen[numbers[i]]) << "event " << numbers[i] << " came twice";
      seen[numbers[i]] = true;
      EXPECT_TRUE(i == 0 || numbers[i - 1] < numbers[i]) << "out of order";
    }
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), static_cast<std::ptrdiff_t>(kEvents));
}

}  // namespace
}  // namespace baton::api
