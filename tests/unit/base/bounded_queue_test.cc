#include "src/base/bounded_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "src/base/random.h"
#include "tests/support/test_seed.h"

namespace baton::base {
namespace {

TEST(BoundedQueueTest, IsFirstInFirstOutAndFullAtItsCapacity) {
  BoundedQueue<int> queue(4);
  EXPECT_EQ(queue.capacity(), 4u);
  for (int lap = 0; lap < 3; ++lap) {
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(queue.try_push(lap * 10 + i));
    EXPECT_EQ(queue.size_hint(), 4u);
    EXPECT_FALSE(queue.try_push(99));
    for (int i = 0; i < 4; ++i) EXPECT_EQ(queue.try_pop(), lap * 10 + i);
    EXPECT_EQ(queue.try_pop(), std::nullopt);
    EXPECT_EQ(queue.size_hint(), 0u);
  }
}

TEST(BoundedQueueTest, AFailedPushLeavesTheValue) {
  BoundedQueue<std::unique_ptr<int>> queue(2);
  EXPECT_TRUE(queue.try_push(std::make_unique<int>(1)));
  EXPECT_TRUE(queue.try_push(std::make_unique<int>(2)));
  auto third = std::make_unique<int>(3);
  EXPECT_FALSE(queue.try_push(std::move(third)));
  // NOLINTNEXTLINE(bugprone-use-after-move): that a failed push moves nothing is the promise.
  EXPECT_TRUE(third != nullptr && *third == 3);
}

TEST(BoundedQueueTest, DestroysWhatNobodyPopped) {
  const auto counted = std::make_shared<int>(0);
  {
    BoundedQueue<std::shared_ptr<int>> queue(8);
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(queue.try_push(counted));
    EXPECT_TRUE(queue.try_pop().has_value());
    EXPECT_EQ(counted.use_count(), 5);
  }
  EXPECT_EQ(counted.use_count(), 1);
}

TEST(BoundedQueueTest, AgreesWithADequeOverRandomOperations) {
  Random random(baton_test::test_seed());
  for (const size_t capacity : {2u, 4u, 64u}) {
    BoundedQueue<uint64_t> queue(capacity);
    std::deque<uint64_t> model;
    for (int i = 0; i < 20000; ++i) {
      if (random.chance(1, 2)) {
        const uint64_t value = random.next();
        const bool pushed = queue.try_push(value);
        ASSERT_EQ(pushed, model.size() < capacity);
        if (pushed) model.push_back(value);
      } else {
        const std::optional<uint64_t> value = queue.try_pop();
        ASSERT_EQ(value.has_value(), !model.empty());
        if (value) {
          ASSERT_EQ(*value, model.front());
          model.pop_front();
        }
      }
      ASSERT_EQ(queue.size_hint(), model.size());
    }
  }
}

// Every element arrives once, and those of one producer in their order.
TEST(BoundedQueueTest, ManyProducersAndConsumersLoseNothing) {
  constexpr uint64_t kProducers = 3;
  constexpr size_t kConsumers = 2;
  constexpr uint64_t kPerProducer = 20000;
  BoundedQueue<uint64_t> queue(16);
  std::atomic<uint64_t> popped{0};
  std::vector<std::vector<uint64_t>> received(kConsumers);

  std::vector<std::thread> threads;
  for (uint64_t producer = 0; producer < kProducers; ++producer) {
    threads.emplace_back([&queue, producer] {
      for (uint64_t i = 0; i < kPerProducer; ++i) {
        while (!queue.try_push(producer << 32 | i)) std::this_thread::yield();
      }
    });
  }
  for (size_t consumer = 0; consumer < kConsumers; ++consumer) {
    threads.emplace_back([&queue, &popped, &mine = received[consumer]] {
      while (popped.load() < kProducers * kPerProducer) {
        if (const auto value = queue.try_pop()) {
          mine.push_back(*value);
          popped.fetch_add(1);
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  std::vector<std::vector<int>> seen(kProducers, std::vector<int>(kPerProducer, 0));
  for (const auto& mine : received) {
    std::vector<int64_t> last(kProducers, -1);
    for (const uint64_t value : mine) {
      const uint64_t producer = value >> 32;
      const auto index = static_cast<int64_t>(value & 0xffffffffu);
      ASSERT_GT(index, last[producer]);
      last[producer] = index;
      ++seen[producer][static_cast<size_t>(index)];
    }
  }
  for (const auto& counts : seen) {
    for (const int count : counts) ASSERT_EQ(count, 1);
  }
}

TEST(BoundedQueueDeathTest, CapacityIsAPowerOfTwo) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(BoundedQueue<int>(3), "power of two");
  EXPECT_DEATH(BoundedQueue<int>(1), "power of two");
}

}  // namespace
}  // namespace baton::base
