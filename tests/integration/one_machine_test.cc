// What processes of one machine share and what it limits: ports, names, locked memory.
#include <gtest/gtest.h>

#include "tests/integration/process_rig.h"
#include "tests/support/child_process.h"
#include "tests/support/test_main.h"

namespace baton_test {
namespace {

using baton::EventKind;
using baton::StatusCode;

TEST(OneMachine, ASecondProcessOnTheSamePortIsToldTheAddress) {
  auto child = ChildProcess::self({"--role=prefill"});
  const std::string address = child.read_line_after("ADDRESS ").value_or("");
  const std::string port = std::to_string(std::stoul(address.substr(address.rfind(':') + 1)));
  baton::ContextOptions options = process_options("second");
  options.port = static_cast<uint16_t>(std::stoul(port));
  const auto refused = baton::Context::create(options);
  ASSERT_EQ(refused.code(), StatusCode::kAddressInUse) << refused.status().to_string();
  EXPECT_NE(refused.status().message().find("127.0.0.1:" + port), std::string::npos)
      << refused.status().message();
  // The first one is not bothered, and the port is free when it is gone.
  options.port = 0;
  {
    auto other = require(baton::Context::create(options), "create");
    EXPECT_TRUE(other.connect(address).is_ok());
  }
  child.kill();
  options.port = static_cast<uint16_t>(std::stoul(port));
  EXPECT_TRUE(baton::Context::create(options).is_ok());
}

TEST(OneMachine, ASecondProcessOfTheSameNameIsRefusedWhileTheFirstLives) {
  auto context = require(baton::Context::create(process_options("meeting")), "create");
  auto first = ChildProcess::self({"--role=dial", "twin", context.address()});
  auto second = ChildProcess::self({"--role=dial", "twin", context.address()});
  ASSERT_TRUE(first.write_line(""));
  EXPECT_EQ(first.read_line_after("DIALED ").value_or("?"), "OK");
  const auto peer = next_event(context, EventKind::kPeerUp).peer;
  ASSERT_TRUE(second.write_line(""));
  const std::string refused = second.read_line_after("DIALED ").value_or("?");
  EXPECT_EQ(refused.rfind("ADDRESS_IN_USE", 0), 0u) << refused;
  EXPECT_NE(refused.find("\"twin\""), std::string::npos) << refused;
  EXPECT_EQ(context.peers(), std::vector<baton::PeerId>{peer}) << "the first one keeps its place";
  // A name is free when its process is dead.
  first.kill();
  EXPECT_EQ(next_event(context, EventKind::kPeerDown).peer, peer);
  ASSERT_TRUE(second.write_line(""));
  EXPECT_EQ(second.read_line_after("DIALED ").value_or("?"), "OK");
  EXPECT_NE(next_event(context, EventKind::kPeerUp).peer, peer) << "another peer";
}

TEST(OneMachine, ANameIsTakenOverFromAFrozenProcess) {
  auto context = require(baton::Context::create(process_options("meeting")), "create");
  auto first = ChildProcess::self({"--role=dial", "twin", context.address()});
  ASSERT_TRUE(first.write_line(""));
  EXPECT_EQ(first.read_line_after("DIALED ").value_or("?"), "OK");
  const auto peer = next_event(context, EventKind::kPeerUp).peer;
  first.stop();  // it answers no probe
  auto second = ChildProcess::self({"--role=dial", "twin", context.address()});
  ASSERT_TRUE(second.write_line(""));
  EXPECT_EQ(second.read_line_after("DIALED ").value_or("?"), "OK");
  EXPECT_EQ(next_event(context, EventKind::kPeerDown).peer, peer);
  EXPECT_NE(next_event(context, EventKind::kPeerUp).peer, peer);
}

TEST(OneMachine, APoolLargerThanWhatMayBeLockedIsHandedOver) {
  auto child = ChildProcess::self({"--role=memlock"});
  const auto said = child.read_line(std::chrono::seconds(120));
  ASSERT_TRUE(said.has_value());
  if (*said == "UNLIMITED") GTEST_SKIP() << "this machine does not limit locked memory";
  EXPECT_EQ(*said, "SAME");
  EXPECT_EQ(child.wait_exit().value_or(ChildProcess::Exit{}), ChildProcess::Exit{});
}

}  // namespace
}  // namespace baton_test

int main(int argc, char** argv) {
  if (const auto status = baton_test::run_child_role(argc, argv)) return *status;
  return baton_test::run_all_tests(argc, argv);
}
