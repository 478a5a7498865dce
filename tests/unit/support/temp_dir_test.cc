#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace baton_test {
namespace {

TEST(TempDirTest, IsItsOwnAndGoesWithItsContent) {
  std::string path;
  {
    const TempDir first;
    const TempDir second;
    EXPECT_NE(first.path(), second.path());
    path = first.path();
    std::filesystem::create_directory(first.file("folder"));
    std::ofstream(first.file("folder/file")) << "content";
    EXPECT_TRUE(std::filesystem::exists(path + "/folder/file"));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace baton_test
