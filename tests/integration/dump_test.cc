// What every hand-off waits for, told from within and from outside: while all goes well, while
// nobody drives the data path, and while its thread is stuck.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <set>
#include <thread>

#include "baton/doctor.h"
#include "tests/integration/hand_off.h"
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

// For how long something has waited for `what`, as a dump in JSON says; -1: nothing does.
double waits_seconds(const baton::Context& context, const std::string& what) {
  const std::string json = context.dump(baton::DumpFormat::kJson);
  const size_t at = json.find("\"what\":\"" + what + "\"");
  if (at == std::string::npos) return -1;
  const std::string key = "\"seconds\":";
  return std::stod(json.substr(json.find(key, at) + key.size()));
}

// It waits for `what`, and the time since when grows with the clock.
void expect_wait(const baton::Context& context, const std::string& what) {
  const auto start = std::chrono::steady_clock::now();
  double first = -1;
  ASSERT_TRUE(wait_until([&] {
    first = waits_seconds(context, what);
    return first > 0;
  })) << what
      << context.dump();
  double second = 0;
  EXPECT_TRUE(wait_until([&] {
    second = waits_seconds(context, what);
    return second > first + 0.02;
  })) << what;
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
  EXPECT_LE(second - first, passed.count());
}

TEST(DumpWaits, OfBothSidesOfAPull) {
  Watch w({"tcp", true, test_seed()});
  baton::ReadGrantRequest request;
  request.peer = w.pair.decode_peer();
  request.cache = w.source.cache();
  request.target_cache = "kv";
  request.tag = "req-1";
  request.tokens = kWatchTokens;
  request.block_lists = {w.blocks};
  auto grant = require(w.pair.prefill().offer_read(request), "offer_read");
  const auto prefill = [&] { return w.pair.prefill().dump(); };
  const auto decode = [&] { return w.pair.decode().dump(); };
  expect_wait(w.pair.prefill(), "reader");
  EXPECT_TRUE(has(prefill(), "(read_grant) tag \"req-1\"")) << prefill();
  EXPECT_TRUE(has(prefill(), "waits for the reader, to take up the offer, since ")) << prefill();
  const auto offer = require(w.pair.decode().wait_offer("req-1", 20000), "wait_offer");
  auto pull = require(w.pair.decode().pull({offer.id, w.target.cache(), {w.blocks}, 0}), "pull");
  expect_wait(w.pair.prefill(), "chunk");
  expect_wait(w.pair.decode(), "reads");
  EXPECT_TRUE(has(decode(), "(pull) tag \"req-1\"")) << decode();
  auto word = require(w.pair.prefill().create_progress_word(), "create_progress_word");
  require_ok(grant.submit_chunk({kWatchTokens, &word, 0}), "submit_chunk");
  word.advance_to(2).ignore();
  EXPECT_TRUE(wait_until([&] {
    return has(prefill(), "waits for the ProgressWord of layer 2: it is 2, and must be 3");
  })) << prefill();
  EXPECT_TRUE(wait_until([&] { return has(decode(), "layers 2 of 4; layer 2 has 0 of"); }))
      << decode();
  require_ok(grant.seal(), "seal");
  require_ok(pull.wait(20000), "Pull::wait");
}

// Each writer's Grant of a group has its entry.
TEST(DumpWaits, OfAGroup) {
  baton::Context decode = require(baton::Context::create(quiet_options("decode")), "create");
  Pool target{PoolShape()};
  target.publish(decode, "kv");
  baton::GrantGroupRequest request;
  request.cache = target.cache();
  request.tag = "both";
  request.tokens = kWatchTokens;
  request.block_lists = {pick_blocks(16, 32, test_seed())};
  std::vector<baton::Context> contexts;
  std::vector<std::unique_ptr<Pool>> pools;
  for (uint32_t i = 0; i < 2; ++i) {
    contexts.push_back(
        require(baton::Context::create(quiet_options("writer-" + std::to_string(i))), "create"));
    pools.push_back(std::make_unique<Pool>(PoolShape()));
    pools.back()->publish(contexts.back(), "kv");
    baton::GrantGroupRequest::Writer writer;
    writer.peer = require(decode.connect(contexts.back().address(), 20000), "connect");
    writer.source_cache = "kv";
    writer.heads = {i == 0 ? baton::HeadRange{0, 2} : baton::HeadRange{2, 1}};
    request.writers.push_back(writer);
  }
  auto group = require(decode.grant_group(request), "grant_group");
  expect_wait(decode, "units");
  const std::string text = decode.dump();
  for (const char* name : {"writer-0", "writer-1"}) {
    EXPECT_TRUE(has(text, std::string("(kv_grant) tag \"both\" to peer ") +
                              (name == std::string("writer-0") ? "1 \"" : "2 \"") + name))
        << text;
  }
  EXPECT_TRUE(has(text, "2 grants made here")) << text;
  group.cancel();
  EXPECT_EQ(group.wait(20000).code(), StatusCode::kCancelled);
  EXPECT_TRUE(wait_until([&] { return has(decode.dump(), "0 grants made here"); }));
}

class DumpUndriven : public testing::Test {
 protected:
  explicit DumpUndriven(ContextPair::Options options = {})
      : pair_([&] {
          options.progress = baton::ProgressMode::kCaller;
          options.seed = test_seed();
          return options;
        }()),
        source_(PoolShape()),
        target_(PoolShape()) {
    source_.memory().fill_pattern(test_seed());
    source_.publish(pair_.prefill(), "kv");
    target_.publish(pair_.decode(), "kv");
    connect();
    blocks_ = pick_blocks(16, 32, test_seed());
  }

