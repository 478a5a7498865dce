#include "src/section/section_record.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "src/base/clock.h"

namespace baton::section {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

SectionOptions options_for(void* address, uint64_t length_bytes, std::string name) {
  SectionOptions options;
  options.name = std::move(name);
  options.address = address;
  options.length_bytes = length_bytes;
  return options;
}

std::shared_ptr<SectionRecord> make_open(uint64_t length_bytes = 16) {
  static char memory[16];
  auto record =
      std::make_shared<SectionRecord>(SectionId(3), options_for(memory, length_bytes, "pool"));
  record->open();
  return record;
}

TEST(SectionRecord, KeepsWhatItWasMadeOf) {
  char memory[8];
  SectionOptions options = options_for(memory, 8, "");
  options.location.numa_node = 1;
  SectionRecord record(SectionId(12), options);
  EXPECT_EQ(record.id(), SectionId(12));
  EXPECT_EQ(record.address(), memory);
  EXPECT_EQ(record.length_bytes(), 8u);
  EXPECT_EQ(record.location().numa_node, 1);
  EXPECT_EQ(record.kind(), MemoryKind::kDram);
  EXPECT_EQ(record.describe(), "section 12");
  EXPECT_EQ(make_open()->describe(), "section 3 (\"pool\")");
}

TEST(SectionRecord, FindsTheKeyOfARail) {
  char memory[8];
  SectionRecord record(SectionId(1), options_for(memory, 8, "a"));
  record.add_rail_key({RailIndex(0), 11, 100, nullptr});
  record.add_rail_key({RailIndex(2), 13, 300, nullptr});
  record.open();
  EXPECT_EQ(record.rail_keys().size(), 2u);
  EXPECT_EQ(record.find_rail_key(RailIndex(1)), nullptr);
  ASSERT_NE(record.find_rail_key(RailIndex(2)), nullptr);
  EXPECT_EQ(record.find_rail_key(RailIndex(2))->key, 13u);
  EXPECT_EQ(record.find_rail_key(RailIndex(2))->base, 300u);
}

TEST(SectionUse, IsCountedAndMoves) {
  auto record = make_open();
  {
    auto first = SectionUse::acquire(record);
    ASSERT_TRUE(first.is_ok());
    auto second = SectionUse::acquire(record);
    ASSERT_TRUE(second.is_ok());
    EXPECT_EQ(record->users(), 2u);
    SectionUse moved = std::move(first).value();
    EXPECT_TRUE(moved.is_held());
    EXPECT_EQ(moved->id(), SectionId(3));
    EXPECT_EQ(moved.record(), record.get());
    EXPECT_EQ(record->users(), 2u);
    // Expect: the use that is assigned over ends; a self-move changes nothing.
    moved = std::move(second).value();
    EXPECT_EQ(record->users(), 1u);
    SectionUse& itself = moved;
    moved = std::move(itself);
    EXPECT_EQ(record->users(), 1u);
    moved.reset();
    moved.reset();
    EXPECT_FALSE(moved.is_held());
    EXPECT_EQ(moved.record(), nullptr);
  }
  EXPECT_EQ(record->users(), 0u);
}

TEST(SectionUse, KeepsItsRecordAlive) {
  auto record = make_open();
  const std::weak_ptr<SectionRecord> watch = record;
  auto use = SectionUse::acquire(std::move(record));
  ASSERT_TRUE(use.is_ok());
  EXPECT_FALSE(watch.expired());
  use->reset();
  EXPECT_TRUE(watch.expired());
}

TEST(SectionUse, IsRefusedBeforeOpeningAndAfterWithdrawal) {
  char memory[8];
  auto record = std::make_shared<SectionRecord>(SectionId(4), options_for(memory, 8, "kv"));
  EXPECT_FALSE(record->is_open());
  EXPECT_EQ(SectionUse::acquire(record).status(),
            Status(StatusCode::kFailedPrecondition, "section 4 (\"kv\") is not open yet"));
  record->open();
  EXPECT_TRUE(record->is_open());
  record->withdraw();
  record->withdraw();
  EXPECT_FALSE(record->is_open());
  EXPECT_TRUE(record->is_withdrawn());
  EXPECT_EQ(SectionUse::acquire(record).status(),
            Status(StatusCode::kFailedPrecondition, "section 4 (\"kv\") is withdrawn"));
  EXPECT_EQ(record->users(), 0u);
}

TEST(SectionRecord, WaitUnusedSaysWhoIsLeft) {
  auto record = make_open();
  std::vector<SectionUse> uses;
  uses.push_back(SectionUse::acquire(record).value());
  uses.push_back(SectionUse::acquire(record).value());
  record->withdraw();
  EXPECT_EQ(record->wait_unused(base::monotonic_now_ns()),
            Status(StatusCode::kDeadlineExceeded, "section 3 (\"pool\") still has 2 users"));
  uses.pop_back();
  EXPECT_EQ(record->wait_unused(base::monotonic_now_ns()).message(),
            "section 3 (\"pool\") still has 1 user");
  uses.pop_back();
  EXPECT_TRUE(record->wait_unused(0).is_ok());
}

// What a user did to the memory happened before wait_unused() returns: plain memory, for the thread
// sanitizer.
TEST(SectionRecord, WaitUnusedSeesTheEndOfEveryUse) {
  constexpr int kThreads = 3;
  for (int round = 0; round < 500; ++round) {
    auto record = make_open();
    int touched[kThreads] = {};
    std::vector<SectionUse> uses;
    for (int t = 0; t < kThreads; ++t) uses.push_back(SectionUse::acquire(record).value());
    std::vector<std::thread> users;
    for (int t = 0; t < kThreads; ++t) {
      users.emplace_back([&touched, t, use = std::move(uses[static_cast<size_t>(t)])]() mutable {
        touched[t] = t + 1;
        use.reset();
      });
    }
    record->withdraw();
    ASSERT_TRUE(record->wait_unused(base::monotonic_now_ns() + 30 * kSecondNs).is_ok());
    for (int t = 0; t < kThreads; ++t) ASSERT_EQ(touched[t], t + 1);
    for (auto& user : users) user.join();
  }
}

// "Still open" and "one more user" are one step: once wait_unused() returned, no use appears.
TEST(SectionRecord, NoUseSlipsInAfterWithdrawal) {
  for (int round = 0; round < 500; ++round) {
    auto record = make_open();
    std::atomic<bool> is_quiet{false};
    std::atomic<bool> slipped{false};
    std::vector<std::thread> users;
    for (int t = 0; t < 2; ++t) {
      users.emplace_back([&] {
        while (true) {
          const bool was_quiet = is_quiet.load();
          auto use = SectionUse::acquire(record);
          if (!use.is_ok()) return;
          if (was_quiet || is_quiet.load()) slipped.store(true);
        }
      });
    }
    record->withdraw();
    ASSERT_TRUE(record->wait_unused(base::monotonic_now_ns() + 30 * kSecondNs).is_ok());
    is_quiet.store(true);
    for (auto& user : users) user.join();
    ASSERT_FALSE(slipped.load());
    ASSERT_EQ(record->users(), 0u);
  }
}

TEST(SectionRecord, ChecksRangesWithoutOverflow) {
  auto record = make_open(16);
  EXPECT_TRUE(record->check_range(0, 16, "read").is_ok());
  EXPECT_TRUE(record->check_range(15, 1, "read").is_ok());
  EXPECT_TRUE(record->check_range(16, 0, "read").is_ok());
  EXPECT_EQ(record->check_range(8, 9, "range 2 of the grant"),
            Status(StatusCode::kOutOfRange,
                   "range 2 of the grant: 9 bytes from offset 8 lie past the end of section 3 "
                   "(\"pool\"), which is 16 bytes long"));
  EXPECT_EQ(record->check_range(17, 0, "read").code(), StatusCode::kOutOfRange);
  EXPECT_EQ(record->check_range(UINT64_MAX, 2, "read").code(), StatusCode::kOutOfRange);
  EXPECT_EQ(record->check_range(2, UINT64_MAX, "read").code(), StatusCode::kOutOfRange);
  EXPECT_EQ(record->check_range(UINT64_MAX, UINT64_MAX, "read").code(), StatusCode::kOutOfRange);
}

using SectionRecordDeathTest = ::testing::Test;

TEST(SectionRecordDeathTest, MisuseAsserts) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  auto record = make_open();
  EXPECT_DEATH(record->open(), "opened once");
  EXPECT_DEATH(record->add_rail_key({}), "before the section opens");
  EXPECT_DEATH((void)record->wait_unused(0), "withdrawn");
  EXPECT_DEATH((void)SectionUse::acquire(nullptr), "no section");
}

}  // namespace
}  // namespace baton::section
