#include "tests/support/temp_dir.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace baton_test {

TempDir::TempDir() {
  path_ = (std::filesystem::temp_directory_path() / "baton_test.XXXXXX").string();
  if (::mkdtemp(path_.data()) == nullptr) {
    std::perror("mkdtemp for a test");
    std::abort();
  }
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace baton_test
