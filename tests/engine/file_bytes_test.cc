#include "examples/reference_engine/file_bytes.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <vector>

#include "tests/support/temp_dir.h"
#include "tests/support/test_seed.h"

namespace {

using baton::StatusCode;
using baton_engine::FileBytes;
using ::testing::ElementsAreArray;

class FileBytesTest : public ::testing::Test {
 protected:
  FileBytesTest() {
    std::mt19937 random(static_cast<uint32_t>(baton_test::test_seed()));
    content_.resize(100'003);
    for (uint8_t& byte : content_) byte = static_cast<uint8_t>(random());
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(content_.data()),
               static_cast<std::streamsize>(content_.size()));
    fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  }
  ~FileBytesTest() override { ::close(fd_); }

  baton_test::TempDir folder_;
  const std::string path_ = folder_.file("content");
  std::vector<uint8_t> content_;
  int fd_ = -1;
};

TEST_F(FileBytesTest, EveryByte) {
  const auto whole = FileBytes::read(path_);
  ASSERT_TRUE(whole.is_ok()) << whole.status().message();
  EXPECT_THAT(whole->bytes(), ElementsAreArray(content_));
  const auto part = FileBytes::read_exactly(fd_, path_, 70'001);
  ASSERT_TRUE(part.is_ok()) << part.status().message();
  EXPECT_THAT(part->bytes(), ElementsAreArray(content_.begin(), content_.begin() + 70'001));
}

// As of a file that somebody cuts short between the query of its size and the read.
TEST_F(FileBytesTest, LessThanItWasSaidToHold) {
  const auto bytes = FileBytes::read_exactly(fd_, path_, content_.size() + 1);
  EXPECT_EQ(bytes.code(), StatusCode::kOutOfRange);
  EXPECT_EQ(bytes.status().message(),
            path_ + ": ends at byte 100003 of 100004; it was cut short while it was read");
}

TEST_F(FileBytesTest, AFailedReadNamesItsCause) {
  const int folder = ::open(folder_.path().c_str(), O_RDONLY | O_CLOEXEC);
  const auto bytes = FileBytes::read_exactly(folder, "folder", 1);
  ::close(folder);
  EXPECT_EQ(bytes.code(), StatusCode::kIoError);
  EXPECT_EQ(bytes.status().message(), "folder: read failed: Is a directory");
}

TEST_F(FileBytesTest, EmptyFile) {
  const std::string path = folder_.file("empty");
  std::ofstream(path).flush();
  const auto bytes = FileBytes::read(path);
  ASSERT_TRUE(bytes.is_ok());
  EXPECT_TRUE(bytes->bytes().empty());
}

}  // namespace
