// What `baton-engine` says of input that is wrong: exit status 2, and one line that names what,
// where and why.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/engine/small_gguf.h"
#include "tests/engine_program/tool.h"
#include "tests/support/temp_dir.h"

namespace {

using baton_test::run_arguments;
using baton_test::run_engine_tool;
using baton_test::SmallGguf;
using testing::HasSubstr;

struct Bad {
  std::string name;
  std::vector<std::string> arguments;
  std::string says;
};

class BadInput : public testing::TestWithParam<Bad> {};

TEST_P(BadInput, EndsWithStatusTwoAndSaysWhy) {
  const auto finished = run_engine_tool(GetParam().arguments);
  EXPECT_EQ(finished.code, 2) << finished.text;
  EXPECT_THAT(finished.text, HasSubstr(GetParam().says));
}

// It is one mistake, though two processes would have made it.
TEST(BadInputOnce, UnknownTransport) {
  const auto finished = run_engine_tool(run_arguments({"--transport", "pigeon"}));
  EXPECT_EQ(finished.code, 2) << finished.text;
  EXPECT_EQ(std::count(finished.text.begin(), finished.text.end(), '\n'), 1) << finished.text;
  EXPECT_THAT(finished.text, HasSubstr("no plug-in named \"pigeon\""));
}

std::vector<std::string> tiny(const std::string& prompt, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"run", "--model", "tiny:7", "--quiet", "--prompt", prompt};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

INSTANTIATE_TEST_SUITE_P(
    Cases, BadInput,
    testing::Values(Bad{"EmptyPrompt", tiny("", {}), "the prompt is empty"},
                    Bad{"NotUtf8",
                        tiny("ab\xff"
                             "c",
                             {}),
                        "not UTF-8: byte 0xff at offset 2"},
                    Bad{"ChatNotUtf8", tiny("ab\xff", {"--chat"}), "offset 2"},
                    Bad{"PromptLongerThanTheContext", tiny(std::string(3000, 'x'), {}),
                        "the model's context holds 2048"},
                    Bad{"NoPrompt", {"run", "--model", "tiny:7"}, "no prompt"},
                    Bad{"PromptTwice", tiny("x", {"--prompt-file", "/dev/null"}), "--prompt"},
                    Bad{"NoPromptFile",
                        {"run", "--model", "tiny:7", "--prompt-file", "/nonexistent/prompt"},
                        "cannot open --prompt-file /nonexistent/prompt: No such file"},
                    Bad{"PromptFileIsAFolder",
                        {"run", "--model", "tiny:7", "--prompt-file", "/"},
                        "--prompt-file /"},
                    Bad{"NoModel",
                        {"run", "--model", "/nonexistent.gguf", "--prompt", "x"},
                        "/nonexistent.gguf"},
                    Bad{"SeedIsNoNumber", {"run", "--model", "tiny:x", "--prompt", "x"}, "tiny:x"},
                    Bad{"UnknownTransport", tiny("hello", {"--transport", "pigeon"}),
                        "no plug-in named \"pigeon\""},
                    Bad{"TransportWithinOneProcess", tiny("hello", {"--transport", "loopback"}),
                        "loopback"},
                    Bad{"NoSecretFile", tiny("hello", {"--secret-file", "/nonexistent/secret"}),
                        "/nonexistent/secret"},
                    Bad{"UnknownDtype", tiny("hello", {"--kv-dtype", "f8"}), "--kv-dtype"},
                    Bad{"MoreRequestsThanTokens", tiny("ab", {"--requests", "3"}), "--requests 3"},
                    Bad{"UnknownOption", tiny("hello", {"--warp"}), "--warp"},
                    Bad{"NoCommand", {}, "subcommand"},
                    Bad{"NotAnAddress",
                        {"decode", "--model", "tiny:7", "--prompt", "xyz", "--connect", "pigeon"},
                        "address \"pigeon\""},
                    Bad{"OpenBindWithoutASecret",
                        {"prefill", "--model", "tiny:7", "--listen", "0.0.0.0"},
                        "secret"},
                    Bad{"PortPastTheEnd",
                        {"prefill", "--model", "tiny:7", "--listen", "127.0.0.1:65536"},
                        "65536"}),
    [](const auto& instance) { return instance.param.name; });

class ModelFile : public testing::Test {
 protected:
  std::string write(std::vector<uint8_t> bytes) {
    const std::string path = folder_.file("model.gguf");
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
    return path;
  }
  void expect_refused(const std::string& path, const std::string& says) {
    const auto finished = run_engine_tool(
        {"run", "--model", path, "--prompt", "ab", "--quiet", "--max-new-tokens", "1"});
    EXPECT_EQ(finished.code, 2) << finished.text;
    EXPECT_THAT(finished.text, HasSubstr(path));
    EXPECT_THAT(finished.text, HasSubstr(says));
  }
  baton_test::TempDir folder_;
};

TEST_F(ModelFile, Good) {
  const std::string path = write(SmallGguf().builder().build());
  const auto finished = run_engine_tool(
      {"run", "--model", path, "--prompt", "abab", "--quiet", "--max-new-tokens", "2"});
  EXPECT_EQ(finished.code, 0) << finished.text;
}

TEST_F(ModelFile, CutShort) {
  std::vector<uint8_t> bytes = SmallGguf().builder().build();
  bytes.resize(bytes.size() - 100);
  expect_refused(write(bytes), "OUT_OF_RANGE");
}

TEST_F(ModelFile, Empty) { expect_refused(write({}), "the file has 0 more"); }

TEST_F(ModelFile, OfAnotherArchitecture) {
  SmallGguf model;
  model.architecture = "mamba";
  expect_refused(write(model.builder().build()), "mamba");
}

TEST_F(ModelFile, NoGguf) { expect_refused(write(std::vector<uint8_t>(4096, 'x')), "GGUF"); }

TEST(Output, AFullDiskIsAnErrorAfterTheVerdict) {
  const auto finished = run_engine_tool(run_arguments({"--json", "/dev/full"}));
  EXPECT_EQ(finished.code, 2);
  EXPECT_THAT(finished.text, HasSubstr("EQUAL"));
  EXPECT_THAT(finished.text, HasSubstr("\"/dev/full\": write: No space left on device"));
}

// The timeline's own files, on a disk that is full.
TEST(Output, AFullDiskForTheTimeline) {
  const baton_test::TempDir folder;
  std::filesystem::create_symlink("/dev/full", folder.file("handoff.svg"));
  const auto finished = run_engine_tool(run_arguments({"--timeline-dir", folder.path()}));
  EXPECT_EQ(finished.code, 2) << finished.text;
  EXPECT_THAT(finished.text, HasSubstr("handoff.svg"));
  EXPECT_THAT(finished.text, HasSubstr("No space left on device"));
}

TEST(Output, AFolderThatCannotBeMade) {
  const auto finished = run_engine_tool(run_arguments({"--timeline-dir", "/dev/null/x"}));
  EXPECT_EQ(finished.code, 2);
  EXPECT_THAT(finished.text, HasSubstr("/dev/null/x"));
}

// Both sides are healthy and would not compute the same bits.
TEST(Mismatch, OfWhatTheBitsDependOn) {
  baton_test::ChildProcess prefill(baton_test::kEngine, {"prefill", "--model", "tiny:7", "--quiet",
                                                         "--chunk-tokens", "64", "--once"});
  const auto address = prefill.read_line();
  ASSERT_TRUE(address.has_value());
  const auto finished =
      run_engine_tool({"decode", "--model", "tiny:7", "--chunk-tokens", "32", "--prompt",
                       baton_test::kPrompt, "--connect", *address, "--quiet"});
  EXPECT_EQ(finished.code, 2);
  EXPECT_THAT(finished.text, HasSubstr("chunks of 32 tokens"));
  EXPECT_THAT(finished.text, HasSubstr("chunks of 64 tokens"));
}

TEST(Mismatch, OfTheModel) {
  baton_test::ChildProcess prefill(baton_test::kEngine,
                                   {"prefill", "--model", "tiny:8", "--quiet", "--once"});
  const auto address = prefill.read_line();
  ASSERT_TRUE(address.has_value());
  const auto finished = run_engine_tool({"decode", "--model", "tiny:7", "--prompt",
                                         baton_test::kPrompt, "--connect", *address, "--quiet"});
  EXPECT_EQ(finished.code, 2);
  EXPECT_THAT(finished.text, HasSubstr("tiny:8"));
}

TEST(Mismatch, OfTheSecret) {
  const baton_test::TempDir folder;
  for (const char* name : {"a", "b"}) {
    std::ofstream(folder.file(name)) << name << "0123456789abcdefghijklmnopqrstuvwxyz";
    std::filesystem::permissions(folder.file(name), std::filesystem::perms::owner_read);
  }
  baton_test::ChildProcess prefill(
      baton_test::kEngine,
      {"prefill", "--model", "tiny:7", "--quiet", "--once", "--secret-file", folder.file("a")});
  const auto address = prefill.read_line();
  ASSERT_TRUE(address.has_value());
  const auto finished =
      run_engine_tool({"decode", "--model", "tiny:7", "--prompt", baton_test::kPrompt, "--connect",
                       *address, "--quiet", "--secret-file", folder.file("b")});
  EXPECT_EQ(finished.code, 2) << finished.text;
  EXPECT_THAT(finished.text, HasSubstr("PERMISSION_DENIED"));
  const auto right =
      run_engine_tool({"decode", "--model", "tiny:7", "--prompt", baton_test::kPrompt, "--connect",
                       *address, "--quiet", "--secret-file", folder.file("a")});
  EXPECT_EQ(right.code, 0) << right.text;
}

}  // namespace
