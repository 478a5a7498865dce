// Raw writes and reads under a range grant: placement, order of messages, permission, revocation.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/integration/rig.h"
#include "tests/support/test_seed.h"

namespace baton_test {
namespace {

using baton::EventKind;
using baton::State;
using baton::StatusCode;

constexpr uint64_t kBytes = 8u << 20;

class Raw : public testing::TestWithParam<const char*> {
 protected:
  Raw() : pair_({GetParam(), true, test_seed()}), local_(kBytes), remote_(kBytes) {
    local_section_ = register_memory(pair_.prefill(), local_, "local");
    remote_section_ = register_memory(pair_.decode(), remote_, "remote");
    pair_.connect();
  }

  static baton::Section register_memory(baton::Context& context, GuardedBuffer& memory,
                                        const char* name) {
    baton::SectionOptions options;
    options.name = name;
    options.address = memory.data();
    options.length_bytes = memory.size();
    return require(context.register_section(options), "register_section");
  }

  baton::Grant open(bool write, bool read, std::vector<baton::RangeGrantRequest::Range> ranges) {
    baton::RangeGrantRequest request;
    request.peer = pair_.prefill_peer();
    request.tag = "ranges";
    request.ranges = std::move(ranges);
    request.allow_write = write;
    request.allow_read = read;
    return require(pair_.decode().grant_ranges(request), "grant_ranges");
  }

  baton::RawRequest request_for(baton::GrantId grant) {
    baton::RawRequest request;
    request.grant = grant;
    request.local_section = local_section_.id();
    request.remote_section = remote_section_.id();
    return request;
  }

  // Runs that do not overlap at the side that is written.
  static std::vector<baton::Run> random_runs(uint64_t seed, uint32_t count) {
    std::mt19937_64 random(seed);
    std::vector<baton::Run> runs;
    const uint64_t slot = kBytes / count;
    for (uint32_t i = 0; i < count; ++i) {
      baton::Run run;
      run.length_bytes = 1 + random() % slot;
      run.local_offset_bytes = i * slot + random() % (slot - run.length_bytes + 1);
      run.remote_offset_bytes =
          ((i * 7 + 3) % count) * slot + random() % (slot - run.length_bytes + 1);
      runs.push_back(run);
    }
    return runs;
  }

