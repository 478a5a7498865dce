#include "baton/plugin/sdk.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace {

int64_t outstanding_bytes = 0;

baton_host make_host() {
  outstanding_bytes = 0;
  baton_host host{};
  host.struct_size = sizeof host;
  host.allocate = [](void*, size_t bytes, size_t alignment) -> void* {
    if (bytes > 1'000'000) return nullptr;
    outstanding_bytes += static_cast<int64_t>(bytes);
    return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  };
  host.release = [](void*, void* memory, size_t bytes) {
    outstanding_bytes -= static_cast<int64_t>(bytes);
    std::free(memory);
  };
  return host;
}

TEST(SdkTest, ARingIsFirstInFirstOutAndItsNamesOutliveWraps) {
  const baton_host host = make_host();
  {
    baton_sdk::FixedRing<int> ring;
    ASSERT_TRUE(ring.open(&host, 4));
    int next = 0;
    int expected = 0;
    for (int round = 0; round < 10; ++round) {
      while (!ring.full()) ring.push() = next++;
      EXPECT_EQ(ring.size(), 4u);
      EXPECT_EQ(ring.at(ring.head() + 3), next - 1);
      for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(ring.front(), expected++);
        ring.pop();
      }
    }
    EXPECT_EQ(ring.size(), 1u);
  }
  EXPECT_EQ(outstanding_bytes, 0);
}

TEST(SdkDeathTest, ARingAssertsItsLimits) {
  const baton_host host = make_host();
  baton_sdk::FixedRing<int> ring;
  ASSERT_TRUE(ring.open(&host, 2));
  EXPECT_DEATH(ring.pop(), "assertion failed");
  ring.push() = 1;
  ring.push() = 2;
  EXPECT_DEATH(ring.push(), "assertion failed");
  EXPECT_DEATH(ring.at(2), "assertion failed");
}

TEST(SdkTest, NoMemoryIsAnAnswer) {
  const baton_host host = make_host();
  baton_sdk::HostArray<uint64_t> array;
  EXPECT_FALSE(array.open(&host, 1'000'000));
  EXPECT_EQ(array.size(), 0u);
  struct Big {
    char bytes[2'000'000];
  };
  EXPECT_EQ(baton_sdk::create<Big>(&host), nullptr);
}

TEST(SdkTest, SettingsAreWalkedPairByPair) {
  baton_sdk::Settings settings(",a=1,,b,c=x=y,");
  std::vector<std::string> seen;
  for (std::string_view key, value; settings.next(&key, &value);) {
    seen.push_back(std::string(key) + "|" + std::string(value));
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"a|1", "b|", "c|x=y"}));
  std::string_view key;
  std::string_view value;
  EXPECT_FALSE(baton_sdk::Settings(nullptr).next(&key, &value));
}

TEST(SdkTest, NumbersAreDecimalAndInRange) {
  uint64_t number = 7;
  EXPECT_TRUE(baton_sdk::Settings::parse_number("12", 0, 12, &number));
  EXPECT_EQ(number, 12u);
  for (const char* wrong : {"", "13", "-1", "1k", "0x1", " 1", "99999999999999999999999"}) {
    EXPECT_FALSE(baton_sdk::Settings::parse_number(wrong, 0, 12, &number)) << wrong;
  }
  EXPECT_EQ(number, 12u);
}

TEST(SdkTest, TextsAreCutToFitAndTerminated) {
  char text[BATON_ERROR_BYTES];
  baton_sdk::format_text(text, "%s", std::string(1000, 'x').c_str());
  EXPECT_EQ(std::string(text).size(), BATON_ERROR_BYTES - 1);
  EXPECT_NE(std::string(baton_sdk::ErrnoText(ENOENT).c_str()).find("No such file"),
            std::string::npos);
}

}  // namespace
