#include "examples/reference_engine/engine_options.h"

#include <gtest/gtest.h>

namespace {

using namespace baton_engine;

baton::Result<ParsedCommandLine> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "baton-engine");
  return parse_command_line(static_cast<int>(arguments.size()), arguments.data());
}

TEST(Options, PromptIsTakenByteForByte) {
  const auto parsed = parse({"run", "--model", "m", "--prompt", " two\n\tlines \n"});
  ASSERT_TRUE(parsed.is_ok()) << parsed.status().to_string();
  EXPECT_EQ(parsed->options.prompt, " two\n\tlines \n");
  EXPECT_EQ(parsed->options.hand_off, HandOff::kPush);
  EXPECT_EQ(parsed->options.decode_block_tokens, parsed->options.block_tokens);
}

TEST(Options, ListenTakesHostAndPort) {
  struct Case {
    const char* text;
    const char* host;
    uint16_t port;
  };
  for (const Case& one : {Case{"10.0.0.1", "10.0.0.1", 0}, Case{"10.0.0.1:99", "10.0.0.1", 99},
                          Case{"[::1]:65535", "::1", 65535}, Case{"[::1]", "::1", 0},
                          Case{"::1", "::1", 0}, Case{"node-3:7", "node-3", 7}}) {
    const auto parsed = parse({"prefill", "--model", "m", "--listen", one.text});
    ASSERT_TRUE(parsed.is_ok()) << one.text << ": " << parsed.status().to_string();
    EXPECT_EQ(parsed->options.listen_host, one.host) << one.text;
    EXPECT_EQ(parsed->options.listen_port, one.port) << one.text;
  }
  for (const char* text : {"h:65536", "h:x", ":5", "h:99999999999999999999"}) {
    EXPECT_FALSE(parse({"prefill", "--model", "m", "--listen", text}).is_ok()) << text;
  }
}

TEST(Options, CheckIsRunOrDecode) {
  const auto run = parse({"check", "--model", "m", "--prompt", "x"});
  ASSERT_TRUE(run.is_ok()) << run.status().to_string();
  EXPECT_EQ(run->options.mode, EngineMode::kRun);
  EXPECT_TRUE(run->options.verdict_only);
  EXPECT_EQ(run->options.rounds, 0U);
  const auto decode = parse({"check", "--model", "m", "--prompt", "x", "--connect", "h:1"});
  ASSERT_TRUE(decode.is_ok()) << decode.status().to_string();
  EXPECT_EQ(decode->options.mode, EngineMode::kDecode);
  EXPECT_TRUE(decode->options.verdict_only);
  EXPECT_EQ(parse({"decode", "--model", "m", "--prompt", "x", "--connect", ""})->options.mode,
            EngineMode::kDecode);
  EXPECT_FALSE(parse({"check", "--model", "m", "--prompt", "x", "--rounds", "2"}).is_ok());
}

TEST(Options, RanksAreOneOrThree) {
  const auto run = parse({"run", "--model", "m", "--prompt", "x", "--decode-tp", "3"});
  ASSERT_TRUE(run.is_ok()) << run.status().to_string();
  EXPECT_EQ(run->options.prefill_tp, 1U);
  EXPECT_EQ(run->options.decode_tp, 3U);
  EXPECT_EQ(parse({"prefill", "--model", "m", "--prefill-tp", "3"})->options.ranks(), 3U);
  for (const char* ranks : {"0", "2", "4", "x"}) {
    EXPECT_FALSE(parse({"run", "--model", "m", "--prompt", "x", "--prefill-tp", ranks}).is_ok())
        << ranks;
  }
  // Each side says how many it has itself.
  EXPECT_FALSE(parse({"prefill", "--model", "m", "--decode-tp", "3"}).is_ok());
}

TEST(Options, HandOffsByName) {
  for (const HandOff one : {HandOff::kPush, HandOff::kPull, HandOff::kPushAfter}) {
    const std::string name(hand_off_name(one));
    for (const char* command : {"run", "check"}) {
      const auto parsed =
          parse({command, "--model", "m", "--prompt", "x", "--hand-off", name.c_str()});
      ASSERT_TRUE(parsed.is_ok()) << parsed.status().to_string();
      EXPECT_EQ(parsed->options.hand_off, one) << command;
    }
  }
  EXPECT_FALSE(parse({"run", "--model", "m", "--prompt", "x", "--hand-off", "pulled"}).is_ok());
}

TEST(Options, WrongOnesAreNamed) {
  const auto unknown = parse({"run", "--model", "m", "--prompt", "x", "--warp"});
  ASSERT_FALSE(unknown.is_ok());
  EXPECT_NE(unknown.status().message().find("--warp"), std::string::npos);
  EXPECT_FALSE(parse({"run", "--model", "m", "--prompt", "x", "--chunk-tokens", "0"}).is_ok());
  EXPECT_FALSE(parse({"run", "--model", "m", "--prompt", "x", "--hand-off", "none"}).is_ok());
  EXPECT_FALSE(parse({"decode", "--model", "m", "--prompt", "x"}).is_ok());
  EXPECT_FALSE(parse({}).is_ok());
}

TEST(Options, ExitCodes) {
  using baton::Status;
  using baton::StatusCode;
  EXPECT_EQ(exit_code_of(Status::ok()), 0);
  EXPECT_EQ(exit_code_of({StatusCode::kInvalidArgument, ""}), 2);
  EXPECT_EQ(exit_code_of({StatusCode::kPeerLost, ""}), 3);
  EXPECT_EQ(exit_code_of({StatusCode::kDeadlineExceeded, ""}), 3);
}

}  // namespace
