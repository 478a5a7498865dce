#include "tests/support/test_main.h"

int main(int argc, char** argv) { return baton_test::run_all_tests(argc, argv); }
