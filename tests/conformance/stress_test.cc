#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "tests/conformance/suite.h"
#include "tests/support/test_seed.h"

namespace baton_conformance {
namespace {

using StressConformance = Conformance;
BATON_CONFORMANCE_SUITE(StressConformance);

// One side's random traffic into disjoint ranges of the peer's memory, and the memory that must
// result.
class Traffic {
 public:
  static constexpr size_t kRegionBytes = 12u << 20;

  Traffic(End* self, End* peer, uint64_t seed) : self_(self), random_(seed) {
    target_ = &peer->add_region(kRegionBytes);
    store_ = &peer->add_region(kRegionBytes);
    local_ = &self->add_region(kRegionBytes);
    fill_pattern(store_->bytes(), seed + 1);
    source_.resize(2u << 20);
    fill_pattern(source_, seed + 2);
    expected_target_.assign(kRegionBytes, kPoison);
    expected_local_.assign(kRegionBytes, kPoison);
  }

  // Posts a few while there is room. False: all posted.
  bool feed(uint32_t max_posts) {
    for (int i = 0; i < 8; ++i) {
      if (self_->log().ops.size() - self_->log().reported >= max_posts) return true;
      if (!post_one()) return false;
    }
    return true;
  }
  void check() {
    expect_equal(target_->bytes(), expected_target_, "target");
    expect_equal(local_->bytes(), expected_local_, "local memory of reads");
  }
  [[nodiscard]] size_t immediates() const { return immediates_; }

 private:
  uint32_t draw_length() {
    const uint32_t kind = static_cast<uint32_t>(random_() % 10);
    if (kind < 5) return 1 + static_cast<uint32_t>(random_() % 5'000);
    if (kind < 9) return 1 + static_cast<uint32_t>(random_() % 70'000);
    return 1 + static_cast<uint32_t>(random_() % (1u << 20));
  }
  bool post_one() {
    if (random_() % 16 == 0) {
      self_->flush();
      return true;
    }
    const uint32_t length = draw_length();
    const uint32_t gap = static_cast<uint32_t>(random_() % 64);  // a guard between neighbours
    const bool write = random_() % 3 != 0;
    size_t& used = write ? target_used_ : local_used_;
    if (used + gap + length > kRegionBytes) return false;
    const size_t place = used + gap;
    used = place + length;
    if (write) {
      const size_t from = random_() % (source_.size() - length);
      std::copy_n(source_.begin() + static_cast<ptrdiff_t>(from), length,
                  expected_target_.begin() + static_cast<ptrdiff_t>(place));
      const bool with = random_() % 4 == 0;
      immediates_ += with ? 1 : 0;
      self_->write(*target_, place, source_.data() + from, length, with ? 3 : -1);
    } else {
      const size_t from = random_() % (kRegionBytes - length);
      const auto stored = store_->bytes().subspan(from, length);
      std::copy(stored.begin(), stored.end(),
                expected_local_.begin() + static_cast<ptrdiff_t>(place));
      self_->read(*store_, from, local_->bytes().data() + place, length);
    }
    return true;
  }

  End* self_;
  std::mt19937_64 random_;
  Region* target_;
  Region* store_;
  Region* local_;
  std::vector<std::byte> source_;
  std::vector<std::byte> expected_target_;
  std::vector<std::byte> expected_local_;
  size_t target_used_ = 0;
  size_t local_used_ = 0;
  size_t immediates_ = 0;
};

TEST_P(StressConformance, RandomTrafficInBothDirections) {
  for (uint64_t round = 0; round < 3; ++round) {
    const uint64_t seed = baton_test::test_seed() + round;
    SCOPED_TRACE(seed);
    reconnect();
    std::mt19937_64 random(seed);
    Traffic forth(&a(), &b(), seed * 2);
    Traffic back(&b(), &a(), seed * 2 + 1);
    const uint32_t most = std::min(link().capabilities.max_posts, 100u);
    bool more_forth = true;
    bool more_back = true;
    ASSERT_TRUE(link().drive([&] {
      if (more_forth) more_forth = forth.feed(most);
      if (more_back) more_back = back.feed(most);
      link().drive_rounds(1, 1 + random() % 300'000);
      return !more_forth && !more_back && settled();
    }));
    a().flush();
    b().flush();
    ASSERT_TRUE(link().drive([&] { return settled(); }));
    EXPECT_EQ(a().log().count(OpState::kDone), a().log().ops.size());
    EXPECT_EQ(b().log().count(OpState::kDone), b().log().ops.size());
    EXPECT_EQ(b().log().immediates.size(), forth.immediates());
    EXPECT_EQ(a().log().immediates.size(), back.immediates());
    forth.check();
    back.check();
  }
}

TEST_P(StressConformance, EachEndOnItsOwnThread) {
  const uint64_t seed = baton_test::test_seed();
  Traffic forth(&a(), &b(), seed * 2);
  Traffic back(&b(), &a(), seed * 2 + 1);
  const uint32_t most = std::min(link().capabilities.max_posts, 100u);
  std::atomic<int> finished{0};
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(40);
  const auto run = [&](End* end, Traffic* traffic) {
    bool more = true;
    bool flushed = false;
    bool counted = false;
    while (finished.load() < 2 && std::chrono::steady_clock::now() < limit) {
      if (more) more = traffic->feed(most);
      const bool quiet = !more && end->log().reported == end->log().ops.size();
      if (quiet && !flushed) {
        end->flush();
        flushed = true;
      } else if (quiet && !counted) {
        finished.fetch_add(1);
        counted = true;
      }
      if (end->progress(100'000) == 0) {
        link().clock.now_ns += 10'000;
        std::this_thread::yield();
      }
    }
  };
  std::thread thread([&] { run(&b(), &back); });
  run(&a(), &forth);
  thread.join();
  ASSERT_EQ(finished.load(), 2) << "not done in 40 s";
  forth.check();
  back.check();
}

TEST_P(StressConformance, TheDataPathAllocatesNothing) {
  Traffic forth(&a(), &b(), 5);
  Traffic back(&b(), &a(), 6);
  const uint32_t most = std::min(link().capabilities.max_posts, 100u);
  allocation_count() = {};
  bool more_forth = true;
  bool more_back = true;
  ASSERT_TRUE(link().drive([&] {
    if (more_forth) more_forth = forth.feed(most);
    if (more_back) more_back = back.feed(most);
    return !more_forth && !more_back && settled();
  }));
  EXPECT_EQ(allocation_count().host, 0u);
  EXPECT_EQ(allocation_count().operator_new, 0u);
}

TEST_P(StressConformance, CapabilitiesAgreeWithThemselves) {
  const baton_capabilities& capabilities = link().capabilities;
  EXPECT_GE(capabilities.max_sources, 1u);
  EXPECT_GE(capabilities.max_posts, 1u);
  EXPECT_GE(capabilities.max_message_bytes, 1u << 20);
  EXPECT_TRUE(capabilities.immediate_bits == 0 || capabilities.immediate_bits == 32);
  EXPECT_TRUE(!link().has(BATON_CAP_IMM_COVERS_PRIOR) || link().has(BATON_CAP_ORDERED));
  EXPECT_EQ(a().plugin->abi, BATON_PLUGIN_ABI);
  EXPECT_EQ(a().plugin->struct_size, sizeof(baton_plugin));
}

}  // namespace
}  // namespace baton_conformance
