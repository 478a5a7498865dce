#include <dirent.h>

#include <vector>

#include "tests/conformance/suite.h"

namespace baton_conformance {
namespace {

constexpr uint32_t kRun = 200'000;
constexpr uint32_t kCount = 60;

class FenceConformance : public Conformance {
 protected:
  void SetUp() override {
    Conformance::SetUp();
    if (IsSkipped()) return;
    target_ = &b().add_region(kRun * kCount);
    store_ = &b().add_region(kRun * 4);
    local_ = &a().add_region(kRun * 4);
    source_.resize(kRun * kCount);
    fill_pattern(source_, 1);
    fill_pattern(store_->bytes(), 2);
  }
  // Writes, reads and a flush, then a few steps with a small budget: some done, one half-way, some
  // not begun.
  void start_traffic() {
    for (uint32_t i = 0; i < kCount; ++i) {
      a().write(*target_, i * kRun, source_.data() + i * kRun, kRun, i);
      if (i % 20 == 10) {
        a().read(*store_, i / 20 * kRun, local_->bytes().data() + i / 20 * kRun, kRun);
      }
    }
    a().flush();
    ASSERT_TRUE(link().drive([&] { return b().log().immediates.size() >= 2; }, 30'000));
  }
  void expect_settled_once() {
    EXPECT_TRUE(a().log().fenced || a().log().broken);
    const PathLog& log = a().log();
    EXPECT_EQ(log.count(OpState::kPosted), 0u);
    EXPECT_GT(log.count(OpState::kInDoubt), 0u);
    EXPECT_EQ(log.reported, log.ops.size());
  }
  static bool holds(std::span<const std::byte> bytes, std::byte value) {
    size_t run = 0;
    for (const std::byte byte : bytes) {
      run = byte == value ? run + 1 : 0;
      if (run == 16) return true;
    }
    return false;
  }

  Region* target_ = nullptr;
  Region* store_ = nullptr;
  Region* local_ = nullptr;
  std::vector<std::byte> source_;
};
BATON_CONFORMANCE_SUITE(FenceConformance);

constexpr std::byte kForeign{0xEE};

TEST_P(FenceConformance, AfterTheWritersFenceItsMemoryIsNeverReadOrWritten) {
  start_traffic();
  a().fence();
  link().drive_rounds(a().log().fenced ? 0 : 1000, 30'000);
  ASSERT_TRUE(a().log().fenced);
  expect_settled_once();
  // Reuse of the memory: foreign bytes in the source, a new owner for the target of reads.
  std::fill(source_.begin(), source_.end(), kForeign);
  std::fill(local_->bytes().begin(), local_->bytes().end(), kPoison);
  link().drive_rounds(3000, 100'000);
  EXPECT_FALSE(holds(target_->bytes(), kForeign)) << "the source was read after fenced()";
  expect_all(local_->bytes(), kPoison, "the target of reads after fenced()");
  EXPECT_TRUE(b().log().broken) << "the other end was not told";
}

TEST_P(FenceConformance, AfterTheReceiversFenceNothingIsPlacedOrServed) {
  start_traffic();
  b().fence();
  link().drive_rounds(b().log().fenced ? 0 : 1000, 30'000);
  ASSERT_TRUE(b().log().fenced);
  const size_t immediates = b().log().immediates.size();
  std::fill(target_->bytes().begin(), target_->bytes().end(), kPoison);
  std::fill(store_->bytes().begin(), store_->bytes().end(), kForeign);
  std::fill(local_->bytes().begin(), local_->bytes().end(), kPoison);
  ASSERT_TRUE(link().drive([&] { return a().log().broken; }));
  link().drive_rounds(3000, 100'000);
  expect_all(target_->bytes(), kPoison, "the target after fenced()");
  EXPECT_FALSE(holds(local_->bytes(), kForeign)) << "memory was read after fenced()";
  EXPECT_EQ(b().log().immediates.size(), immediates);
  uint32_t accepted = 0;
  const baton_source range{source_.data(), nullptr, 10, 0};
  baton_post post = End::make_post(BATON_POST_WRITE, &range, 1, *target_, 0);
  EXPECT_EQ(a().post(&post, 1, &accepted), BATON_RC_BROKEN);
  EXPECT_EQ(accepted, 0u);
  a().fence();
  ASSERT_TRUE(a().log().fenced);
  expect_settled_once();
}

TEST_P(FenceConformance, FenceIsIdempotentAndLaterPostsAreBroken) {
  a().fence();
  a().fence();
  ASSERT_TRUE(link().drive([&] { return a().log().fenced; }));
  a().fence();
  link().drive_rounds(10);
  const baton_source range{source_.data(), nullptr, 10, 0};
  baton_post post = End::make_post(BATON_POST_WRITE, &range, 1, *target_, 0);
  uint32_t accepted = 7;
  EXPECT_EQ(a().post(&post, 1, &accepted), BATON_RC_BROKEN);
  EXPECT_EQ(accepted, 0u);
  EXPECT_EQ(a().try_flush(), BATON_RC_BROKEN);
}

TEST_P(FenceConformance, AnotherPathOfTheRailGoesOn) {
  link().open_path();
  start_traffic();
  Region& other = b().add_region(kRun);
  a().write(other, 0, source_.data(), kRun, 900, 1, 1);
  a().fence(0);
  ASSERT_TRUE(link().drive([&] { return !b().log(1).immediates.empty() && b().log(0).broken; }));
  expect_equal(other.bytes(), std::span<const std::byte>(source_).first(kRun), "the other path");
  EXPECT_FALSE(a().log(1).broken);
  EXPECT_FALSE(b().log(1).broken);
}

TEST_P(FenceConformance, APeerThatLeavesIsNoticedInEveryPhase) {
  for (int phase = 0; phase < 6; ++phase) {
    SCOPED_TRACE(phase);
    reconnect();
    Region& target = b().add_region(kRun * 4);
    Region& local = a().add_region(kRun * 4);
    switch (phase) {
      case 0:
        break;  // at once
      case 1:
        link().drive_rounds(50);
        break;  // idle
      case 2:
        for (uint32_t i = 0; i < 4; ++i) a().write(target, i * kRun, source_.data(), kRun, i);
        break;  // writes posted
      case 3:
        for (uint32_t i = 0; i < 4; ++i) a().write(target, i * kRun, source_.data(), kRun, i);
        link().drive_rounds(5, 10'000);
        break;  // inside a write
      case 4:
        for (uint32_t i = 0; i < 4; ++i) {
          a().read(target, i * kRun, local.bytes().data() + i * kRun, kRun);
        }
        link().drive_rounds(7, 10'000);
        break;  // inside a read
      default:
        a().flush();
        break;  // a flush out
    }
    b().close();
    for (int round = 0; round < 2000 && !a().log().broken; ++round) {
      link().drive_rounds(1, 50'000, &a());
    }
    EXPECT_TRUE(a().log().broken);
    EXPECT_FALSE(a().log().reason.empty());
    link().drive_rounds(10, 50'000, &a());
    if (phase == 4) {
      EXPECT_GT(a().log().count(OpState::kPosted), 0u) << "reported before the fence";
    }
    a().fence();
    EXPECT_TRUE(a().log().fenced);
    EXPECT_EQ(a().log().count(OpState::kPosted), 0u);
  }
}

size_t open_descriptors() {
  size_t count = 0;
  DIR* folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

TEST_P(FenceConformance, OpeningAndClosingLeavesNothingBehind) {
  reconnect();
  connection_.reset();
  const size_t before = open_descriptors();
  for (int i = 0; i < 60; ++i) {
    Connection connection(GetParam());
    Region& target = connection.b.add_region(50'000);
    connection.a.write(target, 0, source_.data(), 50'000, 1);
    if (i % 2 == 0) {
      ASSERT_TRUE(connection.drive([&] { return !connection.b.log().immediates.empty(); }));
    }
  }
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace baton_conformance
