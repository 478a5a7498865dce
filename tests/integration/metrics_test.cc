// What those who watch see of known hand-offs: exact counts, one line for each failure, the
// endpoint.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <mutex>
#include <numeric>

#include "src/control/socket.h"
#include "tests/integration/watch_rig.h"
#include "tests/support/test_seed.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::EventKind;
using baton::Metrics;
using baton::PathMetrics;
using baton::PeerMetrics;
using baton::RequestKind;
using baton::StatusCode;

PeerMetrics peer_of(const baton::Context& context, const std::string& name) {
  const Metrics metrics = context.metrics();
  for (const PeerMetrics& peer : metrics.peers) {
    if (peer.name == name) return peer;
  }
  ADD_FAILURE() << name << " is not counted";
  return {};
}

uint64_t sum(const PeerMetrics& peer, uint64_t PathMetrics::*field) {
  uint64_t out = 0;
  for (const PathMetrics& path : peer.paths) out += path.*field;
  return out;
}

const baton::RequestMetrics& requests(const PeerMetrics& peer, RequestKind kind) {
  return peer.requests[static_cast<size_t>(kind)];
}

uint64_t ended(const PeerMetrics& peer, RequestKind kind, StatusCode code) {
  return requests(peer, kind).ended[static_cast<size_t>(code)];
}

class Counts : public testing::TestWithParam<const char*> {
 protected:
  Counts() : w_({GetParam(), true, test_seed()}) {}
  Watch w_;
};

TEST_P(Counts, AHandOffToTheUnit) {
  w_.begin("r");
  w_.push("r");
  require_ok(w_.transfer.seal(), "seal");
  require_ok(w_.grant.wait(20000), "Grant::wait");
  Watch::see_end(w_.pair.decode(), EventKind::kGrantEnded);
  Watch::see_end(w_.pair.prefill(), EventKind::kTransferEnded);
  const auto placed = w_.grant.record();
  const auto sent = w_.transfer.record();
  const PeerMetrics prefill = peer_of(w_.pair.decode(), "prefill");
  EXPECT_TRUE(prefill.is_up);
  EXPECT_EQ(requests(prefill, RequestKind::kKvGrant).started, 1u);
  EXPECT_EQ(ended(prefill, RequestKind::kKvGrant, StatusCode::kOk), 1u);
  EXPECT_EQ(prefill.placed_bytes, placed.bytes);
  EXPECT_EQ(sum(prefill, &PathMetrics::placed_units), placed.units);
  EXPECT_EQ(sum(prefill, &PathMetrics::late_units), 0u);
  EXPECT_EQ(sum(prefill, &PathMetrics::dropped_units), 0u);
  EXPECT_EQ(sum(prefill, &PathMetrics::discarded_bytes), 0u);
  EXPECT_EQ(sum(prefill, &PathMetrics::posted_bytes), 0u);
  EXPECT_EQ(sum(prefill, &PathMetrics::opened), 1u);
  EXPECT_EQ(prefill.grant_time.total(), 1u);
  EXPECT_EQ(prefill.quarantined_grants_total, 0u);
  EXPECT_GE(prefill.heartbeat_rtt.total(), 1u);
  const PeerMetrics decode = peer_of(w_.pair.prefill(), "decode");
  EXPECT_EQ(requests(decode, RequestKind::kPush).started, 1u);
  EXPECT_EQ(ended(decode, RequestKind::kPush, StatusCode::kOk), 1u);
  EXPECT_EQ(sum(decode, &PathMetrics::posted_bytes), placed.bytes);
  EXPECT_EQ(sum(decode, &PathMetrics::posted_units), placed.units);
  EXPECT_EQ(sum(decode, &PathMetrics::posts), sent.posts);
  EXPECT_EQ(sum(decode, &PathMetrics::immediates), sent.immediates);
  EXPECT_EQ(decode.settles_sent + decode.settled_units_sent + decode.rewritten_bytes, 0u);
  ASSERT_EQ(decode.paths.size(), 1u);
  EXPECT_TRUE(decode.paths[0].is_open);
  EXPECT_EQ(decode.paths[0].transport, GetParam());
}

