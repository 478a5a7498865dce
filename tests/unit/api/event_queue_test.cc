#include "src/api/event_queue.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
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

// Looks often enough to see two threads side by side, and lets others run where there is one core.
template <typename Done>
void spin_until(const Done& done) {
  for (int looks = 1; !done(); ++looks) {
    if (looks % 256 == 0) std::this_thread::yield();
  }
}

class EventQueueTest : public testing::Test {
 protected:
  EventQueueTest() : queue_(base::EventFd::create().value(), 4) {}

  EventQueue queue_;
};

TEST_F(EventQueueTest, GivesEventsInTheirOrder) {
  for (uint64_t i = 0; i < 5; ++i)
    EXPECT_TRUE(queue_.push(event(EventKind::kGrantOffered, i)).has_value());
  std::array<Event, 3> out;
  ASSERT_EQ(queue_.poll(out), 3u);
  for (uint64_t i = 0; i < 3; ++i) EXPECT_EQ(out[i].tag_number, i);
  ASSERT_EQ(queue_.poll(out), 2u);
  EXPECT_EQ(out[1].tag_number, 4u);
  EXPECT_EQ(queue_.poll(out), 0u);
  EXPECT_FALSE(queue_.take().has_value());
}

TEST_F(EventQueueTest, MessagesPastTheLimitAreRefused) {
  for (uint64_t i = 0; i < 4; ++i)
    EXPECT_TRUE(queue_.push(event(EventKind::kMessage, i)).has_value());
  EXPECT_FALSE(queue_.push(event(EventKind::kMessage, 4)).has_value());
  EXPECT_EQ(queue_.take()->tag_number, 0u);
  EXPECT_TRUE(queue_.push(event(EventKind::kMessage, 5)).has_value()) << "room again";
  EXPECT_FALSE(queue_.push(event(EventKind::kMessage, 6)).has_value());
  for (const uint64_t expected : {1u, 2u, 3u, 5u}) EXPECT_EQ(queue_.take()->tag_number, expected);
  EXPECT_FALSE(queue_.take().has_value());
}

// A program that never polls.
TEST_F(EventQueueTest, TheOldestEndMakesRoomAndThatIsTold) {
  for (uint64_t i = 1; i <= 10; ++i) {
    const EventKind kind = i % 2 == 0 ? EventKind::kGrantEnded : EventKind::kTransferEnded;
    EXPECT_TRUE(queue_.push(event(kind, i)).has_value());
  }
  EXPECT_TRUE(is_readable(queue_));
  std::vector<Event> out(20);
  ASSERT_EQ(queue_.poll(out), 5u);
  EXPECT_EQ(out[0].kind, EventKind::kEventsLost);
  EXPECT_EQ(out[0].tag_number, 6u);
  for (uint64_t i = 1; i <= 4; ++i) EXPECT_EQ(out[i].tag_number, 6 + i);
  EXPECT_FALSE(is_readable(queue_));
  ASSERT_TRUE(queue_.push(event(EventKind::kGrantEnded, 11)).has_value());
  EXPECT_EQ(queue_.take()->tag_number, 11u) << "what was lost is told once";
}

// Whatever a peer does, it pushes out no end of a request.
TEST_F(EventQueueTest, EachSortHasItsOwnRoomAndTheOrderIsKept) {
  constexpr EventKind kKinds[] = {EventKind::kGrantEnded, EventKind::kMessage, EventKind::kPeerUp,
                                  EventKind::kGrantOffered};
  uint64_t number = 0;
  for (int round = 0; round < 4; ++round) {
    for (const EventKind kind : kKinds) EXPECT_TRUE(queue_.push(event(kind, number++)).has_value());
  }
  std::vector<Event> out(20);
  ASSERT_EQ(queue_.poll(out), 16u);
  for (uint64_t i = 0; i < 16; ++i) EXPECT_EQ(out[i].tag_number, i);
  for (uint64_t i = 0; i < 4; ++i) ASSERT_TRUE(queue_.push(event(EventKind::kGrantEnded, i)));
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(queue_.push(event(EventKind::kPeerDown)));
  ASSERT_EQ(queue_.poll(out), 9u);
  EXPECT_EQ(out[0].tag_number, 96u);
  for (uint64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(out[1 + i].kind, EventKind::kGrantEnded);
    EXPECT_EQ(out[1 + i].tag_number, i);
  }
}

