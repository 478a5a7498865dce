// Where ranks meet: every wait ends, all leave with one verdict, and no rank overwrites what
// another still reads.
#include "examples/reference_engine/rank_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <random>
#include <thread>

#include "tests/support/test_seed.h"

namespace {

using baton::Status;
using baton::StatusCode;
using baton_engine::kTensorParts;
using baton_engine::OwnedFd;
using baton_engine::RankGroup;
using testing::HasSubstr;

constexpr size_t kFloats = 37;

class RankGroupTest : public testing::Test {
 protected:
  std::unique_ptr<RankGroup> join(uint32_t rank, uint32_t deadline_ms = 20'000,
                                  std::function<Status()> check = nullptr) {
    auto group = RankGroup::join(memory_.get(), {rank, kFloats, deadline_ms, std::move(check)});
    EXPECT_TRUE(group.is_ok()) << group.status().to_string();
    return std::move(group).value();
  }
  // body(group) for each rank, on a thread each.
  void run_ranks(const std::function<void(RankGroup&)>& body) {
    std::vector<std::thread> ranks;
    for (uint32_t rank = 0; rank < kTensorParts; ++rank) {
      ranks.emplace_back([this, rank, &body] {
        const auto group = join(rank);
        body(*group);
      });
    }
    for (std::thread& rank : ranks) rank.join();
  }

