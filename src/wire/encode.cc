#include <algorithm>
#include <optional>
#include <utility>

#include "baton_wire_generated/control_generated.h"
#include "src/base/assert.h"
#include "src/wire/layout_codec.h"
#include "src/wire/messages.h"
#include "src/wire/validate.h"

namespace baton::wire {

namespace {

using Builder = flatbuffers::FlatBufferBuilder;

struct EncodedBody {
  fb::Body type;
  flatbuffers::Offset<void> offset;
};

fb::Bytes16 bytes16(const std::array<uint8_t, 16>& bytes) {
  return fb::Bytes16(flatbuffers::span<const uint8_t, 16>(bytes.data(), 16));
}

fb::Bytes32 bytes32(const std::array<uint8_t, 32>& bytes) {
  return fb::Bytes32(flatbuffers::span<const uint8_t, 32>(bytes.data(), 32));
}

uint8_t number(StatusCode code) { return static_cast<uint8_t>(code); }

EncodedBody add(Builder& b, const Hello& m) {
  const fb::Bytes16 boot_id = bytes16(m.boot_id);
  const fb::Bytes16 nonce = bytes16(m.nonce);
  const fb::Bytes16 known_boot = bytes16(m.known_boot);
  const auto name = b.CreateString(m.name);
  const auto address = b.CreateString(m.address);
  return {fb::Body::Hello,
          fb::CreateHello(b, m.protocol_min, m.protocol_max, m.features, m.required_features, name,
                          &boot_id, m.incarnation, &nonce, address, m.known_session, &known_boot,
                          static_cast<uint8_t>(m.role))
              .Union()};
}

EncodedBody add(Builder& b, const Welcome& m) {
  const fb::Bytes16 boot_id = bytes16(m.boot_id);
  const fb::Bytes16 nonce = bytes16(m.nonce);
  const fb::Bytes32 stream_key = bytes32(m.stream_key);
  const auto name = b.CreateString(m.name);
  const auto text = b.CreateString(m.text);
  return {fb::Body::Welcome,
          fb::CreateWelcome(b, m.version, m.features, name, &boot_id, m.incarnation, &nonce,
                            m.session, &stream_key, number(m.code), text)
              .Union()};
}

flatbuffers::Offset<fb::Rail> add_rail(Builder& b, const RailDescription& rail) {
  const auto plugin = b.CreateString(rail.plugin);
  const auto device = b.CreateString(rail.device);
  const auto address = b.CreateVector(rail.address);
  return fb::CreateRail(b, rail.rail.value, plugin, device, rail.capabilities, address,
                        rail.receive_depth);
}

flatbuffers::Offset<fb::Section> add_section(Builder& b, const SectionDescription& section) {
  std::vector<fb::RegionKey> keys;
  keys.reserve(section.keys.size());
  for (const RegionKey& key : section.keys) keys.emplace_back(key.key, key.base, key.rail.value);
  const auto name = b.CreateString(section.name);
  const auto key_vector = b.CreateVectorOfStructs(keys);
  return fb::CreateSection(b, section.id.value, name, static_cast<uint8_t>(section.kind),
                           section.length_bytes, key_vector);
}

flatbuffers::Offset<fb::Cache> add_cache(Builder& b, const CacheDescription& cache) {
  const auto name = b.CreateString(cache.name);
  const auto layout = add_layout(b, cache.layout);
  return fb::CreateCache(b, cache.id.value, name, layout);
}

template <typename Offset, typename Item>
auto add_list(Builder& b, const std::vector<Item>& items,
              Offset (*add_item)(Builder&, const Item&)) {
  std::vector<Offset> offsets;
  offsets.reserve(items.size());
  for (const Item& item : items) offsets.push_back(add_item(b, item));
  return b.CreateVector(offsets);
}

template <typename IdType>
auto add_ids(Builder& b, const std::vector<IdType>& ids) {
  std::vector<uint32_t> values;
  values.reserve(ids.size());
  for (const IdType& id : ids) values.push_back(id.value);
  return b.CreateVector(values);
}

EncodedBody add(Builder& b, const Describe& m) {
  const auto rails = add_list(b, m.rails, add_rail);
  const auto sections = add_list(b, m.sections, add_section);
  const auto caches = add_list(b, m.caches, add_cache);
  return {fb::Body::Describe, fb::CreateDescribe(b, m.unit_bytes, m.heartbeat_interval_ms,
                                                 m.dead_after_ms, rails, sections, caches)
                                  .Union()};
}

EncodedBody add(Builder& b, const Confirm&) {
  return {fb::Body::Confirm, fb::CreateConfirm(b).Union()};
}

EncodedBody add(Builder& b, const SectionsChanged& m) {
  const auto added = add_list(b, m.added, add_section);
  const auto withdrawn = add_ids(b, m.withdrawn);
  return {fb::Body::SectionsChanged, fb::CreateSectionsChanged(b, added, withdrawn).Union()};
}

EncodedBody add(Builder& b, const CachesChanged& m) {
  const auto added = add_list(b, m.added, add_cache);
  const auto withdrawn = add_ids(b, m.withdrawn);
  return {fb::Body::CachesChanged, fb::CreateCachesChanged(b, added, withdrawn).Union()};
}

EncodedBody add(Builder& b, const Heartbeat& m) {
  return {fb::Body::Heartbeat,
          fb::CreateHeartbeat(b, m.seq, m.echo, m.probe, m.probe_echo).Union()};
}

EncodedBody add(Builder& b, const Goodbye& m) {
  const auto reason = b.CreateString(m.reason);
  return {fb::Body::Goodbye, fb::CreateGoodbye(b, number(m.code), reason).Union()};
}

EncodedBody add(Builder& b, const PathRequest& m) {
  const auto address = b.CreateVector(m.address);
  return {fb::Body::PathRequest, fb::CreatePathRequest(b, m.epoch.value, m.requester_rail.value,
                                                       m.responder_rail.value, address, m.ordinal)
                                     .Union()};
}

EncodedBody add(Builder& b, const PathReply& m) {
  const fb::Bytes32 ticket = bytes32(m.ticket);
  const auto error = b.CreateString(m.error);
  const auto address = b.CreateVector(m.address);
  return {fb::Body::PathReply,
          fb::CreatePathReply(b, m.epoch.value, number(m.code), error, address, &ticket).Union()};
}

flatbuffers::Offset<fb::BlockList> add_blocks(Builder& b, const std::vector<uint32_t>& blocks) {
  return fb::CreateBlockList(b, b.CreateVector(blocks));
}

auto add_slots(Builder& b, const std::vector<SlotReference>& slots) {
  std::vector<fb::Slot> out;
  out.reserve(slots.size());
  for (const SlotReference& slot : slots) out.emplace_back(slot.slot, slot.generation);
  return b.CreateVectorOfStructs(out);
}

EncodedBody add(Builder& b, const GrantOffer& m) {
  std::vector<fb::Range> ranges;
  ranges.reserve(m.ranges.size());
  for (const GrantRange& range : m.ranges) {
    ranges.emplace_back(range.section.value, range.offset_bytes, range.length_bytes);
  }
  const auto tag = b.CreateVector(reinterpret_cast<const uint8_t*>(m.tag.data()), m.tag.size());
  const auto lists = add_list(b, m.block_lists, add_blocks);
  const auto slot_vector = add_slots(b, m.slots);
  const auto units = b.CreateVector(m.units_per_slot);
  const auto range_vector = b.CreateVectorOfStructs(ranges);
  std::vector<fb::HeadRange> heads;
  heads.reserve(m.heads.size());
  for (const HeadRange& range : m.heads) heads.emplace_back(range.first, range.count);
  const auto head_vector = b.CreateVectorOfStructs(heads);
  return {
      fb::Body::GrantOffer,
      fb::CreateGrantOffer(b, m.grant.value, static_cast<uint8_t>(m.kind), tag, m.lease_ms,
                           m.deadline_ms, m.target_cache.value, m.source_cache.value,
                           m.tokens.begin, m.tokens.end, lists, slot_vector, units, range_vector,
                           m.allow_write ? 1 : 0, m.allow_read ? 1 : 0, head_vector)
          .Union()};
}

EncodedBody add(Builder& b, const Cancel& m) {
  const auto reason = b.CreateString(m.reason);
  return {fb::Body::Cancel, fb::CreateCancel(b, m.grant.value, number(m.code), reason).Union()};
}

flatbuffers::Offset<fb::QuiescedPath> add_quiesced(Builder& b, const Quiesced::OnPath& path) {
  const auto signalled = b.CreateVector(path.signalled);
  return fb::CreateQuiescedPath(b, path.epoch.value, path.broken ? 1 : 0, signalled);
}

EncodedBody add(Builder& b, const Quiesced& m) {
  const auto paths = add_list(b, m.paths, add_quiesced);
  return {fb::Body::Quiesced, fb::CreateQuiesced(b, m.grant.value, paths).Union()};
}

EncodedBody add(Builder& b, const GrantEnd& m) {
  const auto message = b.CreateString(m.message);
  return {fb::Body::GrantEnd,
          fb::CreateGrantEnd(b, m.grant.value, number(m.verdict), m.units, message).Union()};
}

EncodedBody add(Builder& b, const GrantEndAck& m) {
  return {fb::Body::GrantEndAck, fb::CreateGrantEndAck(b, m.grant.value).Union()};
}

EncodedBody add(Builder& b, const Fence& m) {
  return {fb::Body::Fence, fb::CreateFence(b, m.epoch.value).Union()};
}

EncodedBody add(Builder& b, const Fenced& m) {
  std::vector<fb::Applied> applied;
  applied.reserve(m.applied.size());
  for (const Fenced::Applied& one : m.applied) {
    applied.emplace_back(one.grant.value, one.ordinal, one.generation, one.units);
  }
  const auto vector = b.CreateVectorOfStructs(applied);
  return {fb::Body::Fenced, fb::CreateFenced(b, m.epoch.value, vector).Union()};
}

EncodedBody add(Builder& b, const Notify& m) {
  const auto bytes = b.CreateVector(m.bytes);
  return {fb::Body::Notify, fb::CreateNotify(b, m.tag, bytes).Union()};
}

EncodedBody add(Builder& b, const Settle& m) {
  std::vector<fb::Settled> settled;
  settled.reserve(m.settled.size());
  for (const Settle::Settled& one : m.settled)
    settled.emplace_back(one.ordinal, one.generation, one.units);
  const auto vector = b.CreateVectorOfStructs(settled);
  return {fb::Body::Settle, fb::CreateSettle(b, m.grant.value, m.seq, vector).Union()};
}

EncodedBody add(Builder& b, const Credits& m) {
  return {fb::Body::Credits, fb::CreateCredits(b, m.epoch.value, m.returned).Union()};
}

EncodedBody add(Builder& b, const ReadStart& m) {
  const auto slots = add_slots(b, m.slots);
  const auto units = b.CreateVector(m.units_per_slot);
  return {fb::Body::ReadStart, fb::CreateReadStart(b, m.grant.value, slots, units).Union()};
}

EncodedBody add(Builder& b, const ReadDone& m) {
  const auto message = b.CreateString(m.message);
  return {fb::Body::ReadDone,
          fb::CreateReadDone(b, m.grant.value, number(m.code), m.units, message).Union()};
}

EncodedBody add(Builder& b, const StateRequest& m) {
  return {fb::Body::StateRequest,
          fb::CreateStateRequest(b, static_cast<uint8_t>(m.format)).Union()};
}

EncodedBody add(Builder& b, const StateReply& m) {
  const auto text = b.CreateVector(reinterpret_cast<const uint8_t*>(m.text.data()), m.text.size());
  return {fb::Body::StateReply, fb::CreateStateReply(b, text).Union()};
}

// Texts for people are composed from anything; they are mended where a name would be refused. A
// copy is made only of the few messages that carry such a text; none of them is big.
std::optional<Message> mended(const Message& message) {
  if (const auto* m = std::get_if<Welcome>(&message)) {
    Welcome copy = *m;
    copy.text = printable(copy.text);
    return copy;
  }
  if (const auto* m = std::get_if<Goodbye>(&message)) return Goodbye{m->code, printable(m->reason)};
  if (const auto* m = std::get_if<Cancel>(&message))
    return Cancel{m->grant, m->code, printable(m->reason)};
  if (const auto* m = std::get_if<GrantEnd>(&message)) {
    return GrantEnd{m->grant, m->verdict, m->units, printable(m->message)};
  }
  if (const auto* m = std::get_if<ReadDone>(&message)) {
    return ReadDone{m->grant, m->code, m->units, printable(m->message)};
  }
  if (const auto* m = std::get_if<PathReply>(&message)) {
    PathReply copy = *m;
    copy.error = printable(copy.error);
    return copy;
  }
  return std::nullopt;
}

}  // namespace

Result<std::vector<uint8_t>> encode(const Message& original) {
  const std::optional<Message> copy = mended(original);
  const Message& message = copy ? *copy : original;
  BATON_RETURN_IF_ERROR(validate(message));
  Builder builder(512);
  const EncodedBody body = std::visit([&](const auto& m) { return add(builder, m); }, message);
  builder.Finish(fb::CreateEnvelope(builder, body.type, body.offset));
  const size_t size = builder.GetSize();
  const size_t limit = std::holds_alternative<Hello>(message) ? kMaxHelloBytes : kMaxMessageBytes;
  if (size > limit) {
    return Status(StatusCode::kOutOfRange, std::string(message_name(message)) + ": encodes to " +
                                               std::to_string(size) + " bytes, at most " +
                                               std::to_string(limit) + " are allowed");
  }
  std::vector<uint8_t> frame(kFramePrefixBytes + size);
  for (size_t i = 0; i < kFramePrefixBytes; ++i) frame[i] = static_cast<uint8_t>(size >> (8 * i));
  std::copy_n(builder.GetBufferPointer(), size, frame.begin() + kFramePrefixBytes);
  return frame;
}

}  // namespace baton::wire
