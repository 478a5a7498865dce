// A peer that speaks the protocol and lies, or says what nobody asked for: it is refused or
// dropped, is told why, and nothing of it aborts or grows without bound. The peer is a control
// plane whose messages this test writes.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "plugins/tcp/frame.h"
#include "src/counter/immediate.h"
#include "src/handoff/inbox.h"
#include "tests/integration/rig.h"
#include "tests/support/wait_until.h"
#include "tests/unit/control/endpoint.h"

namespace baton_test {
namespace {

using baton::CacheId;
using baton::GrantId;
using baton::PathEpoch;
using baton::PeerId;
using baton::RailIndex;
using baton::SectionId;
using baton::Status;
using baton::StatusCode;
namespace wire = baton::wire;

constexpr uint64_t kSectionBytes = 4096;
constexpr PathEpoch kEpoch{7};
constexpr uint64_t kBlockBytes = 4 * 16 * 2;

// One layer of eight blocks of four tokens, each block one unit.
baton::LayerGroup small_group(SectionId section, uint64_t offset_bytes) {
  baton::LayerGroup group;
  group.block_tokens = 4;
  group.heads_total = group.heads = 1;
  group.head_elements = 16;
  group.tensors_per_layer = 1;
  group.num_blocks = 8;
  group.layers = {0};
  group.places = {{section, offset_bytes, kBlockBytes}};
  return group;
}

// A write of `value` to one range.
void append_write(std::vector<uint8_t>& bytes, const baton_tcp::FrameHeader& header,
                  const baton_tcp::Run& run, uint8_t value) {
  const size_t begin = bytes.size();
  bytes.resize(begin + baton_tcp::kHeaderBytes + baton_tcp::kRunBytes);
  baton_tcp::encode_header(header, &bytes[begin]);
  baton_tcp::encode_run(run, &bytes[begin + baton_tcp::kHeaderBytes]);
  bytes.resize(bytes.size() + run.length_bytes, value);
}

class HostilePeer : public testing::Test {
 protected:
  // The honest side's Section over `memory`, and its cache of one block after another there.
  baton::Section register_mine(std::vector<uint8_t>& memory) {
    baton::SectionOptions options;
    options.name = "mine";
    options.address = memory.data();
    options.length_bytes = memory.size();
    return require(honest_->register_section(options), "register_section");
  }
  baton::KvCache publish_mine(const baton::Section& section) {
    baton::CacheOptions cache;
    cache.name = "mine";
    cache.layout.groups = {small_group(section.id(), 0)};
    return require(honest_->publish_cache(cache), "publish_cache");
  }

  HostilePeer() : hostile_(test_options("hostile")) {
    require_ok(hostile_.started(), "ControlPlane::start");
    hostile_.describe = wire::Describe{};
    hostile_.describe.unit_bytes = wire::kMinUnitBytes;
    hostile_.describe.heartbeat_interval_ms = 1000;
    hostile_.describe.dead_after_ms = 5000;
    wire::RailDescription rail;
    rail.plugin = "tcp";
    hostile_.describe.rails.push_back(rail);
    wire::SectionDescription section;
    section.id = SectionId(1);
    section.name = "theirs";
    section.length_bytes = kSectionBytes;
    // As near to the end of the address space as it goes.
    section.keys.push_back({RailIndex(0), 1, UINT64_MAX - kSectionBytes});
    hostile_.describe.sections.push_back(section);
  }

  void open(baton::ContextOptions options) {
    honest_ = std::make_unique<baton::Context>(
        require(baton::Context::create(std::move(options)), "Context::create"));
  }

  void dial() {
    peer_ = hostile_.dial_and_wait(honest_->address());
    if (!peer_) require_ok(Status(StatusCode::kPeerLost, "no peer"), "dial");
  }

  void send(const wire::Message& message) {
    require_ok(hostile_.plane().send(peer_, message), wire::message_name(message));
  }

  // The first T that the honest side said, from the nth of its messages on.
  template <typename T>
  std::optional<T> heard(size_t from = 0) {
    std::optional<T> out;
    hostile_.wait_for([&] {
      for (size_t i = from; i < hostile_.messages.size() && !out.has_value(); ++i) {
        if (const T* one = std::get_if<T>(&hostile_.messages[i].second)) out = *one;
      }
      return out.has_value();
    });
    return out;
  }

  static wire::GrantOffer ranges(uint64_t id) {
    wire::GrantOffer offer;
    offer.grant = GrantId(id);
    offer.kind = wire::GrantKind::kRanges;
    offer.tag = "r" + std::to_string(id);
    offer.lease_ms = offer.deadline_ms = 20000;
    offer.allow_write = true;
    offer.ranges.push_back({SectionId(1), 0, 64});
    return offer;
  }

