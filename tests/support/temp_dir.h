// TempDir: a folder of one test's own, removed with all that is in it.
#pragma once

#include <string>

namespace baton_test {

class TempDir {
 public:
  // In the system's folder for temporary files. Aborts the test program when it cannot be made.
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  // path() + "/" + name.
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace baton_test
