// Writes of length 0: an immediate and nothing else.
#include <algorithm>
#include <numeric>
#include <vector>

#include "tests/conformance/suite.h"

namespace baton_conformance {
namespace {

using SignalConformance = Conformance;
BATON_CONFORMANCE_SUITE(SignalConformance);

TEST_P(SignalConformance, TheImmediateArrivesAndNothingElseChanges) {
  Region& target = b().add_region(100'000);
  const uint64_t op = a().signal(0xfedcba98u);
  ASSERT_TRUE(link().drive([&] { return !b().log().immediates.empty() && settled(); }));
  EXPECT_EQ(b().log().immediates, std::vector<uint32_t>{0xfedcba98u});
  EXPECT_EQ(a().log().ops[op], OpState::kDone);
  expect_all(target.bytes(), kPoison, "the region");
}

TEST_P(SignalConformance, TheGrantIsNotAskedFor) {
  b().host.allow(2);
  b().host.end(2);
  a().signal(1, 2);
  a().signal(2, 999);
  ASSERT_TRUE(link().drive([&] { return b().log().immediates.size() == 2 && settled(); }));
  EXPECT_FALSE(b().log().broken);
}

TEST_P(SignalConformance, ItCoversWhatWasWrittenBeforeIt) {
  if (!link().has(BATON_CAP_IMM_COVERS_PRIOR)) GTEST_SKIP() << "immediates cover their own post";
  constexpr uint32_t kCount = 60;
  constexpr uint32_t kRun = 7'001;
  Region& target = b().add_region(kCount * kRun);
  std::vector<std::byte> source(kCount * kRun);
  fill_pattern(source, 21);
  b().host.on_immediate = [&](uint32_t written) {
    expect_equal(target.bytes().first(written * kRun),
                 std::span<const std::byte>(source).first(written * kRun), "written before it");
  };
  for (uint32_t i = 0; i < kCount; ++i) {
    a().write(target, i * kRun, source.data() + i * kRun, kRun);
    if (i % 4 == 1) a().signal(i + 1);
    if (i % 12 == 5) a().signal(i + 1);  // two in a row
    if (i % 7 == 0) link().drive_rounds(1, 10'000);
  }
  a().signal(kCount);
  constexpr size_t kSignals = kCount / 4 + kCount / 12 + 1;
  ASSERT_TRUE(
      link().drive([&] { return b().log().immediates.size() >= kSignals && settled(); }, 30'000));
  EXPECT_EQ(b().log().immediates.size(), kSignals);
  EXPECT_TRUE(std::is_sorted(b().log().immediates.begin(), b().log().immediates.end()));
  expect_equal(target.bytes(), source, "at the end");
}

// More than an end keeps of anything, among reads, writes and flushes, in both directions.
TEST_P(SignalConformance, ManyOfThemAreReportedOnceEach) {
  constexpr uint32_t kCount = 5'000;
  Region& target = b().add_region(64 << 10);
  a().add_region(64 << 10);
  std::vector<std::byte> source(64 << 10);
  fill_pattern(source, 22);
  std::vector<uint32_t> expected(kCount);
  std::iota(expected.begin(), expected.end(), 0u);
  const auto send = [&](End& from, uint32_t* next) {
    std::vector<baton_post> posts(std::min(100u, kCount - *next));
    for (uint32_t i = 0; i < posts.size(); ++i) {
      posts[i].kind = BATON_POST_WRITE;
      posts[i].grant = 1;
      posts[i].has_immediate = 1;
      posts[i].immediate = *next + i;
    }
    uint32_t accepted = 0;
    const baton_rc rc = from.post(posts.data(), static_cast<uint32_t>(posts.size()), &accepted);
    EXPECT_TRUE(rc == BATON_RC_OK || rc == BATON_RC_AGAIN) << rc;
    *next += accepted;
  };
  uint32_t sent_by_a = 0;
  uint32_t sent_by_b = 0;
  ASSERT_TRUE(link().drive([&] {
    if (sent_by_a < kCount) send(a(), &sent_by_a);
    if (sent_by_b < kCount) send(b(), &sent_by_b);
    return a().log().immediates.size() == kCount && b().log().immediates.size() == kCount &&
           settled();
  }));
  a().write(target, 0, source.data(), 64 << 10, kCount);
  a().flush();
  ASSERT_TRUE(link().drive([&] { return b().log().immediates.size() > kCount && settled(); }));
  expected.push_back(kCount);
  for (End* end : {&a(), &b()}) {
    auto arrived = end->log().immediates;
    if (!link().has(BATON_CAP_ORDERED)) std::sort(arrived.begin(), arrived.end());
    if (end == &a()) arrived.push_back(kCount);
    EXPECT_EQ(arrived, expected);
  }
  expect_equal(target.bytes(), source, "what was written after them");
}

TEST_P(SignalConformance, AfterAFenceItIsInDoubtOrDone) {
  for (uint32_t i = 0; i < 50; ++i) a().signal(i);
  a().fence();
  ASSERT_TRUE(link().drive([&] { return a().log().fenced; }));
  EXPECT_EQ(a().log().reported, a().log().ops.size());
  b().fence();
  ASSERT_TRUE(link().drive([&] { return b().log().fenced; }));
  EXPECT_LE(b().log().immediates.size(), 50u);
}

}  // namespace
}  // namespace baton_conformance