  // Up to the Path, as every peer: what it lies about comes later.
  void connect(baton::ContextOptions options = quiet_options("honest")) {
    open(std::move(options));
    dial();
    open_path();
  }

  void open_path() {
    send(wire::PathRequest{kEpoch, RailIndex(0), RailIndex(0), {}});
    const auto reply = heard<wire::PathReply>();
    ASSERT_TRUE(reply.has_value());
    ASSERT_EQ(reply->code, StatusCode::kOk) << reply->error;
    hostile_.plane().open_stream(peer_, kEpoch, reply->ticket);
    stream_ = hostile_.wait_stream();
    ASSERT_TRUE(stream_.is_valid());
    honest_peer_ = next_event(*honest_, baton::EventKind::kPeerUp).peer;
  }

  void describe_cache(const baton::LayerGroup& group) {
    wire::CacheDescription theirs;
    theirs.id = CacheId(3);
    theirs.name = "theirs";
    theirs.layout.groups = {group};
    hostile_.describe.caches.push_back(theirs);
  }

  // What the honest side says on the stream, `count` bytes of it.
  std::vector<uint8_t> read_stream(size_t count) {
    std::vector<uint8_t> bytes;
    while (bytes.size() < count) {
      pollfd ready{stream_.get(), POLLIN, 0};
      if (::poll(&ready, 1, 20000) != 1) break;
      uint8_t next[64];
      const ssize_t got =
          ::recv(stream_.get(), next, std::min(sizeof(next), count - bytes.size()), 0);
      if (got <= 0) break;
      bytes.insert(bytes.end(), next, next + got);
    }
    return bytes;
  }

  void expect_dropped(StatusCode code, const std::string& word) {
    const std::optional<Status> down = hostile_.wait_down(peer_);
    ASSERT_TRUE(down.has_value()) << "it was not dropped";
    EXPECT_EQ(down->code(), code) << down->to_string();
    EXPECT_NE(down->message().find(word), std::string::npos) << down->to_string();
  }

