// What every hand-off waits for, told from within and from outside: while all goes well, while
// nobody drives the data path, and while its thread is stuck.
#include <gtest/gtest.h>

#include <condition_variable>
#include <fstream>
#include <mutex>

#include "baton/doctor.h"
#include "tests/integration/watch_rig.h"
#include "tests/support/command.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::EventKind;
using baton::StatusCode;

TEST(Dump, SaysWhatEachSideWaitsFor) {
  Watch w({"tcp", true, test_seed()});
  w.begin("req-1");
  const auto decode = [&] { return w.pair.decode().dump(); };
  const auto prefill = [&] { return w.pair.prefill().dump(); };
  EXPECT_TRUE(wait_until([&] { return has(decode(), "waits for units of the writer"); }))
      << decode();
  EXPECT_TRUE(wait_until([&] { return has(prefill(), "1 offers of peers without a transfer"); }))
      << prefill();
  EXPECT_TRUE(has(prefill(), "tag \"req-1\" of peer")) << prefill();
  w.push("req-1");
  EXPECT_TRUE(wait_until([&] { return has(prefill(), "the caller's next chunk"); })) << prefill();
  EXPECT_TRUE(has(prefill(), "0 offers of peers")) << prefill();
  auto word = require(w.pair.prefill().create_progress_word(), "create_progress_word");
  require_ok(w.transfer.submit_chunk({kWatchTokens, &word, 10}), "submit_chunk");
  EXPECT_TRUE(wait_until([&] {
    return has(prefill(), "waits for the ProgressWord of layer 0: it is 0, and must be 11");
  })) << prefill();
  word.advance_to(12).ignore();
  EXPECT_TRUE(wait_until([&] {
    return has(prefill(), "waits for the ProgressWord of layer 2: it is 12, and must be 13");
  })) << prefill();
  EXPECT_TRUE(wait_until([&] { return has(decode(), "layers 2 of 4; layer 2 has 0 of"); }))
      << decode();
  EXPECT_TRUE(has(prefill(), "layers 2 of 4; layer 2 has 0 of")) << prefill();
  EXPECT_TRUE(has(decode(), "path 0 (tcp, rail 0, epoch 1): open")) << decode();
  require_ok(w.transfer.seal(), "seal");
  require_ok(w.grant.wait(20000), "Grant::wait");
  Watch::see_end(w.pair.decode(), EventKind::kGrantEnded);
  EXPECT_TRUE(has(decode(), "0 grants made here")) << decode();
}

TEST(Dump, IsJsonForPrograms) {
  Watch w({"tcp", true, test_seed()});
  w.begin("re\"q\xff");
  ASSERT_TRUE(wait_until([&] { return has(w.pair.decode().dump(), "units of the writer"); }));
  const TempDir folder;
  std::ofstream(folder.file("dump.json")) << w.pair.decode().dump(baton::DumpFormat::kJson);
  const char* const script =
      "import json, sys\n"
      "d = json.load(open(sys.argv[1]))\n"
      "g, = d['grants']\n"
      "assert d['context'] == 'decode' and d['data_path']['driven_by'] == 'thread'\n"
      "assert g['tag'] == 're\"q\\u00ff' and g['kind'] == 'kv_grant', g\n"
      "assert g['state'] == 'ACTIVE' and g['waits_for']['what'] == 'units', g\n"
      "assert 0 < g['deadline_left_seconds'] <= 30 and g['blocks'] == 16, g\n"
      "assert g['peer_name'] == 'prefill' and d['peers'][0]['paths'][0]['state'] == 'open'\n";
  const auto read = run_command("python3", {"-c", script, folder.file("dump.json")});
  EXPECT_EQ(read.code, 0) << read.text;
}

// The caller drives, and does not: nothing of this needs a turn.
TEST(Dump, OfADataPathThatNobodyDrives) {
  ContextPair::Options options;
  options.progress = baton::ProgressMode::kCaller;
  options.seed = test_seed();
  ContextPair pair(options);
  Pool source{PoolShape()};
  Pool target{PoolShape()};
  source.publish(pair.prefill(), "kv");
  target.publish(pair.decode(), "kv");
  pair.connect();
  baton::GrantRequest request;
  request.peer = pair.prefill_peer();
  request.cache = target.cache();
  request.source_cache = "kv";
  request.tag = "r";
  request.tokens = kWatchTokens;
  request.block_lists = {pick_blocks(16, 32, test_seed())};
  auto grant = require(pair.decode().grant(request), "grant");
  EXPECT_TRUE(has(pair.decode().dump(), "waits for the data path, to take it from its queue"));
  grant.cancel("not wanted");
  baton::PeerMetrics prefill = pair.decode().metrics().peers.at(0);
  EXPECT_EQ(prefill.quarantined_grants, 1u);
  EXPECT_EQ(prefill.quarantined_blocks, 16u);
  EXPECT_EQ(prefill.quarantined_bytes, grant.record().bytes);
  EXPECT_TRUE(has(pair.decode().dump(), "CANCELLED: not wanted"));
  // Asked from outside, the control thread answers, and says how old its answer is.
  baton::DumpQuery query;
  query.address = pair.decode().address();
  std::string told;
  EXPECT_TRUE(wait_until([&] {
    told = require(baton::fetch_dump(query), "fetch_dump");
    return has(told, "DATA PATH: has not turned for ");
  })) << told;
  EXPECT_TRUE(has(told, "(the caller drives it)")) << told;
  EXPECT_GT(pair.decode().metrics().data_turn_age_seconds, 1.9);
  EXPECT_EQ(grant.wait(20000).code(), StatusCode::kCancelled);
  prefill = pair.decode().metrics().peers.at(0);
  EXPECT_EQ(prefill.quarantined_grants + prefill.quarantined_bytes, 0u);
}

// A data thread that hangs in a log callback.
TEST(Dump, OfADataThreadThatIsStuck) {
  std::mutex mutex;
  std::condition_variable changed;
  bool is_stuck = false;
  bool released = false;
  baton::ContextOptions options = quiet_options("prefill");
  options.log_level = baton::LogLevel::kInfo;
  options.log_callback = [&](baton::LogLevel, std::string_view message) {
    if (message.find("is open") == std::string_view::npos) return;
    std::unique_lock lock(mutex);
    is_stuck = true;
    changed.notify_all();
    changed.wait_for(lock, std::chrono::seconds(60), [&] { return released; });
  };
  auto prefill = require(baton::Context::create(options), "create");
  auto decode = require(baton::Context::create(quiet_options("decode")), "create");
  require(decode.connect(prefill.address(), 20000), "connect");
  {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return is_stuck; }));
  }
  baton::DumpQuery query;
  query.address = prefill.address();
  std::string told;
  EXPECT_TRUE(wait_until([&] {
    told = require(baton::fetch_dump(query), "fetch_dump");
    return has(told, "DATA PATH: has not turned for ") && has(told, "(its own thread)");
  })) << told;
  EXPECT_TRUE(has(told, "\"decode\"")) << told;
  {
    const std::lock_guard lock(mutex);
    released = true;
  }
  changed.notify_all();
  EXPECT_TRUE(wait_until(
      [&] { return has(require(baton::fetch_dump(query), "fetch_dump"), "data path: turned "); }));
}

}  // namespace
}  // namespace baton_test
