#include "src/section/section_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>
#include <utility>
#include <vector>

namespace baton::section {
namespace {

char memory[64];

SectionOptions options_for(std::string name, uint64_t length_bytes = sizeof(memory)) {
  SectionOptions options;
  options.name = std::move(name);
  options.address = memory;
  options.length_bytes = length_bytes;
  return options;
}

std::shared_ptr<SectionRecord> add_open(SectionTable& table, std::string name) {
  auto record = table.add(options_for(std::move(name)));
  EXPECT_TRUE(record.is_ok()) << record.status().to_string();
  record.value()->open();
  return std::move(record).value();
}

TEST(SectionTable, FindsByIdAndByNameOnceOpen) {
  SectionTable table;
  auto record = table.add(options_for("pool"));
  ASSERT_TRUE(record.is_ok());
  const SectionId id = record.value()->id();
  EXPECT_EQ(table.find(id).code(), StatusCode::kNotFound);
  EXPECT_EQ(table.find("pool").code(), StatusCode::kNotFound);
  EXPECT_TRUE(table.list().empty());
  record.value()->open();
  EXPECT_EQ(table.find(id).value(), record.value());
  EXPECT_EQ(table.find("pool").value(), record.value());
  EXPECT_EQ(table.acquire(id).value()->id(), id);
}

TEST(SectionTable, SaysWhatIsNotKnown) {
  SectionTable table;
  add_open(table, "");
  EXPECT_EQ(
      table.find(SectionId(9)).status(),
      Status(StatusCode::kNotFound, "section 9 is not known here (never registered, or closed)"));
  EXPECT_EQ(table.find(SectionId()).code(), StatusCode::kNotFound);
  EXPECT_EQ(table.find("tail").status(),
            Status(StatusCode::kNotFound, "no section named \"tail\" is registered here"));
  // Expect: an empty name names nobody, not the sections without a name.
  EXPECT_EQ(table.find("").code(), StatusCode::kNotFound);
  EXPECT_EQ(table.acquire(SectionId(9)).code(), StatusCode::kNotFound);
}

TEST(SectionTable, RefusesWhatCannotBeASection) {
  SectionTable table;
  add_open(table, "taken");
  const auto refusal = [&table](const SectionOptions& options) {
    return table.add(options).status();
  };
  EXPECT_EQ(refusal(options_for("pool", 0)),
            Status(StatusCode::kInvalidArgument, "section \"pool\": length_bytes is 0"));
  SectionOptions options = options_for("");
  options.address = nullptr;
  EXPECT_EQ(refusal(options),
            Status(StatusCode::kInvalidArgument, "unnamed section: address is null"));
  EXPECT_EQ(
      refusal(options_for("taken")),
      Status(StatusCode::kInvalidArgument, "section \"taken\": the name is taken by section 1"));
  EXPECT_EQ(refusal(options_for(std::string(256, 'n'))),
            Status(StatusCode::kInvalidArgument, "section: name is 256 bytes long, at most 255"));
  EXPECT_EQ(
      refusal(options_for("po\nol")),
      Status(StatusCode::kInvalidArgument, "a section's name has control characters: \"po?ol\""));
  options = options_for("gpu");
  options.kind = MemoryKind::kHbm;
  EXPECT_EQ(refusal(options),
            Status(StatusCode::kUnavailable,
                   "section \"gpu\": kind HBM is not supported by this version, only DRAM"));
  // Expect: a refusal takes neither an id nor a name.
  EXPECT_EQ(add_open(table, "pool")->id(), SectionId(2));
}

TEST(SectionTable, RefusesARangeThatGoesPastTheAddressSpace) {
  SectionTable table;
  SectionOptions options = options_for("top");
  options.address = reinterpret_cast<void*>(UINTPTR_MAX - 15);
  options.length_bytes = 17;
  EXPECT_EQ(table.add(options).status(),
            Status(StatusCode::kInvalidArgument,
                   "section \"top\": address 0xfffffffffffffff0 + length_bytes 17 goes past 2^64"));
  options.length_bytes = UINT64_MAX;
  EXPECT_EQ(table.add(options).code(), StatusCode::kInvalidArgument);
  options.length_bytes = 16;
  EXPECT_TRUE(table.add(options).is_ok());
}

TEST(SectionTable, NeverGivesAnIdTwiceAndFreesTheName) {
  SectionTable table;
  auto first = add_open(table, "pool");
  first->withdraw();
  // Expect: the name is held until the section is removed.
  EXPECT_EQ(table.add(options_for("pool")).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(table.find(first->id()).status(),
            Status(StatusCode::kFailedPrecondition, "section 1 (\"pool\") is withdrawn"));
  EXPECT_EQ(table.find("pool").code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(table.acquire(first->id()).code(), StatusCode::kFailedPrecondition);
  table.remove(first->id());
  EXPECT_EQ(table.find(first->id()).code(), StatusCode::kNotFound);
  auto second = add_open(table, "pool");
  EXPECT_EQ(second->id(), SectionId(2));
  EXPECT_EQ(table.find("pool").value(), second);
}

TEST(SectionTable, ManySectionsMayHaveNoName) {
  SectionTable table;
  add_open(table, "");
  add_open(table, "");
  EXPECT_EQ(table.list().size(), 2u);
}

TEST(SectionTable, IsBounded) {
  SectionTable table;
  for (uint32_t i = 0; i < kMaxSections; ++i) ASSERT_TRUE(table.add(options_for("")).is_ok());
  EXPECT_EQ(table.add(options_for("one more")).status(),
            Status(StatusCode::kExhausted,
                   "section \"one more\": 4096 sections are registered, at most 4096"));
}

TEST(SectionTable, ListsOpenSectionsByIdWithTheirKeys) {
  SectionTable table;
  auto a = table.add(options_for("a")).value();
  a->add_rail_key({RailIndex(0), 5, 77, nullptr});
  a->open();
  auto b = add_open(table, "b");
  auto c = add_open(table, "c");
  (void)table.add(options_for("in preparation"));
  b->withdraw();
  EXPECT_EQ(table.all().size(), 4u);
  const auto list = table.list();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0], a);
  EXPECT_EQ(list[1], c);
  const auto snapshot = table.snapshot();
  ASSERT_EQ(snapshot.size(), 2u);
  EXPECT_EQ(snapshot[0].id, a->id());
  EXPECT_EQ(snapshot[0].name, "a");
  EXPECT_EQ(snapshot[0].length_bytes, sizeof(memory));
  ASSERT_EQ(snapshot[0].rail_keys.size(), 1u);
  EXPECT_EQ(snapshot[0].rail_keys[0].key, 5u);
  EXPECT_EQ(snapshot[0].rail_keys[0].base, 77u);
}

TEST(SectionTable, ChecksRanges) {
  SectionTable table;
  auto record = add_open(table, "pool");
  EXPECT_TRUE(table.check_range({record->id(), 0, 64}, "source run 0").is_ok());
  EXPECT_EQ(table.check_range({record->id(), 60, 5}, "source run 1"),
            Status(StatusCode::kOutOfRange,
                   "source run 1: 5 bytes from offset 60 lie past the end of section 1 (\"pool\"), "
                   "which is 64 bytes long"));
  EXPECT_EQ(table.check_range({SectionId(9), 0, 1}, "source run 2"),
            Status(StatusCode::kNotFound,
                   "source run 2: section 9 is not known here (never registered, or closed)"));
  record->withdraw();
  EXPECT_EQ(
      table.check_range({record->id(), 0, 1}, "source run 3"),
      Status(StatusCode::kFailedPrecondition, "source run 3: section 1 (\"pool\") is withdrawn"));
}

TEST(SectionTable, RegisteringFromManyThreadsGivesDistinctIds) {
  SectionTable table;
  std::vector<std::vector<SectionId>> given(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < given.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        auto record = add_open(table, "t" + std::to_string(t) + "-" + std::to_string(i));
        given[t].push_back(record->id());
        (void)table.list();
        if (i % 2 == 0) {
          record->withdraw();
          table.remove(record->id());
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<SectionId> distinct;
  for (const auto& ids : given) distinct.insert(ids.begin(), ids.end());
  EXPECT_EQ(distinct.size(), 1200u);
  EXPECT_EQ(table.list().size(), 600u);
}

TEST(MemoryKind, HasAName) {
  EXPECT_EQ(memory_kind_name(MemoryKind::kDram), "DRAM");
  EXPECT_EQ(memory_kind_name(MemoryKind::kHbm), "HBM");
  EXPECT_EQ(memory_kind_name(MemoryKind::kNvme), "NVMe");
  EXPECT_EQ(memory_kind_name(MemoryKind::kObject), "object");
}

using SectionTableDeathTest = ::testing::Test;

TEST(SectionTableDeathTest, MisuseAsserts) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  SectionTable table;
  EXPECT_DEATH(table.remove(SectionId(1)), "not known");
  auto record = add_open(table, "pool");
  EXPECT_DEATH(table.remove(record->id()), "withdrawn before");
  auto use = SectionUse::acquire(record);
  record->withdraw();
  EXPECT_DEATH(table.remove(record->id()), "in use");
}

}  // namespace
}  // namespace baton::section
