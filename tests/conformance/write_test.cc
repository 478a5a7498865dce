#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "tests/conformance/suite.h"

namespace baton_conformance {
namespace {

using WriteConformance = Conformance;
BATON_CONFORMANCE_SUITE(WriteConformance);

TEST_P(WriteConformance, OneWriteLandsAndNothingElseChanges) {
  Region& target = b().add_region(1 << 20);
  std::vector<std::byte> source(100'003);
  fill_pattern(source, 1);
  const uint64_t op = a().write(target, 12'345, source.data(), 100'003, 77);
  ASSERT_TRUE(link().drive([&] { return !b().log().immediates.empty() && settled(); }));
  EXPECT_EQ(b().log().immediates, std::vector<uint32_t>{77});
  EXPECT_EQ(a().log().ops[op], OpState::kDone);
  expect_equal(target.bytes().subspan(12'345, 100'003), source, "the written range");
  expect_all(target.bytes().first(12'345), kPoison, "before the range");
  expect_all(target.bytes().subspan(12'345 + 100'003), kPoison, "behind the range");
}

TEST_P(WriteConformance, ManySmallRunsInOneBatch) {
  constexpr uint32_t kRun = 4096;
  constexpr uint32_t kCount = 200;
  Region& target = b().add_region(kCount * kRun);
  std::vector<std::byte> source(kCount * kRun);
  fill_pattern(source, 2);
  std::vector<uint32_t> places(kCount);
  std::iota(places.begin(), places.end(), 0u);
  std::shuffle(places.begin(), places.end(), std::mt19937(3));
  std::vector<std::byte> expected(source.size());
  std::vector<baton_source> ranges(kCount);
  std::vector<baton_post> posts(kCount);
  const bool covers = link().has(BATON_CAP_IMM_COVERS_PRIOR);
  for (uint32_t i = 0; i < kCount; ++i) {
    ranges[i] = {source.data() + i * kRun, nullptr, kRun, 0};
    posts[i] = End::make_post(BATON_POST_WRITE, &ranges[i], 1, target, places[i] * kRun);
    posts[i].has_immediate = !covers || i + 1 == kCount ? 1 : 0;
    posts[i].immediate = posts[i].has_immediate != 0 ? i : 0;
    std::copy_n(source.begin() + i * kRun, kRun, expected.begin() + places[i] * kRun);
  }
  const size_t wanted = covers ? 1 : kCount;
  b().host.on_immediate = [&](uint32_t) {
    if (b().log().immediates.size() + 1 == wanted) {
      expect_equal(target.bytes(), expected, "when the last immediate is reported");
    }
  };
  uint32_t accepted = 0;
  ASSERT_EQ(a().post(posts.data(), kCount, &accepted), BATON_RC_OK);
  ASSERT_EQ(accepted, kCount);
  ASSERT_TRUE(link().drive([&] { return b().log().immediates.size() == wanted && settled(); }));
  expect_equal(target.bytes(), expected, "at the end");
}

TEST_P(WriteConformance, GathersUpToTheStatedNumberOfSources) {
  const uint32_t most = link().capabilities.max_sources;
  std::vector<std::byte> source(most * 1000);
  fill_pattern(source, 4);
  Region& target = b().add_region(source.size());
  for (uint32_t count = 1; count <= most; ++count) {
    std::vector<baton_source> ranges;
    std::vector<std::byte> expected;
    for (uint32_t i = 0; i < count; ++i) {
      // Backwards, of unequal lengths, never adjacent.
      const size_t begin = (count - 1 - i) * 1000;
      const uint32_t length = 1 + (i * 131 + count * 17) % 900;
      ranges.push_back({source.data() + begin, nullptr, length, 0});
      expected.insert(expected.end(), source.begin() + static_cast<ptrdiff_t>(begin),
                      source.begin() + static_cast<ptrdiff_t>(begin + length));
    }
    baton_post post = End::make_post(BATON_POST_WRITE, ranges.data(), count, target, 5);
    post.has_immediate = 1;
    post.immediate = count;
    uint32_t accepted = 0;
    ASSERT_EQ(a().post(&post, 1, &accepted), BATON_RC_OK);
    ASSERT_TRUE(link().drive([&] { return b().log().immediates.size() == count && settled(); }));
    expect_equal(target.bytes().subspan(5, expected.size()), expected, "gathered");
  }
}

TEST_P(WriteConformance, RunsAtTheEndsOfARegion) {
  constexpr uint32_t kBytes = 70'001;
  Region& target = b().add_region(kBytes);
  std::vector<std::byte> source(kBytes);
  fill_pattern(source, 5);
  a().write(target, 0, source.data(), 1, 1);
  a().write(target, kBytes - 1, source.data() + kBytes - 1, 1, 2);
  ASSERT_TRUE(link().drive([&] { return b().log().immediates.size() == 2 && settled(); }));
  EXPECT_EQ(target.bytes().front(), source.front());
  EXPECT_EQ(target.bytes().back(), source.back());
  expect_all(target.bytes().subspan(1, kBytes - 2), kPoison, "between");
  a().write(target, 0, source.data(), kBytes, 3);
  ASSERT_TRUE(link().drive([&] { return b().log().immediates.size() == 3 && settled(); }));
  expect_equal(target.bytes(), source, "the whole region");
}

TEST_P(WriteConformance, ImmediatesComeAfterTheBytesTheyCover) {
  constexpr uint32_t kCount = 120;
  std::mt19937 random(6);
  std::vector<uint32_t> begins;
  std::vector<uint32_t> lengths;
  uint32_t total = 0;
  for (uint32_t i = 0; i < kCount; ++i) {
    begins.push_back(total);
    lengths.push_back(1 + static_cast<uint32_t>(random() % (i % 10 == 0 ? 200'000 : 9'000)));
    total += lengths.back();
  }
  Region& target = b().add_region(total);
  std::vector<std::byte> source(total);
  fill_pattern(source, 7);
  const bool covers = link().has(BATON_CAP_IMM_COVERS_PRIOR);
  b().host.on_immediate = [&](uint32_t immediate) {
    const size_t begin = covers ? 0 : begins[immediate];
    const size_t length = begins[immediate] + lengths[immediate] - begin;
    expect_equal(target.bytes().subspan(begin, length),
                 std::span<const std::byte>(source).subspan(begin, length), "covered bytes");
  };
  uint32_t immediates = 0;
  for (uint32_t i = 0; i < kCount; ++i) {
    const bool with = i % 3 == 2;
    a().write(target, begins[i], source.data() + begins[i], lengths[i], with ? int64_t{i} : -1);
    if (with) ++immediates;
    if (i % 7 == 0) link().drive_rounds(1, 30'000);
  }
  ASSERT_TRUE(link().drive([&] { return b().log().immediates.size() == immediates && settled(); },
                           100'000));
  expect_equal(target.bytes(), source, "at the end");
  if (link().has(BATON_CAP_ORDERED)) {
    EXPECT_TRUE(std::is_sorted(b().log().immediates.begin(), b().log().immediates.end()));
  }
}

TEST_P(WriteConformance, AFlushIsDoneOnceEarlierWritesArePlaced) {
  constexpr uint32_t kRun = 50'000;
  constexpr uint32_t kCount = 40;
  Region& target = b().add_region(kRun * kCount);
  std::vector<std::byte> source(kRun * kCount);
  fill_pattern(source, 8);
  uint64_t last_flush = 0;
  uint64_t middle_flush = 0;
  a().host.on_op = [&](uint64_t op, baton_op_status status) {
    if (op != last_flush && op != middle_flush) return;
    EXPECT_EQ(status, BATON_OP_DONE);
    const size_t length = op == last_flush ? source.size() : source.size() / 2;
    expect_equal(target.bytes().first(length), std::span<const std::byte>(source).first(length),
                 "when the flush is done");
  };
  for (uint32_t i = 0; i < kCount; ++i) {
    a().write(target, i * kRun, source.data() + i * kRun, kRun);
    if (i + 1 == kCount / 2) middle_flush = a().flush();
  }
  last_flush = a().flush();
  ASSERT_TRUE(link().drive([&] { return settled(); }));
  EXPECT_EQ(a().log().count(OpState::kDone), kCount + 2);
}

TEST_P(WriteConformance, ASourceMayBeOverwrittenOnceItsOpIsDone) {
  constexpr uint32_t kPiece = 120'000;
  constexpr uint32_t kPieces = 4;
  constexpr uint32_t kPosts = 12;
  const uint32_t pieces = std::min(kPieces, link().capabilities.max_sources);
  const size_t post_bytes = size_t{pieces} * kPiece;
  Region& target = b().add_region(kPosts * post_bytes);
  std::vector<std::byte> source(kPosts * post_bytes);
  fill_pattern(source, 14);
  const std::vector<std::byte> expected = source;
  a().host.on_op = [&](uint64_t op, baton_op_status) {
    std::fill_n(source.begin() + static_cast<ptrdiff_t>(op * post_bytes), post_bytes,
                std::byte{0xEE});
  };
  for (uint32_t i = 0; i < kPosts; ++i) {
    std::vector<baton_source> ranges;
    for (uint32_t piece = 0; piece < pieces; ++piece) {
      ranges.push_back({source.data() + i * post_bytes + piece * kPiece, nullptr, kPiece, 0});
    }
    baton_post post =
        End::make_post(BATON_POST_WRITE, ranges.data(), pieces, target, i * post_bytes);
    post.has_immediate = 1;
    uint32_t accepted = 0;
    ASSERT_EQ(a().post(&post, 1, &accepted), BATON_RC_OK);
  }
  ASSERT_TRUE(
      link().drive([&] { return b().log().immediates.size() == kPosts && settled(); }, 50'000));
  expect_equal(target.bytes(), expected, "with sources overwritten when done");
}

TEST_P(WriteConformance, AProgressPlacesAtMostItsBudget) {
  if (!link().has(BATON_CAP_SOFTWARE_PLACEMENT)) GTEST_SKIP() << "nobody copies";
  constexpr uint32_t kBytes = 600'000;
  constexpr size_t kBudget = 7'001;
  Region& target = b().add_region(kBytes);
  std::vector<std::byte> source(kBytes, std::byte{1});
  // Small runs first: they come with the read-ahead.
  for (uint32_t i = 0; i < 100; ++i) a().write(target, i * 1'000, source.data(), 1'000);
  a().write(target, 100'000, source.data(), kBytes - 100'000, 1);
  const auto placed = [&] {
    const auto bytes = target.bytes();
    return static_cast<size_t>(std::count(bytes.begin(), bytes.end(), std::byte{1}));
  };
  size_t before = 0;
  for (int round = 0; round < 5'000 && b().log().immediates.empty(); ++round) {
    link().drive_rounds(1, 256u << 10, &a());
    link().drive_rounds(1, kBudget, &b());
    const size_t now = placed();
    ASSERT_LE(now - before, kBudget) << "in round " << round;
    before = now;
  }
  EXPECT_EQ(before, kBytes);
}

TEST_P(WriteConformance, AgainWhenFullAndRoomAfterProgress) {
  Region& target = b().add_region(1 << 20);
  std::vector<std::byte> source(1 << 20);
  fill_pattern(source, 9);
  const uint32_t most = link().capabilities.max_posts;
  const baton_source range{source.data(), nullptr, 1000, 0};
  std::vector<baton_post> posts(most + 10);
  for (size_t i = 0; i < posts.size(); ++i) {
    posts[i] = End::make_post(BATON_POST_WRITE, &range, 1, target, i % 1000);
  }
  uint32_t accepted = 0;
  ASSERT_EQ(a().post(posts.data(), most + 10, &accepted), BATON_RC_OK);
  EXPECT_EQ(accepted, most);
  EXPECT_EQ(a().post(posts.data(), 1, &accepted), BATON_RC_AGAIN);
  EXPECT_EQ(accepted, 0u);
  EXPECT_EQ(a().try_flush(), BATON_RC_AGAIN);
  ASSERT_TRUE(link().drive([&] { return settled(); }));
  a().write(target, 2'000, source.data(), 500'000, 1);
  ASSERT_TRUE(link().drive([&] { return b().log().immediates.size() == 1 && settled(); }));
  expect_equal(target.bytes().subspan(2'000, 500'000),
               std::span<const std::byte>(source).first(500'000), "after recovery");
}

TEST_P(WriteConformance, WrongPostsAreRefusedAndThoseBeforeAreTaken) {
  Region& target = b().add_region(100'000);
  std::vector<std::byte> source(100'000);
  fill_pattern(source, 10);
  std::vector<baton_source> ranges(link().capabilities.max_sources + 1,
                                   baton_source{source.data(), nullptr, 10, 0});
  const auto good = [&] { return End::make_post(BATON_POST_WRITE, ranges.data(), 1, target, 0); };
  std::vector<baton_post> wrong(9, good());
  wrong[0].length_bytes = 0;
  wrong[1].length_bytes = 11;
  wrong[2].num_sources = 0;
  wrong[3] = End::make_post(BATON_POST_WRITE, ranges.data(), link().capabilities.max_sources + 1,
                            target, 0);
  wrong[4].target_address = UINT64_MAX - 3;
  wrong[5].kind = BATON_POST_READ;
  wrong[5].has_immediate = 1;
  wrong[6].has_immediate = 1;
  wrong[6].length_bytes = 0;  // with a source
  wrong[7].length_bytes = 0;  // without an immediate
  wrong[7].num_sources = 0;
  wrong[8].kind = BATON_POST_READ;
  wrong[8].length_bytes = 0;
  wrong[8].num_sources = 0;
  for (const baton_post& post : wrong) {
    std::vector<baton_post> posts{good(), post, good()};
    uint32_t accepted = 0;
    EXPECT_EQ(a().post(posts.data(), 3, &accepted), BATON_RC_INVALID);
    EXPECT_EQ(accepted, 1u);
  }
  ASSERT_TRUE(link().drive([&] { return settled(); }));
  EXPECT_FALSE(a().log().broken);
  EXPECT_FALSE(b().log().broken);
}

TEST_P(WriteConformance, BytesOfAnEndedGrantAreDroppedAndTheImmediateIsReported) {
  Region& target = b().add_region(600'000);
  std::vector<std::byte> source(300'000);
  fill_pattern(source, 11);
  b().host.allow(2);
  b().host.end(2);
  a().write(target, 0, source.data(), 300'000, 5, 2);
  a().write(target, 300'000, source.data(), 300'000, 6, 1);
  ASSERT_TRUE(link().drive([&] { return b().log().immediates.size() == 2 && settled(); }));
  expect_all(target.bytes().first(300'000), kPoison, "of the ended grant");
  expect_equal(target.bytes().subspan(300'000), source, "of the live grant");
  EXPECT_FALSE(b().log().broken);
}

TEST_P(WriteConformance, AGrantThatEndsHalfWayStopsTheBytesAtOnce) {
  constexpr uint32_t kBytes = 3'000'000;
  Region& target = b().add_region(kBytes);
  std::vector<std::byte> source(kBytes);
  fill_pattern(source, 12);
  b().host.allow(2);
  a().write(target, 0, source.data(), kBytes, 5, 2);
  ASSERT_TRUE(link().drive([&] { return target.bytes()[20'000] == source[20'000]; }, 10'000));
  b().host.end(2);
  const std::vector<std::byte> snapshot(target.bytes().begin(), target.bytes().end());
  ASSERT_TRUE(link().drive([&] { return b().log().immediates.size() == 1 && settled(); }));
  expect_equal(target.bytes(), snapshot, "after the grant ended");
  expect_all(target.bytes().subspan(kBytes - 100'000), kPoison, "the tail");
}

TEST_P(WriteConformance, AWriteOutsideItsGrantBreaksThePath) {
  Region& target = b().add_region(100'000);
  std::vector<std::byte> source(100'000);
  fill_pattern(source, 13);
  for (int kind = 0; kind < 3; ++kind) {
    if (kind > 0) link().open_path();
    const auto path = static_cast<size_t>(kind);
    Region fake;
    fake.key = kind == 0 ? target.key + 999 : target.key;
    fake.base = target.base;
    const uint64_t offset = kind == 1 ? 50'000 : 0;
    a().write(fake, offset, source.data(), kind == 1 ? 50'001 : 1'000, 5, kind == 2 ? 999 : 1,
              path);
    ASSERT_TRUE(link().drive([&] { return b().log(path).broken; }, 100'000));
    EXPECT_TRUE(b().log(path).immediates.empty());
  }
}

}  // namespace
}  // namespace baton_conformance