  // The dialer drives itself, and the other one has to be driven.
  void connect() {
    std::atomic<bool> is_connected = false;
    std::thread driver([&] {
      while (!is_connected) turn();
    });
    pair_.connect();
    is_connected = true;
    driver.join();
  }
  void turn() {
    pair_.prefill().progress();
    pair_.decode().progress();
  }
  baton::Grant grant() {
    baton::GrantRequest request;
    request.peer = pair_.prefill_peer();
    request.cache = target_.cache();
    request.source_cache = "kv";
    request.tag = "r";
    request.tokens = kWatchTokens;
    request.block_lists = {blocks_};
    return require(pair_.decode().grant(request), "grant");
  }
  baton::Transfer push() {
    baton::Result<baton::GrantOffer> offer = baton::Status();
    EXPECT_TRUE(wait_until([&] {
      pair_.decode().progress();
      offer = pair_.prefill().wait_offer("r", 1);
      return offer.is_ok();
    }));
    baton::PushRequest request;
    request.grant = offer->id;
    request.cache = source_.cache();
    request.block_lists = {blocks_};
    return require(pair_.prefill().push(request), "push");
  }

  ContextPair pair_;
  Pool source_;
  Pool target_;
  std::vector<uint32_t> blocks_;
};

// What a raw write waits for while its peer stands still.
TEST_F(DumpUndriven, OfARawWriteAndItsGrant) {
  baton::RangeGrantRequest ranges;
  ranges.peer = pair_.prefill_peer();
  ranges.tag = "raw";
  ranges.ranges = {{target_.section(), 0, 4096}};
  auto grant = require(pair_.decode().grant_ranges(ranges), "grant_ranges");
  baton::RawRequest request;
  ASSERT_TRUE(wait_until([&] {
    pair_.decode().progress();
    const auto offer = pair_.prefill().wait_offer("raw", 1);
    if (offer.is_ok()) request.grant = offer->id;
    return offer.is_ok();
  }));
  expect_wait(pair_.decode(), "cancel");
  request.local_section = source_.section();
  request.remote_section = target_.section();
  request.runs = {{0, 0, 4096}};
  auto write = require(pair_.prefill().write(request), "write");
  EXPECT_TRUE(has(pair_.prefill().dump(), "waits for the data path, to take it from its queue"));
  ASSERT_TRUE(wait_until([&] {
    pair_.prefill().progress();
    return waits_seconds(pair_.prefill(), "flush") >= 0;
  })) << pair_.prefill().dump();
  expect_wait(pair_.prefill(), "flush");
  EXPECT_TRUE(has(pair_.prefill().dump(), "(write) tag \"raw\" with peer "))
      << pair_.prefill().dump();
  ASSERT_TRUE(wait_until([&] {
    turn();
    return baton::is_terminal(write.state());
  }));
  EXPECT_TRUE(write.status().is_ok()) << write.status().to_string();
}

// A cancelled Grant whose writer says nothing.
TEST_F(DumpUndriven, OfACancelledGrantUntilItsPathIsFenced) {
  auto grant = this->grant();
  auto transfer = push();
  ASSERT_TRUE(wait_until([&] {
    turn();
    return has(pair_.prefill().dump(), "the caller's next chunk");
  }));
  grant.cancel("not wanted");
  ASSERT_TRUE(wait_until([&] {
    pair_.decode().progress();
    return waits_seconds(pair_.decode(), "quiesced") >= 0;
  })) << pair_.decode().dump();
  expect_wait(pair_.decode(), "quiesced");
  const std::string text = pair_.decode().dump();
  EXPECT_TRUE(has(text, ": CANCELLING for ")) << text;
  EXPECT_TRUE(has(text, " ago: CANCELLED: not wanted")) << text;
  bool is_fence_seen = false;
  ASSERT_TRUE(wait_until([&] {
    pair_.decode().progress();
    is_fence_seen = is_fence_seen || waits_seconds(pair_.decode(), "fence") >= 0;
    return baton::is_terminal(grant.state());
  }));
  EXPECT_TRUE(is_fence_seen);
}

class DumpSettlement : public DumpUndriven {
 protected:
  static ContextPair::Options options() {
    ContextPair::Options options;
    options.transport = "loopback";
    options.paths = 2;
    options.prefill_dials = true;
    options.kill_path = 0;
    options.kill_after_posts = 3;
    return options;
  }
  DumpSettlement() : DumpUndriven(options()) {}
};

TEST_F(DumpSettlement, IsSeenAtTheWriter) {
  auto grant = this->grant();
  auto transfer = push();
  require_ok(transfer.seal(), "seal");
  std::set<std::string> seen;
  ASSERT_TRUE(wait_until([&] {
    for (const char* what : {"settlement", "grant_end", "posts"}) {
      if (waits_seconds(pair_.prefill(), what) >= 0) seen.insert(what);
    }
    turn();
    return baton::is_terminal(transfer.state());
  }));
  EXPECT_TRUE(transfer.status().is_ok()) << transfer.status().to_string();
  EXPECT_EQ(transfer.record().settlements, 1u);
  EXPECT_EQ(seen.count("settlement"), 1u);
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
