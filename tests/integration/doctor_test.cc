// baton-doctor --peer against a process that works, waits, is stopped, or wants another secret.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/integration/process_rig.h"
#include "tests/support/command.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_main.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Finished doctor(std::vector<std::string> arguments) {
  return run_command(BATON_DOCTOR_PATH, arguments);
}

std::string secret_file(const TempDir& folder, const std::string& name, char byte) {
  const std::string path = folder.file(name);
  {
    std::ofstream file(path);
    for (int i = 0; i < 32; ++i) file << static_cast<char>(byte + i);
  }
  ::chmod(path.c_str(), 0600);
  return path;
}

TEST(DoctorPeer, ShowsWhatAProcessWaitsForAndHowFarItIs) {
  auto child = ChildProcess::self({"--role=prefill"});
  auto context = require(baton::Context::create(process_options("parent-decode")), "create");
  Pool target(big_shape());
  target.publish(context, "kv");
  const std::string address = child.read_line_after("ADDRESS ").value_or("");
  const auto peer = require(context.connect(address), "connect");
  auto grant = require(context.grant(grant_request(peer, target.cache(), 60000)), "grant");
  ASSERT_TRUE(child.write_line("push 3"));
  ASSERT_TRUE(child.read_line_after("PUSHING").has_value());
  ASSERT_TRUE(grant.gate(2).wait(20000).is_ok());
  Finished shown;
  EXPECT_TRUE(wait_until([&] {
    shown = doctor({"--peer", address});
    return has(shown.text, "the ProgressWord of layer 3: it is 3, and must be 4");
  })) << shown.text;
  EXPECT_EQ(shown.code, 0);
  EXPECT_TRUE(has(shown.text, "\"parent-decode\"")) << shown.text;
  EXPECT_TRUE(has(shown.text, "layers 3 of 16")) << shown.text;
  EXPECT_TRUE(has(shown.text, "grant " + std::to_string(grant.id().value))) << shown.text;
  const auto json = doctor({"--peer", address, "--json"});
  EXPECT_EQ(json.code, 0);
  EXPECT_TRUE(has(json.text, "\"what\":\"progress_word\"")) << json.text;
  // Nobody was disturbed.
  ASSERT_TRUE(child.write_line("seal"));
  EXPECT_TRUE(grant.wait(20000).is_ok()) << grant.status().to_string();
  EXPECT_EQ(context.peers().size(), 1u);
}

TEST(DoctorPeer, AStoppedProcessIsSaidToBeOneInTime) {
  auto child = ChildProcess::self({"--role=prefill"});
  const std::string address = child.read_line_after("ADDRESS ").value_or("");
  EXPECT_EQ(doctor({"--peer", address}).code, 0);
  child.stop();
  const auto silent = doctor({"--peer", address, "--timeout-ms", "300"});
  EXPECT_EQ(silent.code, 1) << silent.text;
  EXPECT_TRUE(has(silent.text, "DEADLINE_EXCEEDED")) << silent.text;
  EXPECT_TRUE(has(silent.text, "stopped")) << silent.text;
  child.resume();
  EXPECT_EQ(doctor({"--peer", address}).code, 0);
  child.kill();
  const auto gone = doctor({"--peer", address});
  EXPECT_EQ(gone.code, 1) << gone.text;
  EXPECT_TRUE(has(gone.text, "UNAVAILABLE")) << gone.text;
}

TEST(DoctorPeer, ProvesTheSecret) {
  const TempDir folder;
  const std::string right = secret_file(folder, "right", 'a');
  const std::string wrong = secret_file(folder, "wrong", 'A');
  baton::ContextOptions options = process_options("decode-0");
  options.secret_file = right;
  auto context = require(baton::Context::create(options), "create");
  const auto shown = doctor({"--peer", context.address(), "--secret-file", right});
  EXPECT_EQ(shown.code, 0) << shown.text;
  EXPECT_TRUE(has(shown.text, "context \"decode-0\"")) << shown.text;
  const auto refused = doctor({"--peer", context.address(), "--secret-file", wrong});
  EXPECT_EQ(refused.code, 1) << refused.text;
  EXPECT_TRUE(has(refused.text, "PERMISSION_DENIED")) << refused.text;
  const auto none = doctor({"--peer", context.address()});
  EXPECT_EQ(none.code, 1) << none.text;
  EXPECT_TRUE(has(none.text, "PERMISSION_DENIED")) << none.text;
  const auto missing =
      doctor({"--peer", context.address(), "--secret-file", folder.file("nothing")});
  EXPECT_EQ(missing.code, 2) << missing.text;
}

TEST(DoctorPeer, AKilledPeerIsCounted) {
  auto child = ChildProcess::self({"--role=prefill"});
  auto context = require(baton::Context::create(process_options("parent-decode")), "create");
  Pool target(big_shape());
  target.publish(context, "kv");
  const auto peer =
      require(context.connect(child.read_line_after("ADDRESS ").value_or("")), "connect");
  auto grant = require(context.grant(grant_request(peer, target.cache(), 60000)), "grant");
  child.kill();
  EXPECT_EQ(grant.wait(20000).code(), baton::StatusCode::kPeerLost);
  const auto lost = static_cast<size_t>(baton::StatusCode::kPeerLost);
  baton::PeerMetrics prefill;
  ASSERT_TRUE(wait_until([&] {
    prefill = context.metrics().peers.at(0);
    return prefill.requests[0].ended[lost] == 1 && prefill.losses[lost] == 1 &&
           prefill.fence.total() == 1;
  }));
  EXPECT_EQ(prefill.name, "child-prefill");
  EXPECT_FALSE(prefill.is_up);
  EXPECT_EQ(prefill.detection.total(), 1u);
  EXPECT_EQ(prefill.paths.at(0).lost, 1u);
  EXPECT_EQ(prefill.paths.at(0).fences[static_cast<size_t>(baton::FenceCause::kPeerLost)], 1u);
}

TEST(DoctorPeer, WrongArgumentsAreExit2) {
  EXPECT_EQ(doctor({"--peer", "decode-0"}).code, 2);
  EXPECT_EQ(doctor({"--peer"}).code, 2);
  EXPECT_EQ(doctor({"--secret-file", "x"}).code, 2);
  EXPECT_EQ(doctor({"--peer", "baton://127.0.0.1:1/x", "--timeout-ms", "0"}).code, 2);
}

}  // namespace
}  // namespace baton_test

int main(int argc, char** argv) {
  const auto role = baton_test::run_child_role(argc, argv);
  return role.has_value() ? *role : baton_test::run_all_tests(argc, argv);
}
