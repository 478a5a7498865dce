// Wrong calls of the public API: each error names what, where and why, and nothing moves.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/integration/rig.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_seed.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::StatusCode;

void expect_error(const baton::Status& status, StatusCode code,
                  std::initializer_list<const char*> words) {
  EXPECT_EQ(status.code(), code) << status.to_string();
  for (const char* word : words) {
    EXPECT_NE(status.message().find(word), std::string::npos)
        << "\"" << word << "\" is missing in: " << status.message();
  }
}

class BadInput : public testing::Test {
 protected:
  BadInput() : pair_({"tcp", true, test_seed()}), source_(PoolShape()), target_(PoolShape()) {
    source_.publish(pair_.prefill(), "kv");
    target_.publish(pair_.decode(), "kv");
    pair_.connect();
  }

  baton::GrantRequest request() {
    baton::GrantRequest out;
    out.peer = pair_.prefill_peer();
    out.cache = target_.cache();
    out.source_cache = "kv";
    out.tag = "r";
    out.tokens = {0, 64};
    out.block_lists = {{0, 1, 2, 3}};
    return out;
  }

  ContextPair pair_;
  Pool source_;
  Pool target_;
};

TEST_F(BadInput, SectionOfLengthZero) {
  baton::SectionOptions options;
  options.name = "empty";
  options.address = source_.memory().data();
  expect_error(pair_.prefill().register_section(options).status(), StatusCode::kInvalidArgument,
               {"empty", "0"});
}

// What a peer could not be told is refused here, and not when it is told.
TEST_F(BadInput, NamesThatDoNotPrint) {
  baton::SectionOptions section;
  section.name = "two\nlines";
  section.address = source_.memory().data();
  section.length_bytes = 1;
  expect_error(pair_.prefill().register_section(section).status(), StatusCode::kInvalidArgument,
               {"two?lines", "control"});
  baton::CacheOptions cache;
  cache.name = "bell\a";
  expect_error(pair_.prefill().publish_cache(cache).status(), StatusCode::kInvalidArgument,
               {"bell?", "control"});
}

TEST_F(BadInput, TimesLongerThanADay) {
  auto bad = request();
  bad.deadline_ms = 86'400'001;
  expect_error(pair_.decode().grant(bad).status(), StatusCode::kInvalidArgument,
               {"deadline_ms", "86400001", "86400000"});
  bad.deadline_ms = 0;
  bad.lease_ms = UINT32_MAX;
  expect_error(pair_.decode().grant(bad).status(), StatusCode::kInvalidArgument,
               {"lease_ms", "4294967295"});
  baton::RangeGrantRequest ranges;
  ranges.peer = pair_.prefill_peer();
  ranges.ranges = {{target_.section(), 0, 1}};
  ranges.deadline_ms = UINT32_MAX;
  expect_error(pair_.decode().grant_ranges(ranges).status(), StatusCode::kInvalidArgument,
               {"deadline_ms"});
  EXPECT_EQ(pair_.decode().peers().size(), 1u) << "the peer is not to blame";
}

TEST_F(BadInput, MoreBlocksThanAGrantNames) {
  auto bad = request();
  bad.block_lists = {std::vector<uint32_t>((1u << 20) + 1)};
  expect_error(pair_.decode().grant(bad).status(), StatusCode::kOutOfRange, {"1048577", "1048576"});
}

