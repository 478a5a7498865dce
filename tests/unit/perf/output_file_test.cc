#include "perf/lib/output_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "tests/support/temp_dir.h"

namespace baton_perf {
namespace {

TEST(OutputFileTest, WritesEverything) {
  const baton_test::TempDir folder;
  const std::string path = folder.file("result.json");
  auto file = OutputFile::create(path);
  ASSERT_TRUE(file.is_ok());
  ASSERT_TRUE(file->write("{\"a\": 1}\n").is_ok());
  std::ifstream stream(path);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(stream), {}), "{\"a\": 1}\n");
}

TEST(OutputFileTest, FullDiskNamesPathAndReason) {
  auto file = OutputFile::create("/dev/full");
  ASSERT_TRUE(file.is_ok()) << file.status().to_string();
  const baton::Status status = file->write("text");
  EXPECT_EQ(status.code(), baton::StatusCode::kIoError);
  EXPECT_NE(status.message().find("/dev/full"), std::string::npos);
  EXPECT_NE(status.message().find("No space left on device"), std::string::npos);
}

TEST(OutputFileTest, FolderThatIsNotThereIsNamedAtOnce) {
  const auto file = OutputFile::create("/nonexistent/result.json");
  EXPECT_EQ(file.code(), baton::StatusCode::kIoError);
  EXPECT_NE(file.status().message().find("/nonexistent/result.json"), std::string::npos);
}

TEST(OutputFileTest, NothingIsLeftOfAFileThatWasNotWritten) {
  const baton_test::TempDir folder;
  const std::string path = folder.file("result.json");
  { ASSERT_TRUE(OutputFile::create(path).is_ok()); }
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace baton_perf
