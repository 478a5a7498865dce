#include <cstring>
#include <utility>

#include "baton_wire_generated/control_generated.h"
#include "src/wire/layout_codec.h"
#include "src/wire/messages.h"
#include "src/wire/reader.h"
#include "src/wire/validate.h"

namespace baton::wire {

namespace {

template <typename Fixed, size_t N>
void read_fixed(const Fixed* in, std::array<uint8_t, N>& out) {
  static_assert(sizeof(Fixed) == N);
  std::memcpy(out.data(), in, N);
}

void read(Reader& r, const fb::Hello& in, Hello& out) {
  out.protocol_min = in.protocol_min();
  out.protocol_max = in.protocol_max();
  out.features = in.features();
  out.required_features = in.required_features();
  r.text("name", in.name(), out.name);
  read_fixed(in.boot_id(), out.boot_id);
  out.incarnation = in.incarnation();
  read_fixed(in.nonce(), out.nonce);
  r.text("address", in.address(), out.address);
  out.known_session = in.known_session();
  read_fixed(in.known_boot(), out.known_boot);
  out.role = HelloRole{in.role()};
}

void read(Reader& r, const fb::Welcome& in, Welcome& out) {
  out.version = in.version();
  out.features = in.features();
  r.text("name", in.name(), out.name);
  read_fixed(in.boot_id(), out.boot_id);
  out.incarnation = in.incarnation();
  read_fixed(in.nonce(), out.nonce);
  out.session = in.session();
  read_fixed(in.stream_key(), out.stream_key);
  out.code = StatusCode{in.code()};
  r.text("text", in.text(), out.text);
}

void read_rail(Reader& r, const fb::Rail& in, RailDescription& out) {
  out.rail = RailIndex(in.rail());
  r.text("rail.plugin", in.plugin(), out.plugin);
  r.text("rail.device", in.device(), out.device);
  out.capabilities = in.capabilities();
  r.scalars("rail.address", in.address(), out.address);
  out.receive_depth = in.receive_depth();
}

void read_section(Reader& r, const fb::Section& in, SectionDescription& out) {
  out.id = SectionId(in.id());
  r.text("section.name", in.name(), out.name);
  out.kind = MemoryKind{in.kind()};
  out.length_bytes = in.length_bytes();
  r.structs("section.keys", in.keys(), out.keys, [](const fb::RegionKey& key) {
    return RegionKey{RailIndex(key.rail()), key.key(), key.base()};
  });
}

void read_cache(Reader& r, const fb::Cache& in, CacheDescription& out) {
  out.id = CacheId(in.id());
  r.text("cache.name", in.name(), out.name);
  read_layout(r, *in.layout(), out.layout);
}

void read(Reader& r, const fb::Describe& in, Describe& out) {
  out.unit_bytes = in.unit_bytes();
  out.heartbeat_interval_ms = in.heartbeat_interval_ms();
  out.dead_after_ms = in.dead_after_ms();
  r.tables("rails", in.rails(), kMaxRails, out.rails, read_rail);
  r.tables("sections", in.sections(), kMaxSections, out.sections, read_section);
  r.tables("caches", in.caches(), kMaxCaches, out.caches, read_cache);
}

void read(Reader&, const fb::Confirm&, Confirm&) {}

template <typename IdType>
void read_ids(Reader& r, const flatbuffers::Vector<uint32_t>* in, std::vector<IdType>& out) {
  std::vector<uint32_t> values;
  r.scalars("withdrawn", in, values);
  out.reserve(values.size());
  for (const uint32_t value : values) out.emplace_back(value);
}

void read(Reader& r, const fb::SectionsChanged& in, SectionsChanged& out) {
  r.tables("added", in.added(), kMaxSections, out.added, read_section);
  read_ids(r, in.withdrawn(), out.withdrawn);
}

void read(Reader& r, const fb::CachesChanged& in, CachesChanged& out) {
  r.tables("added", in.added(), kMaxCaches, out.added, read_cache);
  read_ids(r, in.withdrawn(), out.withdrawn);
}

void read(Reader&, const fb::Heartbeat& in, Heartbeat& out) {
  out = Heartbeat{in.seq(), in.echo(), in.probe(), in.probe_echo()};
}

void read(Reader& r, const fb::Goodbye& in, Goodbye& out) {
  out.code = StatusCode{in.code()};
  r.text("reason", in.reason(), out.reason);
}

void read(Reader& r, const fb::PathRequest& in, PathRequest& out) {
  out.epoch = PathEpoch(in.epoch());
  out.requester_rail = RailIndex(in.requester_rail());
  out.responder_rail = RailIndex(in.responder_rail());
  r.scalars("address", in.address(), out.address);
  out.ordinal = in.ordinal();
}

void read(Reader& r, const fb::PathReply& in, PathReply& out) {
  out.epoch = PathEpoch(in.epoch());
  out.code = StatusCode{in.code()};
  r.text("error", in.error(), out.error);
  r.scalars("address", in.address(), out.address);
  read_fixed(in.ticket(), out.ticket);
}

void read_blocks(Reader& r, const fb::BlockList& in, std::vector<uint32_t>& out) {
  r.scalars("blocks", in.blocks(), out);
}

void read_slots(Reader& r, const flatbuffers::Vector<const fb::Slot*>* in,
                std::vector<SlotReference>& out) {
  r.structs("slots", in, out, [](const fb::Slot& slot) {
    return SlotReference{slot.slot(), slot.generation()};
  });
}

void read(Reader& r, const fb::GrantOffer& in, GrantOffer& out) {
  out.grant = GrantId(in.grant());
  out.kind = GrantKind{in.kind()};
  std::vector<uint8_t> tag;
  r.scalars("tag", in.tag(), tag);
  out.tag.assign(tag.begin(), tag.end());
  out.lease_ms = in.lease_ms();
  out.deadline_ms = in.deadline_ms();
  out.target_cache = CacheId(in.target_cache());
  out.source_cache = CacheId(in.source_cache());
  out.tokens = TokenRange{in.token_begin(), in.token_end()};
  r.tables("block_lists", in.block_lists(), kMaxGroups, out.block_lists, read_blocks);
  read_slots(r, in.slots(), out.slots);
  r.scalars("units_per_slot", in.units_per_slot(), out.units_per_slot);
  r.structs("ranges", in.ranges(), out.ranges, [](const fb::Range& range) {
    return GrantRange{SectionId(range.section()), range.offset_bytes(), range.length_bytes()};
  });
  r.structs("heads", in.heads(), out.heads, [](const fb::HeadRange& range) {
    return HeadRange{range.first(), range.count()};
  });
  out.allow_write = r.flag("allow_write", in.allow_write());
  out.allow_read = r.flag("allow_read", in.allow_read());
}

void read(Reader& r, const fb::Cancel& in, Cancel& out) {
  out.grant = GrantId(in.grant());
  out.code = StatusCode{in.code()};
  r.text("reason", in.reason(), out.reason);
}

void read_quiesced(Reader& r, const fb::QuiescedPath& in, Quiesced::OnPath& out) {
  out.epoch = PathEpoch(in.epoch());
  out.broken = r.flag("path.broken", in.broken());
  r.scalars("path.signalled", in.signalled(), out.signalled);
}

void read(Reader& r, const fb::Quiesced& in, Quiesced& out) {
  out.grant = GrantId(in.grant());
  r.tables("paths", in.paths(), kMaxPathsPerPeer, out.paths, read_quiesced);
}

void read(Reader& r, const fb::GrantEnd& in, GrantEnd& out) {
  out.grant = GrantId(in.grant());
  out.verdict = StatusCode{in.verdict()};
  out.units = in.units();
  r.text("message", in.message(), out.message);
}

void read(Reader&, const fb::GrantEndAck& in, GrantEndAck& out) { out.grant = GrantId(in.grant()); }

void read(Reader&, const fb::Fence& in, Fence& out) { out.epoch = PathEpoch(in.epoch()); }

void read(Reader& r, const fb::Fenced& in, Fenced& out) {
  out.epoch = PathEpoch(in.epoch());
  r.structs("applied", in.applied(), out.applied, [](const fb::Applied& one) {
    return Fenced::Applied{GrantId(one.grant()), one.ordinal(), one.generation(), one.units()};
  });
}

void read(Reader& r, const fb::Notify& in, Notify& out) {
  out.tag = in.tag();
  r.scalars("bytes", in.bytes(), out.bytes);
}

void read(Reader& r, const fb::Settle& in, Settle& out) {
  out.grant = GrantId(in.grant());
  out.seq = in.seq();
  r.structs("settled", in.settled(), out.settled, [](const fb::Settled& one) {
    return Settle::Settled{one.ordinal(), one.generation(), one.units()};
  });
}

void read(Reader&, const fb::Credits& in, Credits& out) {
  out.epoch = PathEpoch(in.epoch());
  out.returned = in.returned();
}

void read(Reader& r, const fb::ReadStart& in, ReadStart& out) {
  out.grant = GrantId(in.grant());
  read_slots(r, in.slots(), out.slots);
  r.scalars("units_per_slot", in.units_per_slot(), out.units_per_slot);
}

void read(Reader& r, const fb::ReadDone& in, ReadDone& out) {
  out.grant = GrantId(in.grant());
  out.code = StatusCode{in.code()};
  out.units = in.units();
  r.text("message", in.message(), out.message);
}

void read(Reader&, const fb::StateRequest& in, StateRequest& out) {
  out.format = StateFormat{in.format()};
}

void read(Reader& r, const fb::StateReply& in, StateReply& out) {
  std::vector<uint8_t> text;
  r.scalars("text", in.text(), text);
  out.text.assign(text.begin(), text.end());
}

template <typename Native, typename Table>
Message read_as(Reader& r, const Table* in) {
  Native out;
  read(r, *in, out);
  return out;
}

Message read_body(Reader& r, const fb::Envelope& in) {
  switch (in.body_type()) {
    case fb::Body::Hello:
      return read_as<Hello>(r, in.body_as_Hello());
    case fb::Body::Welcome:
      return read_as<Welcome>(r, in.body_as_Welcome());
    case fb::Body::Describe:
      return read_as<Describe>(r, in.body_as_Describe());
    case fb::Body::Confirm:
      return read_as<Confirm>(r, in.body_as_Confirm());
    case fb::Body::SectionsChanged:
      return read_as<SectionsChanged>(r, in.body_as_SectionsChanged());
    case fb::Body::CachesChanged:
      return read_as<CachesChanged>(r, in.body_as_CachesChanged());
    case fb::Body::Heartbeat:
      return read_as<Heartbeat>(r, in.body_as_Heartbeat());
    case fb::Body::Goodbye:
      return read_as<Goodbye>(r, in.body_as_Goodbye());
    case fb::Body::PathRequest:
      return read_as<PathRequest>(r, in.body_as_PathRequest());
    case fb::Body::PathReply:
      return read_as<PathReply>(r, in.body_as_PathReply());
    case fb::Body::GrantOffer:
      return read_as<GrantOffer>(r, in.body_as_GrantOffer());
    case fb::Body::Cancel:
      return read_as<Cancel>(r, in.body_as_Cancel());
    case fb::Body::Quiesced:
      return read_as<Quiesced>(r, in.body_as_Quiesced());
    case fb::Body::GrantEnd:
      return read_as<GrantEnd>(r, in.body_as_GrantEnd());
    case fb::Body::GrantEndAck:
      return read_as<GrantEndAck>(r, in.body_as_GrantEndAck());
    case fb::Body::Fence:
      return read_as<Fence>(r, in.body_as_Fence());
    case fb::Body::Fenced:
      return read_as<Fenced>(r, in.body_as_Fenced());
    case fb::Body::Notify:
      return read_as<Notify>(r, in.body_as_Notify());
    case fb::Body::Settle:
      return read_as<Settle>(r, in.body_as_Settle());
    case fb::Body::Credits:
      return read_as<Credits>(r, in.body_as_Credits());
    case fb::Body::ReadStart:
      return read_as<ReadStart>(r, in.body_as_ReadStart());
    case fb::Body::ReadDone:
      return read_as<ReadDone>(r, in.body_as_ReadDone());
    case fb::Body::StateRequest:
      return read_as<StateRequest>(r, in.body_as_StateRequest());
    case fb::Body::StateReply:
      return read_as<StateReply>(r, in.body_as_StateReply());
    case fb::Body::NONE:
      break;
  }
  r.fail("body",
         "its type " + std::to_string(static_cast<unsigned>(in.body_type())) + " is not known");
  return Confirm{};
}

// The flattest message needs 5 levels; a hostile one must not make the verifier recurse further.
constexpr flatbuffers::uoffset_t kMaxDepth = 8;
constexpr flatbuffers::uoffset_t kMaxTables = 1u << 20;

}  // namespace

Result<Message> decode(std::span<const uint8_t> body) {
  if (body.size() < sizeof(flatbuffers::uoffset_t) || body.size() > kMaxMessageBytes) {
    return Status(StatusCode::kProtocolError,
                  "a message of " + std::to_string(body.size()) + " bytes is none");
  }
  // FlatBuffers lays its scalars out for a buffer that starts aligned to the widest, 8 bytes.
  std::vector<uint64_t> aligned;
  const uint8_t* data = body.data();
  if (reinterpret_cast<uintptr_t>(data) % alignof(uint64_t) != 0) {
    aligned.resize((body.size() + sizeof(uint64_t) - 1) / sizeof(uint64_t));
    std::memcpy(aligned.data(), body.data(), body.size());
    data = reinterpret_cast<const uint8_t*>(aligned.data());
  }
  flatbuffers::Verifier verifier(data, body.size(), kMaxDepth, kMaxTables);
  if (!fb::VerifyEnvelopeBuffer(verifier)) {
    return Status(StatusCode::kProtocolError, "a message of " + std::to_string(body.size()) +
                                                  " bytes is damaged (FlatBuffers verifier)");
  }
  Reader reader(body.size());
  Message message = read_body(reader, *fb::GetEnvelope(data));
  Status status = reader.failed() ? reader.status() : validate(message);
  if (!status.is_ok()) return Status(StatusCode::kProtocolError, status.message());
  return message;
}

}  // namespace baton::wire