// A slice of the heads leaves gaps: each token of each layer is a range of its own, for each of
// which the receiver would keep a permission.
TEST_F(BadInput, MoreRangesThanAGrantOpens) {
  baton::LayerGroup group;
  group.block_tokens = 110'000;
  group.heads_total = 2;
  group.head_elements = 1;
  group.num_blocks = 1;
  for (uint32_t layer = 0; layer < 40; ++layer) group.layers.push_back(layer);
  std::vector<uint8_t> memory(group.layers.size() * group.block_tokens * 4);
  std::vector<baton::Section> sections;
  std::vector<baton::KvCache> caches;
  const auto publish = [&](baton::Context& context, uint32_t heads) {
    baton::SectionOptions section;
    section.address = memory.data();
    section.length_bytes = memory.size();
    sections.push_back(require(context.register_section(section), "register_section"));
    group.heads = heads;
    group.places.clear();
    const uint64_t stride = uint64_t{group.block_tokens} * heads * 2;
    for (uint64_t layer = 0; layer < group.layers.size(); ++layer)
      group.places.push_back({sections.back().id(), layer * stride, stride});
    baton::CacheOptions cache;
    cache.name = "heads";
    cache.layout.groups = {group};
    caches.push_back(require(context.publish_cache(cache), "publish_cache"));
  };
  publish(pair_.prefill(), 1);
  publish(pair_.decode(), 2);
  ASSERT_TRUE(wait_until([&] {
    return require(pair_.decode().describe_peer(pair_.prefill_peer()), "describe_peer")
               .caches.size() == 2;
  }));
  auto bad = request();
  bad.cache = caches.back().id();
  bad.source_cache = "heads";
  bad.block_lists = {{0}};
  bad.tokens = {0, group.block_tokens};
  expect_error(pair_.decode().grant(bad).status(), StatusCode::kOutOfRange,
               {"4194304", "ranges", "fewer tokens"});
  bad.tokens = {0, 1000};
  EXPECT_TRUE(pair_.decode().grant(bad).is_ok()) << pair_.decode().grant(bad).status().to_string();
}

TEST_F(BadInput, TagsAndReasonsMayHoldAnything) {
  auto odd = request();
  odd.tag = std::string("nul\0 bell\a newline\n", 19) + std::string(4000, '\xff');
  auto grant = require(pair_.decode().grant(odd), "grant");
  EXPECT_EQ(require(pair_.prefill().wait_offer(odd.tag, 10000), "wait_offer").tag, odd.tag);
  grant.cancel(std::string(5000, '\n'));
  EXPECT_EQ(grant.wait(10000).code(), StatusCode::kCancelled);
  EXPECT_EQ(pair_.decode().peers().size(), 1u) << "the connection is well";
}

TEST_F(BadInput, SectionPast64Bits) {
  baton::SectionOptions options;
  options.name = "huge";
  options.address = source_.memory().data();
  options.length_bytes = UINT64_MAX - 16;
  expect_error(pair_.prefill().register_section(options).status(), StatusCode::kInvalidArgument,
               {"huge", "2^64"});
}

TEST_F(BadInput, CacheOverAnUnknownSection) {
  baton::CacheOptions cache;
  cache.name = "lost";
  baton::LayerGroup group;
  group.block_tokens = group.heads_total = group.heads = group.head_elements = group.num_blocks = 1;
  group.layers = {0};
  group.places = {{baton::SectionId(77), 0, 64}};
  cache.layout.groups = {group};
  expect_error(pair_.prefill().publish_cache(cache).status(), StatusCode::kNotFound,
               {"lost", "77"});
}

TEST_F(BadInput, BlockIndexPastTheLayout) {
  auto bad = request();
  bad.block_lists = {{0, 1, 99, 3}};
  expect_error(pair_.decode().grant(bad).status(), StatusCode::kOutOfRange,
               {"target", "2", "99", "32"});
}

TEST_F(BadInput, BlockListTooShort) {
  auto bad = request();
  bad.block_lists = {{0, 1, 2}};
  expect_error(pair_.decode().grant(bad).status(), StatusCode::kInvalidArgument,
               {"target", "3", "4"});
}

TEST_F(BadInput, EmptyTokenRange) {
  auto bad = request();
  bad.tokens = {8, 8};
  expect_error(pair_.decode().grant(bad).status(), StatusCode::kInvalidArgument,
               {"token range [8, 8)", "is empty"});
}

