#include "perf/lib/buffer.h"

#include <gtest/gtest.h>

#include <utility>

namespace baton_perf {
namespace {

TEST(BufferTest, HasItsLengthAndWholeGuards) {
  auto buffer = Buffer::create(5000);
  ASSERT_TRUE(buffer.is_ok()) << buffer.status().to_string();
  EXPECT_EQ(buffer->bytes().size(), 5000u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->bytes().data()) % 4096, 0u);
  for (uint8_t& byte : buffer->bytes()) byte = 0;
  EXPECT_TRUE(buffer->check_guards().is_ok());
}

TEST(BufferTest, NamesTheGuardByteThatWasOverwritten) {
  auto buffer = Buffer::create(5000);
  ASSERT_TRUE(buffer.is_ok());
  uint8_t* begin = buffer->bytes().data();
  begin[5000] = 1;
  EXPECT_NE(buffer->check_guards().message().find("guard byte 0 past"), std::string::npos);
  begin[5000] = Buffer::kGuardByte;
  begin[-1] = 1;
  EXPECT_NE(buffer->check_guards().message().find("guard byte 1 before"), std::string::npos);
}

TEST(BufferTest, RefusesNothingAndTooMuch) {
  EXPECT_EQ(Buffer::create(0).code(), baton::StatusCode::kInvalidArgument);
  EXPECT_EQ(Buffer::create(UINT64_MAX).code(), baton::StatusCode::kInvalidArgument);
}

TEST(BufferTest, MovesItsMemory) {
  auto buffer = Buffer::create(4096);
  ASSERT_TRUE(buffer.is_ok());
  const uint8_t* begin = buffer->bytes().data();
  Buffer moved = std::move(*buffer);
  Buffer target;
  target = std::move(moved);
  EXPECT_EQ(target.bytes().data(), begin);
  EXPECT_TRUE(target.check_guards().is_ok());
}

}  // namespace
}  // namespace baton_perf
