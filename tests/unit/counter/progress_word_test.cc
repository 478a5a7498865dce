// ProgressWordState, and ProgressWord as its public face.

#include "baton/progress_word.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <memory>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "src/counter/progress_word_state.h"

// The friend that makes ProgressWords; the real one is not linked here.
namespace baton::api {
class ContextImpl {
 public:
  static ProgressWord make(std::shared_ptr<counter::ProgressWordState> state) {
    return ProgressWord(std::move(state));
  }
};
}  // namespace baton::api

namespace baton::counter {
namespace {

struct Fixture {
  std::shared_ptr<Waker> waker = std::move(Waker::create()).value();
  std::shared_ptr<ProgressWordState> state = std::make_shared<ProgressWordState>(waker);
  ProgressWord word = api::ContextImpl::make(state);
};

bool is_readable(const Waker& waker) {
  pollfd entry{waker.fd(), POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1;
}

TEST(ProgressWord, GrowsOnly) {
  Fixture f;
  EXPECT_TRUE(f.word.is_valid());
  EXPECT_FALSE(ProgressWord().is_valid());
  EXPECT_EQ(f.word.value(), 0u);
  f.word.tick();
  EXPECT_EQ(f.word.value(), 1u);
  EXPECT_TRUE(f.word.advance_to(7).is_ok());
  EXPECT_TRUE(f.word.advance_to(7).is_ok());
  const Status back = f.word.advance_to(5);
  EXPECT_EQ(back.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(back.message(), "progress word is at 7 and cannot go back to 5");
  EXPECT_EQ(f.word.value(), 7u);
  EXPECT_EQ(f.state->value(), 7u);
}

TEST(ProgressWord, WakesTheDataThreadOnlyWhenItSleeps) {
  Fixture f;
  f.word.tick();
  EXPECT_FALSE(is_readable(*f.waker));
  f.waker->prepare_sleep();
  f.word.tick();
  EXPECT_TRUE(is_readable(*f.waker));
  f.waker->finish_sleep();
  f.waker->prepare_sleep();
  EXPECT_FALSE(f.word.advance_to(1).is_ok());
  EXPECT_FALSE(is_readable(*f.waker));
  EXPECT_TRUE(f.word.advance_to(9).is_ok());
  EXPECT_TRUE(is_readable(*f.waker));
  f.waker->finish_sleep();
}

TEST(ProgressWord, AddressIsTheWordAloneOnItsLine) {
  Fixture f;
  EXPECT_EQ(reinterpret_cast<uintptr_t>(f.word.address()) % 64, 0u);
  __atomic_store_n(f.word.address(), 12, __ATOMIC_RELEASE);
  EXPECT_EQ(f.word.value(), 12u);
  f.word.tick();
  EXPECT_EQ(__atomic_load_n(f.word.address(), __ATOMIC_ACQUIRE), 13u);
}

// A data thread that sleeps must learn that it has to look from now on.
TEST(ProgressWord, GivingTheAddressAwayAsksForPollingAndWakes) {
  Fixture f;
  f.word.tick();
  EXPECT_FALSE(f.state->is_polled());
  f.waker->prepare_sleep();
  (void)f.word.address();
  EXPECT_TRUE(f.state->is_polled());
  EXPECT_TRUE(is_readable(*f.waker));
  f.waker->finish_sleep();
}

TEST(ProgressWord, TheStateOutlivesTheHandle) {
  Fixture f;
  f.word.tick();
  f.word = ProgressWord();
  EXPECT_EQ(f.state->value(), 1u);
}

// Invariant 2: bytes written before advance_to(v) are visible to whoever reads v. Plain memory, for
// the thread sanitizer.
TEST(ProgressWord, ReadersSeeTheLayersItNames) {
  constexpr uint32_t kLayers = 50000;
  Fixture f;
  std::vector<uint32_t> layers(kLayers, 0);
  std::thread engine([&] {
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      layers[layer] = layer + 3;
      if (layer % 2 == 0) {
        f.word.tick();
      } else {
        ASSERT_TRUE(f.word.advance_to(uint64_t{layer} + 1).is_ok());
      }
    }
  });
  uint64_t sent = 0;
  while (sent < kLayers) {
    const uint64_t final_layers = f.state->value();
    for (; sent < final_layers; ++sent) ASSERT_EQ(layers[sent], sent + 3);
    std::this_thread::yield();
  }
  engine.join();
}

}  // namespace
}  // namespace baton::counter
