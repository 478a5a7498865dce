#include "perf/lib/table.h"

#include <gtest/gtest.h>

namespace baton_perf {
namespace {

TEST(TableTest, AlignsColumns) {
  Table table({"name", "GB/s"});
  table.add_row({"baton", "3.21"});
  table.add_row({"tcp", "12.50"});
  EXPECT_EQ(table.render(),
            "name    GB/s\n"
            "------------\n"
            "baton   3.21\n"
            "tcp    12.50\n");
}

TEST(TableTest, Fixed) { EXPECT_EQ(fixed(1.2345, 2), "1.23"); }

}  // namespace
}  // namespace baton_perf
