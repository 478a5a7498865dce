// What main() of a test program does. A two-process test defines its own main: it looks at argv for
// its child role first, and otherwise calls this.
#pragma once

namespace baton_test {

// Prints the seed, runs the tests that --gtest_filter selects; returns the exit status.
int run_all_tests(int argc, char** argv);

}  // namespace baton_test