TEST_P(Counts, ACancelAndItsQuarantine) {
  w_.begin("r");
  const uint64_t bytes = w_.grant.record().bytes;
  w_.grant.cancel("not wanted");
  EXPECT_EQ(w_.grant.wait(20000).code(), StatusCode::kCancelled);
  Watch::see_end(w_.pair.decode(), EventKind::kGrantEnded);
  const PeerMetrics prefill = peer_of(w_.pair.decode(), "prefill");
  EXPECT_EQ(ended(prefill, RequestKind::kKvGrant, StatusCode::kCancelled), 1u);
  EXPECT_EQ(prefill.quarantined_grants_total, 1u);
  EXPECT_EQ(prefill.quarantined_blocks_total, 16u);
  EXPECT_EQ(prefill.quarantined_bytes_total, bytes);
  EXPECT_EQ(prefill.quarantined_grants + prefill.quarantined_bytes, 0u);
  EXPECT_EQ(prefill.quarantine.total(), 1u);
  EXPECT_EQ(prefill.placed_bytes, 0u);
}

TEST_P(Counts, APeerThatWentAndCameBack) {
  const baton::PeerId first = w_.pair.prefill_peer();
  w_.begin("r");
  require_ok(w_.pair.decode().disconnect(first), "disconnect");
  EXPECT_EQ(w_.grant.wait(20000).code(), StatusCode::kPeerLost);
  Watch::see_end(w_.pair.decode(), EventKind::kGrantEnded);
  PeerMetrics prefill;
  ASSERT_TRUE(wait_until([&] {
    prefill = peer_of(w_.pair.decode(), "prefill");
    return !prefill.is_up && sum(prefill, &PathMetrics::lost) == 1;
  }));
  EXPECT_EQ(ended(prefill, RequestKind::kKvGrant, StatusCode::kPeerLost), 1u);
  EXPECT_EQ(prefill.losses[static_cast<size_t>(StatusCode::kPeerLost)], 1u);
  EXPECT_EQ(prefill.paths[0].fences[static_cast<size_t>(baton::FenceCause::kPeerLost)], 1u);
  EXPECT_EQ(prefill.fence.total(), 1u);
  EXPECT_FALSE(prefill.paths[0].is_open);
  require(w_.pair.decode().connect(w_.pair.prefill().address(), 20000), "connect");
  prefill = peer_of(w_.pair.decode(), "prefill");
  EXPECT_TRUE(prefill.is_up);
  EXPECT_EQ(sum(prefill, &PathMetrics::opened), 2u);
  EXPECT_EQ(requests(prefill, RequestKind::kKvGrant).started, 1u) << "it counts on";
}

TEST_P(Counts, RawWritesAndReads) {
  baton::RangeGrantRequest ranges;
  ranges.peer = w_.pair.prefill_peer();
  ranges.ranges = {{w_.target.section(), 0, 1u << 20}};
  ranges.allow_read = true;
  ranges.tag = "raw";
  auto grant = require(w_.pair.decode().grant_ranges(ranges), "grant_ranges");
  const auto offer = require(w_.pair.prefill().wait_offer("raw", 20000), "wait_offer");
  baton::RawRequest raw;
  raw.grant = offer.id;
  raw.local_section = w_.source.section();
  raw.remote_section = w_.target.section();
  raw.runs = {{0, 4096, 65536}, {65536, 200000, 4096}};
  auto write = require(w_.pair.prefill().write(raw), "write");
  require_ok(write.wait(20000), "write");
  auto read = require(w_.pair.prefill().read(raw), "read");
  require_ok(read.wait(20000), "read");
  Watch::see_end(w_.pair.prefill(), EventKind::kTransferEnded);
  Watch::see_end(w_.pair.prefill(), EventKind::kTransferEnded);
  const PeerMetrics decode = peer_of(w_.pair.prefill(), "decode");
  EXPECT_EQ(ended(decode, RequestKind::kWrite, StatusCode::kOk), 1u);
  EXPECT_EQ(ended(decode, RequestKind::kRead, StatusCode::kOk), 1u);
  EXPECT_EQ(sum(decode, &PathMetrics::posted_bytes), 2u * (65536 + 4096));
  EXPECT_EQ(sum(decode, &PathMetrics::posted_units), 0u);
  EXPECT_EQ(requests(peer_of(w_.pair.decode(), "prefill"), RequestKind::kRangeGrant).started, 1u);
}

