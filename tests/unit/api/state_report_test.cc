#include "src/api/state_report.h"

#include <gtest/gtest.h>

#include "src/api/json_writer.h"
#include "tests/support/command.h"
#include "tests/support/temp_dir.h"

#include <fstream>

namespace baton::api {
namespace {

constexpr int64_t kMs = 1'000'000;

StateReport sample() {
  StateReport report;
  report.now_ns = 100'000 * kMs;
  report.context = "decode-0";
  report.address = "baton://127.0.0.1:41873/decode-0?auth=psk";
  report.version = "0.1.0";
  report.last_turn_ns = report.now_ns - 1 * kMs;
  PeerReport peer;
  peer.id = 3;
  peer.name = "prefill-0";
  peer.address = "127.0.0.1:5000";
  peer.phase = "ready";
  peer.is_known = true;
  peer.echo_ns = report.now_ns - 300 * kMs;
  peer.paths.push_back({1, 0, "tcp", 7, base::PathPhase::kFencing, report.now_ns - 120 * kMs});
  report.peers.push_back(peer);
  RequestReport grant;
  grant.is_grant = true;
  grant.grant = 0xffffffffffffffff;
  grant.tag = "req\n\"1\"\xff";
  grant.peer = 3;
  grant.peer_name = "prefill-0";
  grant.state = State::kCancelling;
  grant.status = Status(StatusCode::kDeadlineExceeded, "its deadline passed");
  grant.started_ns = report.now_ns - 30'000 * kMs;
  grant.cancelled_ns = report.now_ns - 130 * kMs;
  grant.deadline_ns = report.now_ns - 130 * kMs;
  grant.wait = {handoff::Wait::kFence, 1, report.now_ns - 120 * kMs, 0, 0};
  grant.units = 17;
  grant.total_units = 40;
  grant.layers = 4;
  grant.layers_done = 1;
  grant.next_layer = 1;
  grant.next_layer_units = 7;
  grant.next_layer_total = 10;
  grant.bytes = 4096;
  grant.blocks = 5;
  report.grants.push_back(grant);
  RequestReport push;
  push.id = 2;
  push.grant = 9;
  push.kind = RequestKind::kPush;
  push.tag = "r2";
  push.peer = 3;
  push.peer_name = "prefill-0";
  push.started_ns = report.now_ns - 2'000 * kMs;
  push.deadline_ns = report.now_ns + 28'000 * kMs;
  push.lease_end_ns = report.now_ns + 17'000 * kMs;
  push.wait = {handoff::Wait::kWord, 5, report.now_ns - 250 * kMs, 6, 3};
  push.units = push.total_units = 8;
  push.layers = push.layers_done = 2;
  report.transfers.push_back(push);
  report.offers.push_back({11, "waits", 3, "prefill-0", report.now_ns - 45 * kMs, 12});
  report.offers_left_out = 2;
  return report;
}

TEST(StateReport, TextSaysWhatEachRequestWaitsFor) {
  const std::string text = to_text(sample());
  for (const char* part :
       {"context \"decode-0\" at baton://127.0.0.1:41873/decode-0?auth=psk (Baton 0.1.0)",
        "data path: turned 1.0 ms ago (its own thread)",
        "peer 3 \"prefill-0\" at 127.0.0.1:5000: ready, echoed what was sent 300.0 ms ago",
        "path 1 (tcp, rail 0, epoch 7): being fenced since 120.0 ms",
        "grant 18446744073709551615 (kv_grant) tag \"req\\x0a\\\"1\\\"\\xff\" to peer 3 "
        "\"prefill-0\": CANCELLING for 30.00 s",
        "cancelled 130.0 ms ago: DEADLINE_EXCEEDED: its deadline passed",
        "waits for FENCED of path 1, since 120.0 ms",
        "units 17 of 40, layers 1 of 4; layer 1 has 7 of 10", "4096 bytes in 5 blocks",
        "transfer 2 of grant 9 (push) tag \"r2\" with peer 3 \"prefill-0\": ACTIVE for 2.00 s, "
        "deadline in 28.00 s, lease for 17.00 s",
        "waits for the ProgressWord of layer 5: it is 3, and must be 6, since 250.0 ms",
        "3 offers of peers without a transfer", "grant 11 tag \"waits\"", "and 2 more offers"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n---\n" << text;
}

TEST(StateReport, SaysThatTheDataPathStandsStill) {
  StateReport report = sample();
  report.last_turn_ns = report.now_ns - 61'000 * kMs;
  EXPECT_NE(to_text(report).find("DATA PATH: has not turned for 61.00 s (its own thread)"),
            std::string::npos);
  EXPECT_NE(to_json(report).find("\"is_late\":true"), std::string::npos);
  report.last_turn_ns = 0;
  report.caller_drives = true;
  EXPECT_NE(to_text(report).find("DATA PATH: has not turned yet (the caller drives it)"),
            std::string::npos);
}

TEST(StateReport, JsonIsJson) {
  const std::string json = to_json(sample());
  const baton_test::TempDir folder;
  std::ofstream(folder.file("state.json")) << json;
  const char* const script =
      "import json, sys\n"
      "s = json.load(open(sys.argv[1]))\n"
      "g = s['grants'][0]\n"
      "assert g['grant'] == '18446744073709551615', g\n"
      "assert g['tag'] == 'req\\n\"1\"\\u00ff', g\n"
      "assert g['waits_for']['what'] == 'fence' and g['waits_for']['path'] == 1, g\n"
      "assert abs(g['waits_for']['seconds'] - 0.12) < 1e-9, g\n"
      "assert g['next_layer'] == {'layer': 1, 'units': 7, 'total_units': 10}, g\n"
      "t = s['transfers'][0]\n"
      "assert t['waits_for']['needed'] == 6 and 'next_layer' not in t, t\n"
      "assert s['peers'][0]['paths'][0]['state'] == 'fencing'\n"
      "assert s['offers_left_out'] == 2 and s['grants_left_out'] == 0\n"
      "assert s['data_path']['is_late'] is False\n";
  const auto read = baton_test::run_command("python3", {"-c", script, folder.file("state.json")});
  EXPECT_EQ(read.code, 0) << read.text << json;
}

TEST(WaitNote, KeepsSinceWhenAndFollowsTheWord) {
  handoff::WaitNote note;
  EXPECT_EQ(note.look().why, handoff::Wait::kQueued);
  note.set_word(10, 3, 4, 1);
  note.set_word(20, 3, 4, 2);
  EXPECT_EQ(note.look().since_ns, 10);
  EXPECT_EQ(note.look().seen, 2u);
  note.set_word(30, 4, 5, 4);
  EXPECT_EQ(note.look().since_ns, 30);
  note.set(handoff::Wait::kVerdict, 40);
  EXPECT_EQ(note.look().why, handoff::Wait::kVerdict);
  EXPECT_EQ(note.look().detail, 0u);
}

}  // namespace
}  // namespace baton::api