  Endpoint hostile_;
  std::unique_ptr<baton::Context> honest_;
  baton::base::UniqueFd stream_;
  PeerId peer_;         // the honest side, to the hostile one
  PeerId honest_peer_;  // the hostile side, to the honest one
};

TEST_F(HostilePeer, AsksForASecondPath) {
  connect();
  send(wire::PathRequest{PathEpoch(8), RailIndex(0), RailIndex(0), {}});
  expect_dropped(StatusCode::kProtocolError, "PathRequest");
}

TEST_F(HostilePeer, AnswersAPathRequestThatNobodySent) {
  connect();
  send(wire::PathReply{kEpoch, StatusCode::kOk, "", {}, {}});
  expect_dropped(StatusCode::kProtocolError, "PathReply");
}

TEST_F(HostilePeer, OffersBytesPastTheEndOfItsSection) {
  connect();
  std::vector<uint8_t> memory(64);
  const auto section = register_mine(memory);
  wire::GrantOffer offer = ranges(9);
  // Its key's base and this offset add up to an address past 2^64.
  offer.ranges[0] = {SectionId(1), kSectionBytes - 32, 64};
  send(offer);
  const auto seen = require(honest_->wait_offer("r9", 20000), "wait_offer");
  baton::RawRequest request;
  request.grant = seen.id;
  request.local_section = section.id();
  request.remote_section = SectionId(1);
  request.runs = {{0, kSectionBytes - 32, 64}};
  const auto refused = honest_->write(request);
  EXPECT_EQ(refused.code(), StatusCode::kOutOfRange) << refused.status().to_string();
  EXPECT_NE(refused.status().message().find("4096 bytes"), std::string::npos)
      << refused.status().to_string();
  request.runs = {{0, kSectionBytes - 32, 32}};
  EXPECT_TRUE(honest_->write(request).is_ok()) << "what lies within is well";
}

TEST_F(HostilePeer, OffersACacheThatPassesTheEndOfItsSection) {
  describe_cache(small_group(SectionId(1), kSectionBytes - kBlockBytes));
  connect();

  std::vector<uint8_t> memory(kBlockBytes * 8);
  const auto section = register_mine(memory);
  const auto mine = publish_mine(section);

  wire::GrantOffer offer;
  offer.grant = GrantId(9);
  offer.tag = "kv";
  offer.lease_ms = offer.deadline_ms = 20000;
  offer.target_cache = CacheId(3);
  offer.source_cache = mine.id();
  offer.tokens = {0, 4};
  offer.block_lists = {{7}};
  offer.slots = {{0, 0}};
  offer.units_per_slot = {1};
  send(offer);
  baton::PushRequest push;
  push.grant = require(honest_->wait_offer("kv", 20000), "wait_offer").id;
  push.cache = mine.id();
  push.block_lists = {{0}};
  const auto refused = honest_->push(push);
  EXPECT_EQ(refused.code(), StatusCode::kOutOfRange) << refused.status().to_string();
  EXPECT_NE(refused.status().message().find("section 1"), std::string::npos)
      << refused.status().to_string();
}

// The pages are the application's from the moment at which the Gate opens; here more of the
// writer's bytes are in the receiver's buffer by then.
TEST_F(HostilePeer, WritesBehindTheLastUnitOfAHandoff) {
  describe_cache(small_group(SectionId(1), 0));
  connect();
  std::vector<uint8_t> memory(kBlockBytes * 8, 0xee);
  const auto section = register_mine(memory);
  const auto mine = publish_mine(section);
  const auto described = heard<wire::SectionsChanged>();
  ASSERT_TRUE(described.has_value());
  const auto key = described->added.at(0).keys.at(0);

  baton::GrantRequest request;
  request.peer = honest_peer_;
  request.cache = mine.id();
  request.source_cache = "theirs";
  request.tag = "kv";
  request.tokens = {0, 4};
  request.block_lists = {{5}};
  auto grant = require(honest_->grant(request), "grant");
  const auto offer = heard<wire::GrantOffer>();
  ASSERT_TRUE(offer.has_value());
  ASSERT_EQ(offer->units_per_slot, std::vector<uint32_t>{1});

  baton_tcp::FrameHeader write;
  write.type = baton_tcp::FrameType::kWrite;
  write.run_count = 1;
  write.payload_bytes = kBlockBytes;
  write.grant = offer->grant.value;
  const baton_tcp::Run block{key.key, key.base + 5 * kBlockBytes, kBlockBytes};
  baton_tcp::FrameHeader counted = write;
  counted.flags = baton_tcp::kFlagImmediate;
  counted.immediate = baton::counter::pack(
      {baton::counter::SlotIndex(offer->slots.at(0).slot), offer->slots.at(0).generation, 1});
  std::vector<uint8_t> bytes;
  append_write(bytes, counted, block, 0x11);
  append_write(bytes, write, block, 0x22);
  const size_t end = bytes.size();
  bytes.resize(end + baton_tcp::kHeaderBytes);
  baton_tcp::FrameHeader flush;
  flush.type = baton_tcp::FrameType::kFlush;
  baton_tcp::encode_header(flush, &bytes[end]);
  ASSERT_EQ(::send(stream_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));

  // Its answer says that the Path lives, and that nothing more of this comes.
  EXPECT_EQ(read_stream(baton_tcp::kHeaderBytes).size(), baton_tcp::kHeaderBytes);
  EXPECT_TRUE(grant.wait(20000).is_ok()) << grant.status().to_string();
  std::vector<uint8_t> expected(memory.size(), 0xee);
  std::fill_n(expected.begin() + 5 * kBlockBytes, kBlockBytes, uint8_t{0x11});
  EXPECT_EQ(compare_bytes(expected, memory), "");
}

// It dialled, and its Path comes late: a connect() that is told to join it and gives up ends
// nothing.
TEST_F(HostilePeer, OpensItsPathAfterAConnectHasGivenUp) {
  open(quiet_options("honest"));
  dial();
  EXPECT_EQ(honest_->connect(hostile_.address(), 300).code(), StatusCode::kDeadlineExceeded);
  open_path();
  EXPECT_FALSE(hostile_.is_down(peer_));
  EXPECT_EQ(require(honest_->connect(hostile_.address(), 20000), "connect"), honest_peer_);
}

TEST_F(HostilePeer, OffersMoreGrantsThanAreKept) {
  baton::ContextOptions options = quiet_options("honest");
  options.max_live = 4;
  connect(std::move(options));
  for (uint64_t id = 1; id <= 5; ++id) send(ranges(id));
  const auto refused = heard<wire::Cancel>();
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->grant, GrantId(5));
  EXPECT_EQ(refused->code, StatusCode::kExhausted);
  EXPECT_NE(refused->reason.find("4 offers"), std::string::npos) << refused->reason;
  for (uint64_t id = 1; id <= 4; ++id) {
    const std::string tag = "r" + std::to_string(id);
    EXPECT_EQ(require(honest_->wait_offer(tag, 20000), "wait_offer").id, GrantId(id));
  }
  EXPECT_EQ(honest_->wait_offer("r5", 0).code(), StatusCode::kDeadlineExceeded);
  // The end of one makes room for one.
  send(wire::Cancel{GrantId(2), StatusCode::kCancelled, "enough"});
  ASSERT_TRUE(heard<wire::Quiesced>().has_value());
  send(ranges(6));
  EXPECT_EQ(require(honest_->wait_offer("r6", 20000), "wait_offer").id, GrantId(6));
}

TEST_F(HostilePeer, OffersMoreBytesOfGrantsThanAreKept) {
  connect();
  wire::GrantOffer large = ranges(1);
  large.ranges.resize(wire::kMaxRanges, large.ranges.front());
  const uint64_t kept = (uint64_t{256} << 20) / baton::handoff::held_bytes(large);
  const auto offer = [&](uint64_t id) {
    large.grant = GrantId(id);
    large.tag = "large" + std::to_string(id);
    Status sent;
    // BUSY: what was said before has not left yet.
    wait_until([&] {
      sent = hostile_.plane().send(peer_, large);
      return sent.code() != StatusCode::kBusy;
    });
    require_ok(sent, "GrantOffer");
  };
  for (uint64_t id = 1; id <= kept + 1; ++id) offer(id);
  const auto refused = heard<wire::Cancel>();
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->grant, GrantId(kept + 1));
  EXPECT_EQ(refused->code, StatusCode::kExhausted);
  EXPECT_NE(refused->reason.find("bytes"), std::string::npos) << refused->reason;
  EXPECT_TRUE(honest_->wait_offer("large" + std::to_string(kept), 20000).is_ok());
  EXPECT_EQ(honest_->wait_offer("large" + std::to_string(kept + 1), 0).code(),
            StatusCode::kDeadlineExceeded);
  // A small one has room still, and the end of a large one makes room for another.
  send(ranges(kept + 2));
  EXPECT_TRUE(honest_->wait_offer("r" + std::to_string(kept + 2), 20000).is_ok());
  send(wire::Cancel{GrantId(1), StatusCode::kCancelled, "enough"});
  offer(kept + 3);
  EXPECT_TRUE(honest_->wait_offer("large" + std::to_string(kept + 3), 20000).is_ok());
}