INSTANTIATE_TEST_SUITE_P(Transports, Counts, testing::Values("tcp", "loopback"));

TEST(WatchPaths, EachPlaceHasItsCounts) {
  baton::ContextOptions options = quiet_options("prefill");
  options.rails[0].paths = 3;
  auto prefill = require(baton::Context::create(options), "create");
  options.name = "decode";
  auto decode = require(baton::Context::create(options), "create");
  require(decode.connect(prefill.address(), 20000), "connect");
  const PeerMetrics peer = peer_of(decode, "prefill");
  ASSERT_EQ(peer.paths.size(), 3u);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(peer.paths[i].path, i);
    EXPECT_EQ(peer.paths[i].opened, 1u);
    EXPECT_TRUE(peer.paths[i].is_open);
  }
}

// What hand-offs counted, together.
struct Total {
  uint64_t units = 0;
  uint64_t bytes = 0;
  uint64_t settlements = 0;
  uint64_t units_settled = 0;
  uint64_t bytes_rewritten = 0;
};

// The last of six ends to be opened, one of the prefill side, which answers the dials, dies at its
// second post, in the first hand-off that gives it so many.
TEST(WatchPaths, ADeathIsSettledAndCountedOnBothSides) {
  ContextPair::Options options{"loopback", false, test_seed()};
  options.paths = 3;
  options.kill_path = 5;
  options.kill_after_posts = 1;
  PoolShape shape;
  shape.layers = 9;  // a small layer goes over one Path
  Watch w(options, shape);
  Total total;
  for (int i = 0; i < 100; ++i) {
    w.begin("r" + std::to_string(i));
    w.push("r" + std::to_string(i));
    require_ok(w.transfer.seal(), "seal");
    require_ok(w.grant.wait(20000), "Grant::wait");
    require_ok(w.transfer.wait(20000), "Transfer::wait");
    const auto sent = w.transfer.record();
    total.units += w.grant.record().units;
    total.bytes += w.grant.record().bytes;
    total.settlements += sent.settlements;
    total.units_settled += sent.units_settled;
    total.bytes_rewritten += sent.bytes_rewritten;
    if (sum(peer_of(w.pair.prefill(), "decode"), &PathMetrics::lost) > 0) break;
  }
  PeerMetrics prefill;
  PeerMetrics decode;
  ASSERT_TRUE(wait_until([&] {
    prefill = peer_of(w.pair.decode(), "prefill");
    decode = peer_of(w.pair.prefill(), "decode");
    return sum(prefill, &PathMetrics::reopened) == 1 && sum(decode, &PathMetrics::reopened) == 1;
  }));
  EXPECT_EQ(sum(prefill, &PathMetrics::placed_units) + prefill.settled_units_applied, total.units);
  EXPECT_EQ(prefill.placed_bytes, total.bytes);
  EXPECT_EQ(decode.settled_units_sent, prefill.settled_units_applied);
  EXPECT_EQ(decode.settles_sent, prefill.settles_applied);
  EXPECT_EQ(decode.settles_sent, total.settlements);
  EXPECT_EQ(decode.settled_units_sent, total.units_settled);
  EXPECT_EQ(decode.rewritten_bytes, total.bytes_rewritten);
  ASSERT_EQ(prefill.paths.size(), 3u);
  ASSERT_EQ(decode.paths.size(), 3u);
  for (const PeerMetrics* peer : {&prefill, &decode}) {
    EXPECT_EQ(sum(*peer, &PathMetrics::lost), 1u);
    EXPECT_EQ(sum(*peer, &PathMetrics::opened), 4u);
    EXPECT_EQ(peer->fence.total(), 1u);
  }
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(prefill.paths[i].lost, decode.paths[i].lost) << i;
    for (const PathMetrics* path : {&prefill.paths[i], &decode.paths[i]}) {
      const auto& fences = path->fences;
      EXPECT_EQ(std::accumulate(fences.begin(), fences.end(), uint64_t{0}), path->lost) << i;
      EXPECT_TRUE(path->is_open) << i;
    }
  }
}