  OwnedFd memory_ = RankGroup::create_memory(kFloats).value();
};

float value_of(uint32_t meeting, uint32_t part, size_t index) {
  return static_cast<float>(meeting * 7 + part * 1000 + index);
}

void fill_partial(RankGroup& group, uint32_t meeting) {
  float* out = group.partial(group.rank());
  for (size_t i = 0; i < kFloats; ++i) out[i] = value_of(meeting, group.rank(), i);
}

uint64_t count_wrong(const RankGroup& group, uint32_t meeting) {
  uint64_t wrong = 0;
  for (uint32_t part = 0; part < kTensorParts; ++part) {
    for (size_t i = 0; i < kFloats; ++i) {
      wrong += group.met(part)[i] != value_of(meeting, part, i) ? 1U : 0U;
    }
  }
  return wrong;
}

TEST_F(RankGroupTest, EveryRankReadsEveryPartial) {
  std::atomic<uint64_t> wrong{0};
  run_ranks([&wrong](RankGroup& group) {
    for (uint32_t meeting = 0; meeting < 3000; ++meeting) {
      fill_partial(group, meeting);
      ASSERT_TRUE(group.meet().is_ok());
      wrong += count_wrong(group, meeting);
    }
    EXPECT_TRUE(group.end_pass({}).is_ok());
  });
  EXPECT_EQ(wrong, 0U);
}

// Passes of random lengths, of which some are given up by some ranks at random meetings.
TEST_F(RankGroupTest, AllLeaveAPassThatOneGivesUpAtTheSameMeeting) {
  constexpr uint32_t kPasses = 400;
  constexpr uint32_t kNever = UINT32_MAX;
  struct Pass {
    uint32_t meetings = 0;
    std::array<uint32_t, kTensorParts> gives_up{};  // before this meeting
  };
  std::mt19937_64 random(baton_test::test_seed());
  std::vector<Pass> passes(kPasses);
  for (Pass& pass : passes) {
    pass.meetings = static_cast<uint32_t>(random() % 6);
    for (uint32_t& at : pass.gives_up) {
      // == meetings: only at the end of the pass.
      at = random() % 4 == 0 ? static_cast<uint32_t>(random() % (pass.meetings + 1)) : kNever;
    }
  }
  std::atomic<uint64_t> wrong{0};
  run_ranks([&](RankGroup& group) {
    uint32_t number = 0;
    for (const Pass& pass : passes) {
      const uint32_t first = *std::min_element(pass.gives_up.begin(), pass.gives_up.end());
      const uint32_t own = pass.gives_up[group.rank()];
      uint32_t met = 0;
      Status status;
      while (status.is_ok() && met < pass.meetings && met != own) {
        fill_partial(group, number + met);
        status = group.meet();
        if (status.is_ok()) wrong += count_wrong(group, number + met);
        met += status.is_ok() ? 1U : 0U;
      }
      // A rank that gives up of its own has a reason; others see the meeting fail.
      ASSERT_EQ(met, std::min(first, pass.meetings));
      ASSERT_EQ(status.is_ok(), own == first || first >= pass.meetings);
      if (met == own) status = Status(StatusCode::kPeerLost, "a reason");
      ASSERT_EQ(group.end_pass(status).code(),
                first == kNever ? StatusCode::kOk : StatusCode::kCancelled);
      number += pass.meetings;
    }
  });
  EXPECT_EQ(wrong, 0U);
}

TEST_F(RankGroupTest, ARankThatDoesNotComeIsNamedByTheDeadline) {
  const auto absent = join(2);
  std::thread other([this] {
    const auto group = join(1, 300);
    EXPECT_EQ(group->meet().code(), StatusCode::kDeadlineExceeded);
  });
  const auto group = join(0, 300);
  const Status status = group->meet();
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(status.message(), HasSubstr("rank 2 did not come to the sum within 300 ms"));
  other.join();
  // Nothing after that can be trusted.
  EXPECT_EQ(group->meet().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(group->end_pass({}).code(), StatusCode::kDeadlineExceeded);
}

TEST_F(RankGroupTest, ARankThatDiesIsNamedByAllOthers) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto group = join(2);
    for (uint32_t meeting = 0; meeting < 3; ++meeting) group->meet().ignore();
    ::kill(::getpid(), SIGKILL);
  }
  std::array<Status, 2> ends;
  std::vector<std::thread> ranks;
  for (uint32_t rank = 0; rank < 2; ++rank) {
    ranks.emplace_back([this, rank, &ends] {
      const auto group = join(rank);
      for (uint32_t meeting = 0; meeting < 3; ++meeting) ASSERT_TRUE(group->meet().is_ok());
      ends[rank] = group->meet();
      EXPECT_TRUE(group->is_given_up());
    });
  }
  for (std::thread& rank : ranks) rank.join();
  for (const Status& end : ends) {
    EXPECT_EQ(end.code(), StatusCode::kPeerLost);
    EXPECT_THAT(end.message(), HasSubstr("rank 2 is gone"));
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
}

TEST_F(RankGroupTest, TheCheckEndsAWait) {
  std::atomic<bool> interrupted{false};
  std::thread later([this, &interrupted] {
    const auto group = join(1);
    interrupted = true;
    EXPECT_EQ(group->meet().code(), StatusCode::kPeerLost);
  });
  const auto group = join(0, 20'000, [&interrupted] {
    return interrupted ? Status(StatusCode::kCancelled, "interrupted") : Status::ok();
  });
  EXPECT_EQ(group->meet().message(), "interrupted");
  // As the process that has found out says to the others.
  group->say_lost(2);
  later.join();
}

TEST_F(RankGroupTest, OneWhoWaitsElsewhereLearnsThatThePassIsGivenUp) {
  const auto waiting = join(0);
  EXPECT_FALSE(waiting->is_given_up());
  std::thread other([this] {
    const auto group = join(1);
    EXPECT_EQ(group->end_pass({StatusCode::kPeerLost, "a reason"}).code(), StatusCode::kCancelled);
  });
  while (!waiting->is_given_up()) std::this_thread::yield();
  std::thread third([this] { EXPECT_FALSE(join(2)->end_pass({}).is_ok()); });
  EXPECT_EQ(waiting->end_pass({StatusCode::kCancelled, ""}).code(), StatusCode::kCancelled);
  EXPECT_FALSE(waiting->is_given_up());
  other.join();
  third.join();
}

TEST_F(RankGroupTest, MemoryOfAnotherSizeIsRefused) {
  const auto group = RankGroup::join(memory_.get(), {0, kFloats + 16, 1000, nullptr});
  EXPECT_EQ(group.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(RankGroup::join(-1, {0, kFloats, 1000, nullptr}).code(), StatusCode::kInvalidArgument);
}

}  // namespace
