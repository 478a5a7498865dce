#include "tests/unit/wire/sample_messages.h"

namespace baton_test {

using namespace baton;  // NOLINT(google-build-using-namespace)

namespace {

template <typename Array>
Array counted(uint8_t first) {
  Array bytes{};
  for (auto& byte : bytes) byte = first++;
  return bytes;
}

wire::SectionDescription sample_section() {
  wire::SectionDescription section;
  section.id = SectionId(7);
  section.name = "kv pool";
  section.kind = MemoryKind::kDram;
  section.length_bytes = 1u << 20;
  section.keys = {{RailIndex(0), 0x1122334455667788u, 0x7f0000000000u}, {RailIndex(1), 9, 0}};
  return section;
}

wire::CacheDescription sample_cache() { return {CacheId(3), "decode", sample_layout()}; }

std::vector<wire::Message> hello_messages() {
  wire::Hello hello;
  hello.protocol_min = 1;
  hello.protocol_max = 3;
  hello.features = 0xf0f0;
  hello.required_features = 0x10;
  hello.name = "prefill-0";
  hello.boot_id = counted<BootId>(1);
  hello.incarnation = 5;
  hello.nonce = counted<wire::HelloNonce>(100);
  hello.address = "baton://127.0.0.1:4000/prefill-0?auth=psk";
  hello.known_session = 77;
  hello.known_boot = {1, 2, 3};
  wire::Welcome welcome;
  welcome.version = 2;
  welcome.features = 0x30;
  welcome.name = "decode-0";
  welcome.boot_id = counted<BootId>(50);
  welcome.incarnation = 6;
  welcome.nonce = hello.nonce;
  welcome.session = 0xfedcba9876543210u;
  welcome.stream_key = counted<wire::StreamTicket>(7);
  wire::Welcome refusal;
  refusal.name = "decode-0";
  refusal.code = StatusCode::kMismatch;
  refusal.text = "no common protocol version";
  return {hello, welcome, refusal, sample_describe(), wire::Confirm{}};
}

wire::GrantOffer sample_kv_offer() {
  wire::GrantOffer offer;
  offer.grant = GrantId(0x8000000000000001u);
  offer.tag = std::string("req\0\xff", 5);
  offer.lease_ms = 20000;
  offer.deadline_ms = 30000;
  offer.target_cache = CacheId(1);
  offer.source_cache = CacheId(2);
  offer.tokens = {17, 1000};
  offer.block_lists = {{5, 1, 4, 0xffffffffu}, {}, {9}};
  offer.heads = {{3, 1}, {}, {0, kMaxHeads}};
  offer.slots = {{0, 0}, {wire::kMaxSlotIndex, wire::kMaxGeneration}};
  offer.units_per_slot = {12, 0xffffffffu};
  return offer;
}

wire::GrantOffer sample_range_offer() {
  wire::GrantOffer offer;
  offer.grant = GrantId(2);
  offer.kind = wire::GrantKind::kRanges;
  offer.ranges = {{SectionId(4), 0, 1}, {SectionId(5), 1u << 30, 1u << 20}};
  offer.allow_write = true;
  offer.allow_read = true;
  return offer;
}

wire::GrantOffer sample_read_offer() {
  wire::GrantOffer offer = sample_kv_offer();
  offer.kind = wire::GrantKind::kKvRead;
  offer.slots.clear();
  return offer;
}

}  // namespace

Layout sample_layout() {
  LayerGroup group;
  group.kind = GroupKind::kSlidingWindow;
  group.block_tokens = 16;
  group.window_tokens = 128;
  group.heads_total = 8;
  group.head_first = 4;
  group.heads = 4;
  group.head_elements = 64;
  group.dtype = DType::kF16;
  group.order = TokenOrder::kHND;
  group.tensors_per_layer = 2;
  group.num_blocks = 100;
  group.layers = {0, 2};
  group.places = {{SectionId(7), 0, 8192},
                  {SectionId(7), 8192, 8192},
                  {SectionId(8), 0, 9000},
                  {SectionId(8), 1, 8192}};
  return Layout{{group}};
}

wire::Describe sample_describe() {
  wire::Describe describe;
  describe.unit_bytes = 1u << 20;
  describe.heartbeat_interval_ms = 1000;
  describe.dead_after_ms = 5000;
  describe.rails = {{RailIndex(0), "tcp", "lo", 0x4a, {}},
                    {RailIndex(1), "loopback", "", 1, {1, 2, 3}, 64}};
  describe.sections = {sample_section()};
  describe.caches = {sample_cache()};
  return describe;
}

std::vector<wire::Message> sample_messages() {
  std::vector<wire::Message> all = hello_messages();
  all.emplace_back(wire::SectionsChanged{{sample_section()}, {SectionId(1), SectionId(2)}});
  all.emplace_back(wire::CachesChanged{{sample_cache()}, {CacheId(9)}});
  all.emplace_back(wire::Heartbeat{1, 2, 3, 4});
  all.emplace_back(wire::Goodbye{StatusCode::kPeerLost, "it shut down"});
  all.emplace_back(wire::PathRequest{PathEpoch(4), RailIndex(1), RailIndex(2), {9, 8, 7}, 3});
  all.emplace_back(wire::PathReply{
      PathEpoch(4), StatusCode::kPathLost, "no", {1}, counted<wire::StreamTicket>(200)});
  all.emplace_back(sample_kv_offer());
  all.emplace_back(sample_range_offer());
  all.emplace_back(wire::Cancel{GrantId(6), StatusCode::kDeadlineExceeded, "too late"});
  all.emplace_back(
      wire::Quiesced{GrantId(6), {{PathEpoch(4), false, {1, 2, 3}}, {PathEpoch(5), true, {}}}});
  all.emplace_back(wire::GrantEnd{GrantId(6), StatusCode::kCancelled, 42, "cancelled"});
  all.emplace_back(wire::GrantEndAck{GrantId(6)});
  all.emplace_back(wire::Fence{PathEpoch(4)});
  all.emplace_back(wire::Fenced{PathEpoch(4), {{GrantId(6), 3, 63, 99}, {GrantId(7), 0, 0, 0}}});
  all.emplace_back(wire::Notify{123, {0, 255, 1}});
  all.emplace_back(wire::Settle{GrantId(6), 2, {{3, 63, 99}, {4, 0, 1}}});
  all.emplace_back(wire::Credits{PathEpoch(4), 77});
  all.emplace_back(sample_read_offer());
  all.emplace_back(
      wire::ReadStart{GrantId(6), {{0, 0}, {wire::kMaxSlotIndex, wire::kMaxGeneration}}, {1, 9}});
  all.emplace_back(wire::ReadDone{GrantId(6), StatusCode::kDeadlineExceeded, 42, "too late"});
  all.emplace_back(wire::StateRequest{wire::StateFormat::kJson});
  all.emplace_back(wire::StateReply{std::string("two\nlines\0", 10)});
  return all;
}

}  // namespace baton_test