TEST_F(EventQueueTest, AnOfferGoesWithItsEvent) {
  std::vector<uint64_t> numbers;
  for (uint64_t i = 0; i < 10; ++i)
    numbers.push_back(queue_.push(event(EventKind::kGrantOffered, i)).value());
  for (const uint64_t i : {0u, 3u, 9u}) queue_.withdraw(numbers[i]);
  queue_.withdraw(numbers[3]);
  std::vector<Event> out(20);
  ASSERT_EQ(queue_.poll(out), 7u);
  EXPECT_EQ(out[0].tag_number, 1u);
  EXPECT_EQ(out[2].tag_number, 4u);
  const uint64_t last = queue_.push(event(EventKind::kGrantOffered)).value();
  EXPECT_TRUE(is_readable(queue_));
  queue_.withdraw(last);
  EXPECT_FALSE(is_readable(queue_));
  EXPECT_FALSE(queue_.take().has_value());
}

TEST_F(EventQueueTest, OtherEventsTakeNoRoomFromMessages) {
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(queue_.push(event(EventKind::kGrantEnded)).has_value());
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(queue_.push(event(EventKind::kMessage)).has_value());
  EXPECT_FALSE(queue_.push(event(EventKind::kMessage)).has_value());
}

TEST_F(EventQueueTest, TheDescriptorIsReadableWhileEventsWait) {
  EXPECT_FALSE(is_readable(queue_));
  ASSERT_TRUE(queue_.push(event(EventKind::kPeerUp)).has_value());
  ASSERT_TRUE(queue_.push(event(EventKind::kPeerUp)).has_value());
  EXPECT_TRUE(is_readable(queue_));
  EXPECT_TRUE(queue_.take().has_value());
  EXPECT_TRUE(is_readable(queue_)) << "one waits still";
  EXPECT_TRUE(queue_.take().has_value());
  EXPECT_FALSE(is_readable(queue_));
  ASSERT_TRUE(queue_.push(event(EventKind::kPeerUp)).has_value());
  EXPECT_TRUE(is_readable(queue_));
}

// Whoever sleeps on the descriptor would never sleep again: an empty queue clears nothing.
TEST_F(EventQueueTest, NothingIsReadableOnceTheLastEventWasTakenWhileItWasPushed) {
  constexpr int kRounds = 100000;
  std::atomic<int> asked{0};
  std::atomic<int> pushed{0};
  std::thread pusher([&] {
    for (int round = 1; round <= kRounds; ++round) {
      spin_until([&] { return asked.load() == round; });
      EXPECT_TRUE(queue_.push(event(EventKind::kGrantEnded)).has_value());
      pushed.store(round);
    }
  });
  int readable = 0;
  for (int round = 1; round <= kRounds; ++round) {
    asked.store(round);
    spin_until([&] { return queue_.take().has_value(); });
    spin_until([&] { return pushed.load() == round; });
    if (is_readable(queue_)) ++readable;
  }
  pusher.join();
  EXPECT_EQ(readable, 0) << "of " << kRounds << " rounds";
}

TEST_F(EventQueueTest, ARefusedMessageDoesNotWakeAnybody) {
  EventQueue none(base::EventFd::create().value(), 0);
  EXPECT_FALSE(none.push(event(EventKind::kMessage)).has_value());
  EXPECT_FALSE(is_readable(none));
}

TEST_F(EventQueueTest, WaitTakesWhatIsThereAtOnce) {
  ASSERT_TRUE(queue_.push(event(EventKind::kPeerUp, 9)).has_value());
  const auto got = queue_.wait(base::monotonic_now_ns() - kSecondNs);
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->tag_number, 9u);
}

TEST_F(EventQueueTest, WaitEndsAtItsDeadline) {
  EXPECT_FALSE(queue_.wait(base::monotonic_now_ns()).has_value());
}

TEST_F(EventQueueTest, WaitIsWokenByAnEvent) {
  std::thread pusher([&] { EXPECT_TRUE(queue_.push(event(EventKind::kPeerDown, 3)).has_value()); });
  const auto got = queue_.wait(base::monotonic_now_ns() + 60 * kSecondNs);
  pusher.join();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->tag_number, 3u);
}

TEST_F(EventQueueTest, EveryEventIsTakenOnceByWhoeverWaits) {
  constexpr uint64_t kEvents = 2000;
  EventQueue queue(base::EventFd::create().value(), kEvents);
  constexpr size_t kTakers = 3;
  std::vector<std::vector<uint64_t>> taken(kTakers);
  std::vector<std::thread> takers;
  for (size_t i = 0; i < kTakers; ++i) {
    takers.emplace_back([&, i] {
      for (;;) {
        const auto got = queue.wait(base::monotonic_now_ns() + 60 * kSecondNs);
        if (!got.has_value() || got->kind == EventKind::kPeerDown) return;
        taken[i].push_back(got->tag_number);
      }
    });
  }
  for (uint64_t i = 0; i < kEvents; ++i)
    ASSERT_TRUE(queue.push(event(EventKind::kGrantEnded, i)).has_value());
  for (size_t i = 0; i < kTakers; ++i)
    ASSERT_TRUE(queue.push(event(EventKind::kPeerDown)).has_value());
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