TEST(WatchBusy, ACallThatABoundRefusesIsCounted) {
  baton::ContextOptions options = quiet_options("prefill");
  auto prefill = require(baton::Context::create(options), "create");
  options.name = "decode";
  options.max_live = 1;
  auto decode = require(baton::Context::create(options), "create");
  Pool target{PoolShape()};
  target.publish(decode, "kv");
  baton::RangeGrantRequest ranges;
  ranges.peer = require(decode.connect(prefill.address(), 20000), "connect");
  ranges.ranges = {{target.section(), 0, 4096}};
  auto first = require(decode.grant_ranges(ranges), "grant_ranges");
  EXPECT_EQ(decode.grant_ranges(ranges).code(), StatusCode::kBusy);
  EXPECT_EQ(decode.grant_ranges(ranges).code(), StatusCode::kBusy);
  EXPECT_EQ(decode.metrics().busy[static_cast<size_t>(baton::BusyCall::kGrant)], 2u);
  EXPECT_EQ(decode.metrics().live_grants, 1u);
}

TEST(WatchBusy, OfAReadGrantIsCountedAsOfATransfer) {
  auto source_side = require(baton::Context::create(quiet_options("prefill")), "create");
  auto reader = require(baton::Context::create(quiet_options("decode")), "create");
  Pool source{PoolShape()};
  Pool target{PoolShape()};
  source.publish(source_side, "kv");
  target.publish(reader, "kv");
  baton::ReadGrantRequest request;
  request.peer = require(source_side.connect(reader.address(), 20000), "connect");
  request.cache = source.cache();
  request.target_cache = "kv";
  request.tokens = kWatchTokens;
  request.block_lists = {pick_blocks(16, 32, test_seed())};
  auto grant = require(source_side.offer_read(request), "offer_read");
  auto word = require(source_side.create_progress_word(), "create_progress_word");
  uint32_t taken = 0;
  baton::Status refused;
  while (refused.is_ok() && taken < 200) {
    refused = grant.submit_chunk({{taken, taken + 1}, &word, 0});
    if (refused.is_ok()) ++taken;
  }
  EXPECT_EQ(refused.code(), StatusCode::kBusy) << refused.to_string();
  EXPECT_EQ(grant.seal().code(), StatusCode::kBusy) << "the rest would be one more";
  const auto busy = source_side.metrics().busy;
  EXPECT_EQ(busy[static_cast<size_t>(baton::BusyCall::kSubmitChunk)], 1u);
  EXPECT_EQ(busy[static_cast<size_t>(baton::BusyCall::kSeal)], 1u);
}

// ---- log lines

