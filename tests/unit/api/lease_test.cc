#include "src/api/lease.h"

#include <gtest/gtest.h>

#include "src/base/clock.h"

namespace baton::api {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

TEST(Lease, TheDeadlineCountsWithoutAnEcho) {
  handoff::GrantState grant;
  grant.deadline_ns = 30 * kSecondNs;
  grant.lease_ns = 2 * kSecondNs;
  EXPECT_EQ(runs_out_ns(grant, 0), 30 * kSecondNs);
}

TEST(Lease, EachEchoMovesTheEndUpToTheDeadline) {
  handoff::GrantState grant;
  grant.deadline_ns = 30 * kSecondNs;
  grant.lease_ns = 2 * kSecondNs;
  EXPECT_EQ(runs_out_ns(grant, 5 * kSecondNs), 7 * kSecondNs);
  EXPECT_EQ(runs_out_ns(grant, 6 * kSecondNs), 8 * kSecondNs);
  EXPECT_EQ(runs_out_ns(grant, 29 * kSecondNs), 30 * kSecondNs);
}

// Both sides lost each other at one moment: whoever writes has stopped when the memory is taken
// back.
TEST(Lease, TheHolderStopsATenthEarlier) {
  base::ManualClock clock(100 * kSecondNs);
  const int64_t basis_ns = clock.now_ns();
  handoff::GrantState grant;
  handoff::TransferState transfer;
  grant.deadline_ns = transfer.deadline_ns = basis_ns + 60 * kSecondNs;
  grant.lease_ns = transfer.lease_ns = 10 * kSecondNs;
  const auto is_over = [&](const auto& request) {
    return clock.now_ns() >= runs_out_ns(request, basis_ns);
  };
  clock.advance_ns(9 * kSecondNs - 1);
  EXPECT_FALSE(is_over(transfer));
  clock.advance_ns(1);
  EXPECT_TRUE(is_over(transfer));
  EXPECT_FALSE(is_over(grant));
  clock.advance_ns(kSecondNs - 1);
  EXPECT_FALSE(is_over(grant));
  clock.advance_ns(1);
  EXPECT_TRUE(is_over(grant));
}

}  // namespace
}  // namespace baton::api
