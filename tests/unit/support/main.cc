#include <unistd.h>

#include <iostream>
#include <string>

#include "tests/support/test_main.h"

namespace {

// The child's side of child_process_test.cc: answers each line until end of file.
int echo_lines() {
  std::cout << "ready " << ::getpid() << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << "echo " << line << std::endl;
  }
  return 7;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "--child=echo") return echo_lines();
  return baton_test::run_all_tests(argc, argv);
}