TEST(FailureLines, OneOnEachSide) {
  std::mutex mutex;
  std::vector<std::string> lines;
  baton::ContextOptions options = quiet_options("prefill");
  options.log_level = baton::LogLevel::kWarning;
  options.log_callback = [&](baton::LogLevel, std::string_view message) {
    const std::lock_guard lock(mutex);
    lines.emplace_back(message);
  };
  auto prefill = require(baton::Context::create(options), "create");
  options.name = "decode";
  auto decode = require(baton::Context::create(options), "create");
  Pool source{PoolShape()};
  Pool target{PoolShape()};
  source.publish(prefill, "kv");
  target.publish(decode, "kv");
  baton::GrantRequest request;
  request.peer = require(decode.connect(prefill.address(), 20000), "connect");
  request.cache = target.cache();
  request.source_cache = "kv";
  request.tag = "req\n7";
  request.tokens = kWatchTokens;
  request.block_lists = {pick_blocks(16, 32, test_seed())};
  request.deadline_ms = 200;
  auto grant = require(decode.grant(request), "grant");
  const auto offer = require(prefill.wait_offer("req\n7", 20000), "wait_offer");
  baton::PushRequest push;
  push.grant = offer.id;
  push.cache = source.cache();
  push.block_lists = request.block_lists;
  auto transfer = require(prefill.push(push), "push");
  EXPECT_EQ(grant.wait(20000).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(transfer.wait(20000).code(), StatusCode::kDeadlineExceeded);
  next_event(decode, EventKind::kGrantEnded);
  next_event(prefill, EventKind::kTransferEnded);
  const auto count = [&](const std::string& part) {
    const std::lock_guard lock(mutex);
    return std::count_if(lines.begin(), lines.end(),
                         [&](const std::string& line) { return has(line, part); });
  };
  const std::string id = std::to_string(grant.id().value);
  EXPECT_EQ(count("grant failed: code=DEADLINE_EXCEEDED grant=" + id + " tag=\"req\\x0a7\" peer="),
            1);
  EXPECT_EQ(count(" name=\"prefill\" units=0/" + std::to_string(offer.units) + " fenced=none "), 1);
  EXPECT_EQ(count("transfer failed: code=DEADLINE_EXCEEDED grant=" + id + " transfer=1 tag="), 1);
  EXPECT_EQ(count(" name=\"decode\" units=0/" + std::to_string(offer.units)), 1);
  EXPECT_EQ(count("failed: "), 2);
}

// ---- the endpoint

std::string http_get(const std::string& address, const std::string& path) {
  const size_t colon = address.rfind(':');
  const auto where = baton::control::numeric_address(
      address.substr(0, colon), static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
  auto fd = std::move(baton::control::begin_connect(*where)).value();
  const auto wait = [&](short events) {
    pollfd entry{fd.get(), events, 0};
    return poll(&entry, 1, 20000) == 1;
  };
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
  if (!wait(POLLOUT)) return "";
  if (send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return "";
  std::string out;
  char bytes[65536];
  while (wait(POLLIN)) {
    const ssize_t got = recv(fd.get(), bytes, sizeof(bytes), 0);
    if (got <= 0) break;
    out.append(bytes, static_cast<size_t>(got));
  }
  return out;
}

TEST(Endpoint, ServesMetricsAndHandOffs) {
  baton::ContextOptions options = quiet_options("decode");
  EXPECT_EQ(require(baton::Context::create(options), "create").metrics_address(), "");
  options.metrics_port = 0;
  auto decode = require(baton::Context::create(options), "create");
  auto prefill = require(baton::Context::create(quiet_options("prefill")), "create");
  require(decode.connect(prefill.address(), 20000), "connect");
  const std::string address = decode.metrics_address();
  EXPECT_EQ(address.substr(0, 10), "127.0.0.1:");
  const std::string metrics = http_get(address, "/metrics");
  EXPECT_TRUE(has(metrics, "HTTP/1.1 200 OK\r\n")) << metrics;
  EXPECT_TRUE(has(metrics, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_TRUE(has(metrics, "\nbaton_peer_up{peer=\"prefill\"} 1\n")) << metrics;
  EXPECT_TRUE(has(metrics,
                  "\nbaton_path_open{peer=\"prefill\",path=\"0\",rail=\"0\","
                  "transport=\"tcp\"} 1\n"))
      << metrics;
  const std::string state = http_get(address, "/handoffs");
  EXPECT_TRUE(has(state, "Content-Type: application/json\r\n")) << state;
  EXPECT_TRUE(has(state, "\"context\":\"decode\"")) << state;
  EXPECT_TRUE(has(http_get(address, "/"), "HTTP/1.1 404 "));
  EXPECT_EQ(decode.metrics().http_requests, 2u);
  EXPECT_EQ(decode.metrics().http_refused, 1u);
}

TEST(Endpoint, WrongOptionsAreNamed) {
  baton::ContextOptions options = quiet_options("decode");
  options.metrics_port = 65536;
  EXPECT_EQ(baton::Context::create(options).code(), StatusCode::kInvalidArgument);
  options.metrics_port = 0;
  options.metrics_host = "somewhere.invalid";
  const auto refused = baton::Context::create(options);
  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(has(refused.status().message(), "metrics_host")) << refused.status().to_string();
}

TEST(Endpoint, WatchingAfterCloseIsHarmless) {
  baton::ContextOptions options = quiet_options("decode");
  options.metrics_port = 0;
  auto decode = require(baton::Context::create(options), "create");
  require_ok(decode.close(0), "close");
  EXPECT_TRUE(has(decode.metrics_text(), "baton_info{context=\"decode\""));
  EXPECT_TRUE(has(decode.dump(), "context \"decode\""));
}

}  // namespace
}  // namespace baton_test
