#include <random>
#include <vector>

#include "tests/conformance/suite.h"

namespace baton_conformance {
namespace {

class ReadConformance : public Conformance {
 protected:
  void SetUp() override {
    Conformance::SetUp();
    if (IsSkipped()) return;
    if (!link().has(BATON_CAP_READ)) GTEST_SKIP() << "the plug-in has no reads";
  }
};
BATON_CONFORMANCE_SUITE(ReadConformance);

TEST_P(ReadConformance, ReadsLandInLocalMemoryBeforeTheyAreDone) {
  constexpr uint32_t kBytes = 1'500'001;
  Region& remote = b().add_region(kBytes);
  fill_pattern(remote.bytes(), 1);
  Region& local = a().add_region(kBytes + 100);
  a().host.on_op = [&](uint64_t, baton_op_status status) {
    EXPECT_EQ(status, BATON_OP_DONE);
    expect_equal(local.bytes().subspan(50, kBytes), remote.bytes(), "when the read is done");
  };
  a().read(remote, 0, local.bytes().data() + 50, kBytes);
  ASSERT_TRUE(link().drive([&] { return settled(); }));
  expect_all(local.bytes().first(50), kPoison, "before");
  expect_all(local.bytes().last(50), kPoison, "behind");
}

TEST_P(ReadConformance, ManyReadsAmongWrites) {
  constexpr uint32_t kRun = 6'007;
  constexpr uint32_t kCount = 100;
  Region& remote = b().add_region(kRun * kCount);
  fill_pattern(remote.bytes(), 2);
  Region& sink = b().add_region(kRun * kCount);
  Region& local = a().add_region(kRun * kCount);
  std::vector<std::byte> source(kRun * kCount);
  fill_pattern(source, 3);
  for (uint32_t i = 0; i < kCount; ++i) {
    a().read(remote, i * kRun, local.bytes().data() + i * kRun, kRun);
    a().write(sink, i * kRun, source.data() + i * kRun, kRun);
  }
  a().flush();
  ASSERT_TRUE(link().drive([&] { return settled(); }));
  expect_equal(local.bytes(), remote.bytes(), "read");
  expect_equal(sink.bytes(), source, "written");
}

TEST_P(ReadConformance, AReadMayScatter) {
  const uint32_t count = link().capabilities.max_sources;
  constexpr uint32_t kPiece = 30'011;
  Region& remote = b().add_region(count * kPiece);
  fill_pattern(remote.bytes(), 4);
  Region& local = a().add_region(count * kPiece * 2);
  std::vector<baton_source> ranges;
  for (uint32_t i = 0; i < count; ++i) {
    ranges.push_back({local.bytes().data() + 2 * i * kPiece, nullptr, kPiece, 0});
  }
  baton_post post = End::make_post(BATON_POST_READ, ranges.data(), count, remote, 0);
  uint32_t accepted = 0;
  ASSERT_EQ(a().post(&post, 1, &accepted), BATON_RC_OK);
  ASSERT_TRUE(link().drive([&] { return settled(); }, 40'000));
  for (uint32_t i = 0; i < count; ++i) {
    expect_equal(local.bytes().subspan(2 * i * kPiece, kPiece),
                 remote.bytes().subspan(i * kPiece, kPiece), "scattered");
    expect_all(local.bytes().subspan((2 * i + 1) * kPiece, kPiece), kPoison, "between");
  }
}

TEST_P(ReadConformance, AReadOutsideItsGrantIsRefusedAndThePathLives) {
  Region& remote = b().add_region(100'000);
  Region& local = a().add_region(100'000);
  b().host.allow(2);
  b().host.end(2);
  const uint64_t ended = a().read(remote, 0, local.bytes().data(), 1'000, 2);
  const uint64_t unknown = a().read(remote, 0, local.bytes().data(), 1'000, 77);
  const uint64_t outside = a().read(remote, 99'999, local.bytes().data(), 2);
  ASSERT_TRUE(link().drive([&] { return settled(); }));
  for (const uint64_t op : {ended, unknown, outside}) {
    EXPECT_EQ(a().log().ops[op], OpState::kRefused);
  }
  expect_all(local.bytes(), kPoison, "after refused reads");
  fill_pattern(remote.bytes(), 5);
  a().read(remote, 0, local.bytes().data(), 100'000);
  ASSERT_TRUE(link().drive([&] { return settled(); }));
  expect_equal(local.bytes(), remote.bytes(), "after the refusal");
}

TEST_P(ReadConformance, AGrantThatEndsHalfWayRefusesTheReadAndHidesLaterBytes) {
  constexpr uint32_t kBytes = 8'000'000;
  Region& remote = b().add_region(kBytes);
  fill_pattern(remote.bytes(), 6);
  Region& local = a().add_region(kBytes);
  b().host.allow(2);
  const uint64_t op = a().read(remote, 0, local.bytes().data(), kBytes, 2);
  ASSERT_TRUE(
      link().drive([&] { return local.bytes()[20'000] == remote.bytes()[20'000]; }, 10'000));
  b().host.end(2);
  // What is read from now on would be this.
  std::fill(remote.bytes().begin(), remote.bytes().end(), std::byte{0xEE});
  const auto count = [&] {
    // The pattern holds this value here and there; a long run of it does not occur.
    size_t run = 0;
    size_t longest = 0;
    for (const std::byte byte : local.bytes()) {
      run = byte == std::byte{0xEE} ? run + 1 : 0;
      longest = std::max(longest, run);
    }
    return longest;
  };
  ASSERT_TRUE(link().drive([&] { return settled(); }));
  EXPECT_EQ(a().log().ops[op], OpState::kRefused);
  EXPECT_LT(count(), 16u) << "bytes were read after the grant ended";
}

// The answer is short enough to lie, end and all, in one batch of the serving side.
TEST_P(ReadConformance, AGrantThatEndsInsideAShortReadRefusesItToo) {
  constexpr uint32_t kBytes = 200'000;
  Region& remote = b().add_region(kBytes);
  std::fill(remote.bytes().begin(), remote.bytes().end(), std::byte{1});
  Region& local = a().add_region(kBytes);
  b().host.allow(2);
  const uint64_t op = a().read(remote, 0, local.bytes().data(), kBytes, 2);
  ASSERT_TRUE(link().drive([&] { return local.bytes()[20'000] == std::byte{1}; }, 10'000));
  b().host.end(2);
  std::fill(remote.bytes().begin(), remote.bytes().end(), std::byte{0xEE});
  ASSERT_TRUE(link().drive([&] { return settled(); }));
  EXPECT_EQ(a().log().ops[op], OpState::kRefused);
  for (const std::byte byte : local.bytes()) ASSERT_NE(byte, std::byte{0xEE});
}

TEST_P(ReadConformance, BothSidesFloodEachOtherWithReadsAndWrites) {
  constexpr uint32_t kRun = 65'536;
  constexpr uint32_t kSlots = 64;
  constexpr uint32_t kRounds = 400;
  End* ends[2] = {&a(), &b()};
  Region* sinks[2];
  Region* stores[2];
  Region* locals[2];
  std::vector<std::byte> sources[2];
  uint32_t issued[2] = {0, 0};
  for (size_t i = 0; i < 2; ++i) {
    sinks[i] = &ends[i]->add_region(kRun * kSlots);
    stores[i] = &ends[i]->add_region(kRun * kSlots);
    locals[i] = &ends[i]->add_region(kRun * kSlots);
    fill_pattern(stores[i]->bytes(), 20 + i);
    sources[i].resize(kRun * kSlots);
    fill_pattern(sources[i], 30 + i);
  }
  const uint32_t most = std::min(link().capabilities.max_posts, 200u);
  const auto feed = [&](size_t i) {
    while (issued[i] < kRounds && ends[i]->log().ops.size() - ends[i]->log().reported + 2 <= most) {
      const uint32_t slot = issued[i]++ % kSlots;
      ends[i]->read(*stores[1 - i], slot * kRun, locals[i]->bytes().data() + slot * kRun, kRun);
      ends[i]->write(*sinks[1 - i], slot * kRun, sources[i].data() + slot * kRun, kRun);
    }
  };
  ASSERT_TRUE(link().drive([&] {
    feed(0);
    feed(1);
    return issued[0] == kRounds && issued[1] == kRounds && settled();
  }));
  a().flush();
  b().flush();
  ASSERT_TRUE(link().drive([&] { return settled(); }));
  for (size_t i = 0; i < 2; ++i) {
    expect_equal(locals[i]->bytes(), stores[1 - i]->bytes(), "read");
    expect_equal(sinks[1 - i]->bytes(), sources[i], "written");
  }
}

}  // namespace
}  // namespace baton_conformance
