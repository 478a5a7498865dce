#include "src/control/secret.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include "src/base/log.h"
#include "tests/support/temp_dir.h"

namespace baton::control {
namespace {

class SecretFile : public ::testing::Test {
 protected:
  // A file of these bytes and rights.
  std::string write(const std::string& bytes, mode_t mode = 0600) const {
    const std::string path = folder_.file("secret");
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
    return path;
  }

  static std::string varied(size_t length) {
    std::string bytes;
    for (size_t i = 0; i < length; ++i) bytes += static_cast<char>(i * 7);
    return bytes;
  }

  void expect_refused(const std::string& path, StatusCode code, const std::string& part) {
    const auto secret = read_secret_file(path, logger_);
    ASSERT_FALSE(secret.is_ok()) << path;
    EXPECT_EQ(secret.code(), code) << secret.status().to_string();
    EXPECT_NE(secret.status().message().find(path), std::string::npos)
        << secret.status().to_string();
    EXPECT_NE(secret.status().message().find(part), std::string::npos)
        << secret.status().to_string();
  }

  baton_test::TempDir folder_;
  std::vector<std::string> log_;
  base::Logger logger_{LogLevel::kDebug,
                       [this](LogLevel, std::string_view text) { log_.emplace_back(text); }};
};

TEST_F(SecretFile, TheWholeFileIsTheSecret) {
  for (const size_t length : {kMinSecretBytes, size_t{33}, kMaxSecretBytes}) {
    const std::string bytes = varied(length);
    const auto secret = read_secret_file(write(bytes), logger_);
    ASSERT_TRUE(secret.is_ok()) << secret.status().to_string();
    ASSERT_EQ(secret->bytes().size(), length);
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), secret->bytes().begin(),
                           [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; }));
  }
  EXPECT_TRUE(log_.empty());
}

TEST_F(SecretFile, Missing) {
  expect_refused(folder_.file("nowhere"), StatusCode::kNotFound, "No such file");
}

TEST_F(SecretFile, TooShortSaysHowToMakeOne) {
  expect_refused(write(""), StatusCode::kInvalidArgument, "has 0 bytes");
  expect_refused(write(varied(31)), StatusCode::kInvalidArgument, "has 31 bytes");
  expect_refused(write(varied(31)), StatusCode::kInvalidArgument, "head -c 32 /dev/urandom");
}

TEST_F(SecretFile, TooLong) {
  expect_refused(write(varied(kMaxSecretBytes + 1)), StatusCode::kInvalidArgument,
                 "longer than 4096 bytes");
}

TEST_F(SecretFile, OneByteOverAndOver) {
  expect_refused(write(std::string(64, '\0')), StatusCode::kInvalidArgument, "repeats one byte");
}

TEST_F(SecretFile, NotAFile) {
  expect_refused(folder_.path(), StatusCode::kInvalidArgument, "not a regular file");
  const std::string fifo = folder_.file("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  expect_refused(fifo, StatusCode::kInvalidArgument, "not a regular file");
}

TEST_F(SecretFile, WrittenByOthers) {
  for (const mode_t mode : {0620u, 0602u}) {
    expect_refused(write(varied(32), mode), StatusCode::kPermissionDenied, "chmod 600");
  }
}

TEST_F(SecretFile, ReadByOthersIsAWarning) {
  for (const mode_t mode : {0640u, 0604u}) {
    log_.clear();
    EXPECT_TRUE(read_secret_file(write(varied(32), mode), logger_).is_ok());
    ASSERT_EQ(log_.size(), 1u);
    EXPECT_NE(log_[0].find("may be read by others"), std::string::npos) << log_[0];
  }
}

TEST_F(SecretFile, NoMessageShowsTheBytes) {
  const std::string bytes = "correct horse battery staple";  // 28 bytes
  const auto secret = read_secret_file(write(bytes, 0644), logger_);
  ASSERT_FALSE(secret.is_ok());
  log_.push_back(secret.status().message());
  for (const std::string& text : log_) EXPECT_EQ(text.find("horse"), std::string::npos) << text;
}

TEST(Secret, CopiesAndMoves) {
  std::vector<uint8_t> bytes(40);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i);
  Secret one{std::span<const uint8_t>(bytes)};
  const Secret copy = one;
  Secret moved = std::move(one);
  one = copy;
  moved = Secret();
  EXPECT_TRUE(moved.is_empty());
  EXPECT_TRUE(std::ranges::equal(copy.bytes(), bytes));
  EXPECT_TRUE(std::ranges::equal(one.bytes(), bytes));
}

TEST(SecretDeathTest, AShortOneIsAProgrammersError) {
  const std::vector<uint8_t> bytes(31, 1);
  EXPECT_DEATH(Secret{std::span<const uint8_t>(bytes)}, "secret");
}

}  // namespace
}  // namespace baton::control
