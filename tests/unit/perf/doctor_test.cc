#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "baton/doctor.h"
#include "perf/doctor/checks.h"
#include "perf/doctor/report.h"
#include "tests/support/command.h"
#include "tests/support/temp_dir.h"

namespace baton_doctor {
namespace {

void write_file(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path) << text;
}

TEST(InspectPluginsTest, TcpIsUsableAndSaysWhatItCan) {
  const auto reports = baton::inspect_plugins(baton::ContextOptions());
  ASSERT_EQ(reports.size(), 2u);
  EXPECT_EQ(reports[0].name, "tcp");
  EXPECT_TRUE(reports[0].usable);
  EXPECT_FALSE(reports[0].in_process);
  EXPECT_FALSE(reports[0].capabilities.empty());
  EXPECT_EQ(reports[1].name, "loopback");
  EXPECT_FALSE(reports[1].usable);
  EXPECT_FALSE(reports[1].reason.empty());
  EXPECT_FALSE(reports[1].remedy.empty());
  EXPECT_TRUE(any_transport(reports));
}

TEST(InspectPluginsTest, AFileThatIsNoPluginIsReportedByItsPath) {
  baton::ContextOptions options;
  options.plugin_files = {"/nonexistent/plugin.so"};
  const auto reports = baton::inspect_plugins(options);
  ASSERT_EQ(reports.size(), 3u);
  const auto& report = reports.front();
  EXPECT_EQ(report.name, "/nonexistent/plugin.so");
  EXPECT_FALSE(report.usable);
  EXPECT_NE(report.reason.find("/nonexistent/plugin.so"), std::string::npos);
}

TEST(InspectPluginsTest, WrongSettingsOfARailAreItsReason) {
  baton::ContextOptions options;
  options.rails.front().settings = "speed=warp";
  const auto reports = baton::inspect_plugins(options);
  EXPECT_FALSE(reports.front().usable);
  EXPECT_NE(reports.front().reason.find("speed"), std::string::npos) << reports.front().reason;
  EXPECT_FALSE(any_transport(reports));
}

TEST(DoctorTest, EightMebibytesOfLockedMemoryIsAWarningWithAdvice) {
  const Finding finding = judge_locked_memory(8u << 20);
  EXPECT_EQ(finding.level, Level::kWarning);
  EXPECT_EQ(finding.detail, "limit 8 MiB");
  EXPECT_NE(finding.remedy.find("ulimit -l unlimited"), std::string::npos);
  EXPECT_EQ(judge_locked_memory(UINT64_MAX).level, Level::kOk);
  EXPECT_EQ(judge_locked_memory(uint64_t{64} << 30).level, Level::kOk);
}

TEST(DoctorTest, RdmaPortsOfACapturedMachine) {
  const baton_test::TempDir folder;
  EXPECT_EQ(check_rdma_devices({folder.path()}).level, Level::kMissing);
  const std::string port = folder.path() + "/sys/class/infiniband/mlx5_0/ports/1/";
  write_file(port + "state", "1: DOWN\n");
  write_file(port + "rate", "400 Gb/sec (4X NDR)\n");
  const Finding down = check_rdma_devices({folder.path()});
  EXPECT_EQ(down.level, Level::kWarning);
  EXPECT_EQ(down.detail, "mlx5_0 port 1 (1: DOWN, 400 Gb/sec (4X NDR))");
  EXPECT_NE(down.remedy.find("cable"), std::string::npos);
  write_file(port + "state", "4: ACTIVE\n");
  EXPECT_EQ(check_rdma_devices({folder.path()}).level, Level::kOk);
}

TEST(DoctorTest, GpusOfACapturedMachine) {
  const baton_test::TempDir folder;
  EXPECT_EQ(check_gpus({folder.path()}).level, Level::kMissing);
  write_file(folder.path() + "/proc/driver/nvidia/gpus/0000:01:00.0/information",
             "Model: \t\t NVIDIA H100\n");
  const Finding finding = check_gpus({folder.path()});
  EXPECT_EQ(finding.level, Level::kOk);
  EXPECT_EQ(finding.detail, "NVIDIA H100 at 0000:01:00.0");
}

TEST(DoctorTest, HugePagesOfACapturedMachine) {
  const baton_test::TempDir folder;
  EXPECT_EQ(check_huge_pages({folder.path()}).level, Level::kWarning);
  write_file(folder.path() + "/sys/kernel/mm/transparent_hugepage/enabled",
             "always [madvise] never\n");
  const Finding finding = check_huge_pages({folder.path()});
  EXPECT_EQ(finding.level, Level::kOk);
  EXPECT_EQ(finding.detail, "0 reserved, transparent: madvise");
}

TEST(DoctorTest, EveryFindingThatIsNotOkSaysWhy) {
  for (const Finding& finding : check_machine()) {
    EXPECT_FALSE(finding.what.empty());
    EXPECT_FALSE(finding.detail.empty()) << finding.what;
    EXPECT_EQ(finding.level == Level::kOk, finding.why.empty()) << finding.what;
  }
}

TEST(DoctorTest, TheVerdictIsTheLastLine) {
  const Findings findings = {{Level::kMissing, "GPUs", "none", "no HBM", "buy one"}};
  const std::string text = to_text(findings, false);
  EXPECT_EQ(text,
            "missing GPUs: none\n          why: no HBM\n          do:  buy one\n\n"
            "Baton cannot reach another process here: no transport is usable.\n");
  EXPECT_NE(to_text(findings, true).find("\nBaton can be used here.\n"), std::string::npos);
}

TEST(BatonDoctorCli, ExaminesThisMachine) {
  const baton_test::TempDir folder;
  const std::string path = folder.file("doctor.json");
  const auto finished = baton_test::run_command(BATON_DOCTOR_PATH, {"--json", path});
  EXPECT_EQ(finished.code, 0) << finished.text;
  EXPECT_NE(finished.text.find("ok      transport tcp"), std::string::npos) << finished.text;
  std::ifstream file(path);
  const nlohmann::json json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(json.is_object());
  EXPECT_TRUE(json["usable"].get<bool>());
  EXPECT_EQ(json["transports"][0]["name"], "tcp");
  EXPECT_GT(json["findings"].size(), 5u);
}

TEST(BatonDoctorCli, BadInputIsExit2) {
  EXPECT_EQ(baton_test::run_command(BATON_DOCTOR_PATH, {"--json", "/dev/full"}).code, 2);
  EXPECT_EQ(baton_test::run_command(BATON_DOCTOR_PATH, {"--cure"}).code, 2);
  EXPECT_EQ(baton_test::run_command(BATON_DOCTOR_PATH, {"--plugin", "/nonexistent.so"}).code, 0);
}

}  // namespace
}  // namespace baton_doctor