TEST_F(BadInput, UnknownPeerAndCache) {
  auto bad = request();
  bad.peer = baton::PeerId(4711);
  expect_error(pair_.decode().grant(bad).status(), StatusCode::kNotFound, {"4711"});
  bad = request();
  bad.source_cache = "other";
  expect_error(pair_.decode().grant(bad).status(), StatusCode::kNotFound, {"other", "prefill"});
}

TEST_F(BadInput, LayoutsThatDoNotMatch) {
  PoolShape shape;
  shape.layers = 5;
  Pool other(shape);
  other.publish(pair_.decode(), "five-layers");
  auto bad = request();
  bad.cache = other.cache();
  expect_error(pair_.decode().grant(bad).status(), StatusCode::kMismatch,
               {"group 0: number of layers: source has 4, target has 5"});
}

TEST_F(BadInput, SourceBlockPastTheLayout) {
  auto grant = require(pair_.decode().grant(request()), "grant");
  const auto offer = require(pair_.prefill().wait_offer("r", 10000), "wait_offer");
  baton::PushRequest push;
  push.grant = offer.id;
  push.cache = source_.cache();
  push.block_lists = {{0, 1, 2, 1000}};
  expect_error(pair_.prefill().push(push).status(), StatusCode::kOutOfRange,
               {"source", "3", "1000"});
  push.block_lists = {{0, 1, 2, 3}};
  auto transfer = require(pair_.prefill().push(push), "push");
  EXPECT_EQ(pair_.prefill().push(push).code(), StatusCode::kFailedPrecondition);
  expect_error(transfer.submit_chunk({{16, 32}, nullptr, 0}), StatusCode::kInvalidArgument,
               {"[16, 32)", "token 0"});
  expect_error(transfer.submit_chunk({{0, 65}, nullptr, 0}), StatusCode::kInvalidArgument,
               {"[0, 65)"});
  require_ok(transfer.seal(), "seal");
  EXPECT_EQ(transfer.submit_chunk({{0, 16}, nullptr, 0}).code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(grant.wait(10000).is_ok());
}

TEST_F(BadInput, OfferThatNobodyMade) {
  expect_error(pair_.prefill().wait_offer("nobody", 10).status(), StatusCode::kDeadlineExceeded,
               {"nobody"});
  baton::PushRequest push;
  push.grant = baton::GrantId(12345);
  push.cache = source_.cache();
  expect_error(pair_.prefill().push(push).status(), StatusCode::kNotFound, {"12345"});
}

TEST_F(BadInput, RawRequestsAreCheckedRunByRun) {
  baton::RangeGrantRequest ranges;
  ranges.peer = pair_.prefill_peer();
  ranges.tag = "ranges";
  ranges.ranges = {{target_.section(), 0, 4096}};
  ranges.ranges[0].length_bytes = 0;
  expect_error(pair_.decode().grant_ranges(ranges).status(), StatusCode::kInvalidArgument,
               {"range 0", "length 0"});
  ranges.ranges[0] = {target_.section(), target_.memory().size() - 10, 11};
  expect_error(pair_.decode().grant_ranges(ranges).status(), StatusCode::kOutOfRange,
               {"range 0", "kv-pool"});
  ranges.ranges[0] = {baton::SectionId(99), 0, 1};
  expect_error(pair_.decode().grant_ranges(ranges).status(), StatusCode::kNotFound, {"99"});
  ranges.ranges[0] = {target_.section(), 0, 4096};
  auto grant = require(pair_.decode().grant_ranges(ranges), "grant_ranges");
  const auto offer = require(pair_.prefill().wait_offer("ranges", 10000), "wait_offer");
  baton::RawRequest raw;
  raw.grant = offer.id;
  raw.local_section = source_.section();
  raw.remote_section = target_.section();
  expect_error(pair_.prefill().write(raw).status(), StatusCode::kInvalidArgument, {"without runs"});
  raw.runs = {{0, 0, 10}, {0, 0, 0}};
  expect_error(pair_.prefill().write(raw).status(), StatusCode::kInvalidArgument,
               {"run 1", "length 0"});
  raw.runs = {{source_.memory().size() - 5, 0, 10}};
  expect_error(pair_.prefill().write(raw).status(), StatusCode::kOutOfRange,
               {"run 0", "local side"});
  raw.runs = {{0, UINT64_MAX - 4, 10}};
  expect_error(pair_.prefill().write(raw).status(), StatusCode::kOutOfRange,
               {"run 0", "remote side", "2^64"});
  raw.local_section = baton::SectionId(1234);
  raw.runs = {{0, 0, 10}};
  expect_error(pair_.prefill().write(raw).status(), StatusCode::kNotFound, {"1234"});
  EXPECT_EQ(target_.memory().check_poisoned(0, target_.memory().size()), "");
}

TEST_F(BadInput, ClosedSection) {
  auto grant = require(pair_.decode().grant(request()), "grant");
  const auto section = target_.section();
  require_ok(target_.section_handle().close(), "close");
  const std::string name = "section " + std::to_string(section.value);
  expect_error(grant.wait(5000), StatusCode::kCancelled,
               {(name + " (\"kv-pool\") was closed").c_str()});
  baton::RangeGrantRequest ranges;
  ranges.peer = pair_.prefill_peer();
  ranges.ranges = {{section, 0, 1}};
  expect_error(pair_.decode().grant_ranges(ranges).status(), StatusCode::kNotFound,
               {"range 0 of the grant", (name + " is not known here").c_str(), "closed"});
}

TEST_F(BadInput, RemoteSectionThatIsNotRegisteredThere) {
  std::vector<uint8_t> memory(4096);
  baton::SectionOptions options;
  options.name = "short-lived";
  options.address = memory.data();
  options.length_bytes = memory.size();
  auto section = require(pair_.decode().register_section(options), "register_section");
  baton::RangeGrantRequest ranges;
  ranges.peer = pair_.prefill_peer();
  ranges.tag = "ranges";
  ranges.ranges = {{target_.section(), 0, 4096}};
  auto grant = require(pair_.decode().grant_ranges(ranges), "grant_ranges");
  const auto offer = require(pair_.prefill().wait_offer("ranges", 10000), "wait_offer");
  baton::RawRequest raw;
  raw.grant = offer.id;
  raw.local_section = source_.section();
  raw.runs = {{0, 0, 16}};
  const auto expect_refused = [&](baton::SectionId remote) {
    raw.remote_section = remote;
    const std::string text = "section " + std::to_string(remote.value) +
                             " of peer decode is not registered there (any more)";
    expect_error(pair_.prefill().write(raw).status(), StatusCode::kNotFound, {text.c_str()});
  };
  expect_refused(baton::SectionId(4711));
  const baton::SectionId closed = section.id();
  require_ok(section.close(), "Section::close");
  ASSERT_TRUE(wait_until([&] {
    return require(pair_.prefill().describe_peer(pair_.decode_peer()), "describe_peer")
               .sections.size() == 1;
  }));
  expect_refused(closed);
  EXPECT_EQ(target_.memory().check_poisoned(0, target_.memory().size()), "");
}

TEST_F(BadInput, ClosedContext) {
  pair_.decode().close(0).ignore();
  const auto expect_closed = [](const baton::Status& status) {
    expect_error(status, StatusCode::kFailedPrecondition, {"the Context is closed"});
  };
  expect_closed(pair_.decode().grant(request()).status());
  expect_closed(pair_.decode().send_message(pair_.prefill_peer(), 1, {}));
  expect_closed(pair_.decode().connect(pair_.prefill().address()).status());
  baton::SectionOptions section;
  section.address = target_.memory().data();
  section.length_bytes = 1;
  expect_closed(pair_.decode().register_section(section).status());
  baton::CacheOptions cache;
  cache.name = "late";
  expect_closed(pair_.decode().publish_cache(cache).status());
}

TEST(BadOptions, EachNamesItsField) {
  const auto check = [](auto change, const char* field) {
    baton::ContextOptions options = quiet_options("x");
    change(options);
    expect_error(baton::Context::create(options).status(), StatusCode::kInvalidArgument, {field});
  };
  check([](auto& o) { o.name = "with space"; }, "name");
  check([](auto& o) { o.unit_bytes = 100; }, "unit_bytes");
  check([](auto& o) { o.rails.clear(); }, "rails");
  check([](auto& o) { o.max_submissions = 3; }, "max_submissions");
  check([](auto& o) { o.peer_dead_after_ms = 10; }, "peer_dead_after_ms");
  check([](auto& o) { o.default_lease_ms = 10; }, "default_lease_ms");
}

TEST(BadOptions, UnknownPluginNamesTheKnownOnes) {
  baton::ContextOptions options = quiet_options("x");
  options.rails[0].plugin = "warp";
  expect_error(baton::Context::create(options).status(), StatusCode::kUnavailable,
               {"warp", "tcp", "loopback"});
}

TEST(BadOptions, OpenBindWithoutASecretIsRefused) {
  baton::ContextOptions options = quiet_options("x");
  options.bind_host = "0.0.0.0";
  expect_error(baton::Context::create(options).status(), StatusCode::kPermissionDenied,
               {"0.0.0.0", "secret"});
}

TEST(BadOptions, SecondContextOnTheSamePort) {
  auto first = require(baton::Context::create(quiet_options("first")), "create");
  const std::string& address = first.address();
  const size_t colon = address.rfind(':');
  baton::ContextOptions options = quiet_options("second");
  options.port = static_cast<uint16_t>(std::stoi(address.substr(colon + 1)));
  expect_error(baton::Context::create(options).status(), StatusCode::kAddressInUse,
               {std::to_string(options.port).c_str()});
}

TEST(BadOptions, WrongSecretIsToldToTheDialer) {
  TempDir dir;
  const auto make = [&](const std::string& name, char fill) {
    std::ofstream(dir.file(name)) << std::string(32, fill) << name;
    baton::ContextOptions options = quiet_options(name);
    options.secret_file = dir.file(name);
    options.log_level = baton::LogLevel::kOff;
    return require(baton::Context::create(options), "create");
  };
  auto one = make("one", 'a');
  auto two = make("two", 'b');
  expect_error(one.connect(two.address()).status(), StatusCode::kPermissionDenied, {"secret"});
  auto open = require(baton::Context::create(quiet_options("open")), "create");
  EXPECT_EQ(open.connect(two.address()).code(), StatusCode::kPermissionDenied);
}

TEST(BadOptions, SameSecretConnects) {
  TempDir dir;
  std::ofstream(dir.file("secret")) << "0123456789abcdefghijklmnopqrstuvwxyz";
  baton::ContextOptions options = quiet_options("one");
  options.secret_file = dir.file("secret");
  options.log_level = baton::LogLevel::kOff;
  auto one = require(baton::Context::create(options), "create");
  options.name = "two";
  auto two = require(baton::Context::create(options), "create");
  const auto peer = require(one.connect(two.address()), "connect");
  EXPECT_TRUE(require(one.describe_peer(peer), "describe_peer").authenticated);
}

TEST(BadOptions, NobodyListens) {
  auto context = require(baton::Context::create(quiet_options("x")), "create");
  expect_error(context.connect("baton://127.0.0.1:1/nobody?auth=none").status(),
               StatusCode::kUnavailable, {"127.0.0.1:1", "connect", "Connection refused"});
  expect_error(context.connect("not an address").status(), StatusCode::kInvalidArgument,
               {"not an address", "baton://"});
}

}  // namespace
}  // namespace baton_test