TEST_F(HostilePeer, OffersAGrantThatIsOnOfferAlready) {
  connect();
  send(ranges(1));
  wire::GrantOffer again = ranges(1);
  again.tag = "again";
  send(again);
  const auto refused = heard<wire::Cancel>();
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->grant, GrantId(1));
  EXPECT_EQ(refused->code, StatusCode::kFailedPrecondition) << refused->reason;
  EXPECT_EQ(honest_->wait_offer("again", 0).code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(honest_->wait_offer("r1", 0).is_ok());
}

// Of offers with one tag the oldest is handed out, whatever their ids.
TEST_F(HostilePeer, OffersOneTagTwice) {
  connect();
  wire::GrantOffer second = ranges(3);
  second.tag = "r9";
  send(ranges(9));
  send(second);
  ASSERT_TRUE(next_event(*honest_, baton::EventKind::kGrantOffered).grant == GrantId(9));
  ASSERT_TRUE(next_event(*honest_, baton::EventKind::kGrantOffered).grant == GrantId(3));
  EXPECT_EQ(require(honest_->wait_offer("r9", 20000), "wait_offer").id, GrantId(9));
}

// It holds one Grant, and would offer the next ones to others before their owner does.
TEST_F(HostilePeer, CannotTellTheNextGrant) {
  connect();
  std::vector<uint8_t> memory(64);
  const auto section = register_mine(memory);
  baton::RangeGrantRequest request;
  request.peer = honest_peer_;
  request.ranges.push_back({section.id(), 0, 64});
  request.allow_write = true;
  const auto first = require(honest_->grant_ranges(request), "grant_ranges");
  const auto next = require(honest_->grant_ranges(request), "grant_ranges");
  // Neither among the 2^32 that follow it nor among those before: by chance, once in 2^31 runs.
  EXPECT_GT(next.id().value - first.id().value, uint64_t{1} << 32);
  EXPECT_GT(first.id().value - next.id().value, uint64_t{1} << 32);
}

TEST_F(HostilePeer, DescribesMoreSectionsThanArePossible) {
  connect();
  wire::SectionsChanged changed;
  changed.added.resize(wire::kMaxSections);
  for (uint32_t i = 0; i < wire::kMaxSections; ++i) changed.added[i].id = SectionId(i + 2);
  send(changed);
  expect_dropped(StatusCode::kExhausted, "65537 sections");
}

}  // namespace
}  // namespace baton_test
