#include "perf/lib/machine.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/temp_dir.h"

namespace baton_perf {
namespace {

TEST(MachineTest, RecordSaysWhatItRanOn) {
  const nlohmann::json json = to_json(read_machine());
  EXPECT_GT(json["cpus"].get<uint32_t>(), 0u);
  EXPECT_GT(json["memory_bytes"].get<uint64_t>(), 0u);
  EXPECT_NE(json["kernel"].get<std::string>().find("Linux"), std::string::npos);
}

TEST(MachineTest, FieldIsFoundByItsWholeName) {
  const baton_test::TempDir folder;
  const std::string path = folder.file("cpuinfo");
  std::ofstream(path) << "model\t\t: 17\nmodel name\t: A CPU: fast\nempty\t:\n";
  EXPECT_EQ(read_field(path, "model"), "17");
  EXPECT_EQ(read_field(path, "model name"), "A CPU: fast");
  EXPECT_EQ(read_field(path, "empty"), "");
  EXPECT_EQ(read_field(path, "mode"), std::nullopt);
  EXPECT_EQ(read_field(folder.file("missing"), "model"), std::nullopt);
}

}  // namespace
}  // namespace baton_perf