  ContextPair pair_;
  GuardedBuffer local_;
  GuardedBuffer remote_;
  baton::Section local_section_;
  baton::Section remote_section_;
};

TEST_P(Raw, WritesLandAndNothingElseMoves) {
  local_.fill_pattern(test_seed());
  auto grant = open(true, false, {{remote_section_.id(), 0, kBytes}});
  const auto offer = require(pair_.prefill().wait_offer("ranges", 10000), "wait_offer");
  for (const uint32_t count : {1u, 3u, 61u, 997u}) {
    remote_.poison();
    auto request = request_for(offer.id);
    request.runs = random_runs(test_seed() + count, count);
    std::vector<uint8_t> expected(remote_.bytes().begin(), remote_.bytes().end());
    for (const auto& run : request.runs) {
      std::copy_n(local_.data() + run.local_offset_bytes, run.length_bytes,
                  expected.data() + run.remote_offset_bytes);
    }
    auto transfer = require(pair_.prefill().write(request), "write");
    ASSERT_TRUE(transfer.wait(20000).is_ok()) << transfer.status().to_string();
    EXPECT_EQ(compare_bytes(expected, remote_.bytes()), "") << count << " runs";
    EXPECT_EQ(remote_.check_guards(), "");
  }
  grant.cancel("done");
  EXPECT_EQ(grant.wait(5000).code(), StatusCode::kCancelled);
}

TEST_P(Raw, ReadsBringTheBytes) {
  remote_.fill_pattern(test_seed() + 9);
  auto grant = open(false, true, {{remote_section_.id(), 0, kBytes}});
  const auto offer = require(pair_.prefill().wait_offer("ranges", 10000), "wait_offer");
  for (const uint32_t count : {1u, 17u, 500u}) {
    local_.poison();
    auto request = request_for(offer.id);
    request.runs = random_runs(test_seed() + count, count);
    std::vector<uint8_t> expected(local_.bytes().begin(), local_.bytes().end());
    for (const auto& run : request.runs) {
      std::copy_n(remote_.data() + run.remote_offset_bytes, run.length_bytes,
                  expected.data() + run.local_offset_bytes);
    }
    auto transfer = require(pair_.prefill().read(request), "read");
    ASSERT_TRUE(transfer.wait(20000).is_ok()) << transfer.status().to_string();
    EXPECT_EQ(compare_bytes(expected, local_.bytes()), "") << count << " runs";
    EXPECT_EQ(local_.check_guards(), "");
  }
  grant.cancel("done");
  EXPECT_EQ(grant.wait(5000).code(), StatusCode::kCancelled);
}

TEST_P(Raw, MessageArrivesAfterTheBytesItFollows) {
  auto grant = open(true, false, {{remote_section_.id(), 0, kBytes}});
  const auto offer = require(pair_.prefill().wait_offer("ranges", 10000), "wait_offer");
  for (uint8_t round = 1; round <= 20; ++round) {
    std::fill_n(local_.data(), kBytes, round);
    auto request = request_for(offer.id);
    request.runs = {{0, 0, kBytes}};
    request.message = {round};
    request.has_message = true;
    auto transfer = require(pair_.prefill().write(request), "write");
    const auto event = next_event(pair_.decode(), EventKind::kMessage);
    ASSERT_EQ(event.message, std::vector<uint8_t>{round});
    // The last byte first: it was sent last.
    ASSERT_EQ(remote_.data()[kBytes - 1], round);
    ASSERT_TRUE(std::all_of(remote_.data(), remote_.data() + kBytes,
                            [=](uint8_t byte) { return byte == round; }));
    ASSERT_TRUE(transfer.wait(5000).is_ok());
  }
}

TEST_P(Raw, WhatTheGrantDoesNotOpenIsRefusedByNameAndNothingMoves) {
  local_.fill_pattern(test_seed());
  auto grant = open(true, false, {{remote_section_.id(), 4096, 8192}});
  const auto offer = require(pair_.prefill().wait_offer("ranges", 10000), "wait_offer");
  auto request = request_for(offer.id);
  request.runs = {{0, 4096, 4096}, {0, 12000, 1000}};
  const auto outside = pair_.prefill().write(request);
  ASSERT_FALSE(outside.is_ok());
  EXPECT_EQ(outside.code(), StatusCode::kPermissionDenied);
  EXPECT_NE(outside.status().message().find("run 1, remote side"), std::string::npos)
      << outside.status().message();
  request.runs = {{0, 4096, 4096}};
  EXPECT_EQ(pair_.prefill().read(request).code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(remote_.check_poisoned(0, kBytes), "");
}

TEST_P(Raw, RevokedGrantEndsItsTransfersAndTheMemoryIsQuiet) {
  local_.fill_pattern(test_seed());
  for (int round = 0; round < 10; ++round) {
    auto grant = open(true, false, {{remote_section_.id(), 0, kBytes}});
    const auto offer = require(pair_.prefill().wait_offer("ranges", 10000), "wait_offer");
    auto request = request_for(offer.id);
    request.runs = random_runs(test_seed() + static_cast<uint64_t>(round), 64);
    auto transfer = require(pair_.prefill().write(request), "write");
    grant.cancel("revoked");
    EXPECT_EQ(grant.wait(10000).code(), StatusCode::kCancelled);
    EXPECT_EQ(grant.state(), State::kCancelled);
    // From the terminal state on the memory is the receiver's alone.
    remote_.poison();
    const auto ended = transfer.wait(10000);
    EXPECT_TRUE(ended.is_ok() || ended.code() == StatusCode::kCancelled) << ended.to_string();
    EXPECT_EQ(remote_.check_poisoned(0, kBytes), "");
  }
}

TEST_P(Raw, SmallMessagesKeepTheirOrder) {
  for (uint64_t i = 0; i < 200; ++i) {
    const std::vector<uint8_t> bytes(i, static_cast<uint8_t>(i));
    require_ok(pair_.prefill().send_message(pair_.decode_peer(), i, bytes), "send_message");
  }
  for (uint64_t i = 0; i < 200; ++i) {
    const auto event = next_event(pair_.decode(), EventKind::kMessage);
    ASSERT_EQ(event.tag_number, i);
    ASSERT_EQ(event.message, std::vector<uint8_t>(i, static_cast<uint8_t>(i)));
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, Raw, testing::Values("tcp", "loopback"),
                         [](const auto& transport) { return std::string(transport.param); });

}  // namespace
}  // namespace baton_test
