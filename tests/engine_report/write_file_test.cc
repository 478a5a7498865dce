#include "examples/reference_engine/write_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace {

using baton::Status;
using baton::StatusCode;
using baton_engine::write_file;
using baton_test::TempDir;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

std::string bytes_of_all_values() {
  std::string bytes;
  for (int i = 0; i < 300'000; ++i) bytes += static_cast<char>(i % 251);
  return bytes;
}

// While it lives, no file of this process grows beyond `bytes`.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*handler_)(int);
  rlimit before_{};
};

TEST(WriteFileTest, WritesEveryByte) {
  const TempDir folder;
  const std::string bytes = bytes_of_all_values();
  EXPECT_EQ(write_file(folder.file("report"), bytes), Status::ok());
  EXPECT_EQ(read(folder.file("report")), bytes);
  EXPECT_EQ(write_file(folder.file("report"), ""), Status::ok());
  EXPECT_EQ(read(folder.file("report")), "");
  EXPECT_THAT(names_in(folder.path()), ElementsAre("report"));
}

TEST(WriteFileTest, NewFilesFollowTheMaskAndOldOnesKeepTheirMode) {
  const TempDir folder;
  const mode_t mask = ::umask(027);
  const Status status = write_file(folder.file("new"), "x");
  ::umask(mask);
  ASSERT_EQ(status, Status::ok());
  struct stat info {};
  ASSERT_EQ(::stat(folder.file("new").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640U);
  ASSERT_EQ(::chmod(folder.file("new").c_str(), 0604), 0);
  ASSERT_EQ(write_file(folder.file("new"), "y"), Status::ok());
  ASSERT_EQ(::stat(folder.file("new").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0604U);
}

TEST(WriteFileTest, FollowsSymbolicLinks) {
  const TempDir folder;
  ASSERT_EQ(::mkdir(folder.file("real").c_str(), 0755), 0);
  ASSERT_EQ(write_file(folder.file("real/target"), "old"), Status::ok());
  ASSERT_EQ(::symlink("real/target", folder.file("link").c_str()), 0);
  EXPECT_EQ(write_file(folder.file("link"), "new"), Status::ok());
  EXPECT_TRUE(std::filesystem::is_symlink(folder.file("link")));
  EXPECT_EQ(read(folder.file("real/target")), "new");
  EXPECT_THAT(names_in(folder.file("real")), ElementsAre("target"));
}

TEST(WriteFileTest, NamesAMissingFolder) {
  const TempDir folder;
  const Status status = write_file(folder.file("missing/report.json"), "x");
  EXPECT_EQ(status.code(), StatusCode::kIoError);
  EXPECT_THAT(status.message(), HasSubstr(folder.file("missing/report.json")));
  EXPECT_THAT(status.message(), HasSubstr("open"));
  EXPECT_THAT(status.message(), HasSubstr("No such file or directory"));
  EXPECT_THAT(names_in(folder.path()), IsEmpty());
}

TEST(WriteFileTest, RefusesAFolderAsTarget) {
  const TempDir folder;
  const Status status = write_file(folder.path(), "x");
  EXPECT_EQ(status.code(), StatusCode::kIoError);
  EXPECT_THAT(status.message(), HasSubstr(folder.path()));
  EXPECT_THAT(status.message(), HasSubstr("Is a directory"));
  EXPECT_THAT(names_in(folder.path()), IsEmpty());
}

TEST(WriteFileTest, RefusesAnEmptyPathAndAFileAsFolder) {
  EXPECT_EQ(write_file("", "x").code(), StatusCode::kIoError);
  const TempDir folder;
  ASSERT_EQ(write_file(folder.file("file"), "x"), Status::ok());
  const Status status = write_file(folder.file("file/report"), "x");
  EXPECT_EQ(status.code(), StatusCode::kIoError);
  EXPECT_THAT(status.message(), HasSubstr("Not a directory"));
}

TEST(WriteFileTest, AFullDiskLeavesTheOldFileAndNoRest) {
  const TempDir folder;
  ASSERT_EQ(write_file(folder.file("report"), "the old report"), Status::ok());
  const std::string bytes = bytes_of_all_values();
  Status status;
  Status of_new;
  {
    const FileSizeLimit limit(100'000);
    status = write_file(folder.file("report"), bytes);
    of_new = write_file(folder.file("another"), bytes);
  }
  EXPECT_EQ(status.code(), StatusCode::kIoError);
  EXPECT_THAT(status.message(), HasSubstr(folder.file("report")));
  EXPECT_THAT(status.message(), HasSubstr("write: File too large"));
  EXPECT_EQ(of_new.code(), StatusCode::kIoError);
  EXPECT_EQ(read(folder.file("report")), "the old report");
  EXPECT_THAT(names_in(folder.path()), ElementsAre("report"));
}

TEST(WriteFileTest, DevicesAreWrittenDirectly) {
  EXPECT_EQ(write_file("/dev/null", "x"), Status::ok());
  const Status status = write_file("/dev/full", "x");
  EXPECT_EQ(status.code(), StatusCode::kIoError);
  EXPECT_THAT(status.message(), HasSubstr("/dev/full"));
  EXPECT_THAT(status.message(), HasSubstr("write: No space left on device"));
  struct stat info {};
  ASSERT_EQ(::stat("/dev/full", &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));
}

TEST(WriteFileTest, PipesAreWrittenDirectly) {
  const TempDir folder;
  const std::string path = folder.file("pipe");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  EXPECT_EQ(write_file(path, "through"), Status::ok());
  char buffer[16] = {};
  EXPECT_EQ(::read(reader, buffer, sizeof(buffer)), 7);
  EXPECT_STREQ(buffer, "through");
  ::close(reader);
}

// What a descriptor wrote before, stays: `program --json /dev/stdout > file`.
TEST(WriteFileTest, OwnDescriptorsAreContinued) {
  const TempDir folder;
  const std::string path = folder.file("redirected");
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::write(fd, "before ", 7), 7);
  EXPECT_EQ(write_file("/dev/fd/" + std::to_string(fd), "report"), Status::ok());
  EXPECT_EQ(write_file("/proc/self/fd/" + std::to_string(fd), " again"), Status::ok());
  ASSERT_EQ(::write(fd, " after", 6), 6);
  ::close(fd);
  EXPECT_EQ(read(path), "before report again after");
  EXPECT_THAT(names_in(folder.path()), ElementsAre("redirected"));
  EXPECT_EQ(write_file("/dev/fd/" + std::to_string(fd), "x").code(), StatusCode::kIoError);
}

}  // namespace
