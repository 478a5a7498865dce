#include "src/wire/validate.h"

#include <algorithm>
#include <utility>

#include "src/base/checked_math.h"
#include "src/wire/validate_layout.h"

namespace baton::wire {

namespace {

bool prints(unsigned char c) { return c >= 0x20 && c != 0x7f; }

Status out_of_range(const std::string& what, uint64_t value, uint64_t limit) {
  return Status(StatusCode::kOutOfRange, what + " is " + std::to_string(value) + ", at most " +
                                             std::to_string(limit) + " is allowed");
}

Status check_limit(const std::string& what, uint64_t value, uint64_t limit) {
  return value <= limit ? Status::ok() : out_of_range(what, value, limit);
}

Status check_text(const std::string& what, const std::string& text, size_t limit) {
  BATON_RETURN_IF_ERROR(check_limit("length of " + what, text.size(), limit));
  const auto bad = std::find_if_not(text.begin(), text.end(),
                                    [](char c) { return prints(static_cast<unsigned char>(c)); });
  if (bad == text.end()) return Status::ok();
  return Status(StatusCode::kInvalidArgument,
                what + " has a control character at byte " + std::to_string(bad - text.begin()));
}

Status check_code(const std::string& what, StatusCode code) {
  if (code <= StatusCode::kInternal) return Status::ok();
  return Status(
      StatusCode::kInvalidArgument,
      what + " is " + std::to_string(static_cast<unsigned>(code)) + ", not a status code");
}

Status check_nonzero(const std::string& what, uint64_t value) {
  if (value != 0) return Status::ok();
  return Status(StatusCode::kInvalidArgument, what + " is 0");
}

std::string at(const char* list, size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

Status check_section(const SectionDescription& section, const std::string& where) {
  BATON_RETURN_IF_ERROR(check_nonzero(where + ".id", section.id.value));
  BATON_RETURN_IF_ERROR(check_text(where + ".name", section.name, kMaxNameBytes));
  if (section.kind > MemoryKind::kObject) {
    return Status(StatusCode::kInvalidArgument,
                  where + ".kind is " + std::to_string(static_cast<unsigned>(section.kind)));
  }
  BATON_RETURN_IF_ERROR(check_limit(where + ".keys", section.keys.size(), kMaxRails));
  for (size_t i = 0; i < section.keys.size(); ++i) {
    if (base::checked_add(section.keys[i].base, section.length_bytes)) continue;
    return Status(StatusCode::kOutOfRange,
                  where + "." + at("keys", i) + ": base + length goes past 2^64");
  }
  return Status::ok();
}

Status check_sections(const std::vector<SectionDescription>& sections, const char* list) {
  BATON_RETURN_IF_ERROR(
      check_limit(std::string("count of ") + list, sections.size(), kMaxSections));
  for (size_t i = 0; i < sections.size(); ++i) {
    BATON_RETURN_IF_ERROR(check_section(sections[i], at(list, i)));
  }
  return Status::ok();
}

Status check_caches(const std::vector<CacheDescription>& caches, const char* list) {
  BATON_RETURN_IF_ERROR(check_limit(std::string("count of ") + list, caches.size(), kMaxCaches));
  for (size_t i = 0; i < caches.size(); ++i) {
    BATON_RETURN_IF_ERROR(check_nonzero(at(list, i) + ".id", caches[i].id.value));
    BATON_RETURN_IF_ERROR(check_text(at(list, i) + ".name", caches[i].name, kMaxNameBytes));
    BATON_RETURN_IF_ERROR(validate_layout(caches[i].layout, at(list, i) + ".layout"));
  }
  return Status::ok();
}

Status check(const Hello& hello) {
  if (hello.protocol_min == 0 || hello.protocol_min > hello.protocol_max) {
    return Status(StatusCode::kInvalidArgument,
                  "protocol versions " + std::to_string(hello.protocol_min) + " to " +
                      std::to_string(hello.protocol_max) + " are no range");
  }
  BATON_RETURN_IF_ERROR(check_text("name", hello.name, kMaxNameBytes));
  BATON_RETURN_IF_ERROR(check_nonzero("incarnation", hello.incarnation));
  if (hello.role > HelloRole::kObserver) {
    return Status(StatusCode::kInvalidArgument,
                  "role is " + std::to_string(static_cast<unsigned>(hello.role)));
  }
  return check_text("address", hello.address, kMaxTextBytes);
}

Status check(const Welcome& welcome) {
  BATON_RETURN_IF_ERROR(check_text("name", welcome.name, kMaxNameBytes));
  BATON_RETURN_IF_ERROR(check_code("code", welcome.code));
  if (welcome.code == StatusCode::kOk) {
    BATON_RETURN_IF_ERROR(check_nonzero("version", welcome.version));
    BATON_RETURN_IF_ERROR(check_nonzero("session", welcome.session));
    BATON_RETURN_IF_ERROR(check_nonzero("incarnation", welcome.incarnation));
  }
  return check_text("text", welcome.text, kMaxTextBytes);
}

Status check(const Describe& describe) {
  if (describe.unit_bytes < kMinUnitBytes || describe.unit_bytes > kMaxUnitBytes) {
    return Status(StatusCode::kOutOfRange, "unit_bytes is " + std::to_string(describe.unit_bytes) +
                                               ", not in [" + std::to_string(kMinUnitBytes) + ", " +
                                               std::to_string(kMaxUnitBytes) + "]");
  }
  BATON_RETURN_IF_ERROR(check_limit("count of rails", describe.rails.size(), kMaxRails));
  for (size_t i = 0; i < describe.rails.size(); ++i) {
    const RailDescription& rail = describe.rails[i];
    BATON_RETURN_IF_ERROR(check_text(at("rails", i) + ".plugin", rail.plugin, kMaxNameBytes));
    BATON_RETURN_IF_ERROR(check_text(at("rails", i) + ".device", rail.device, kMaxNameBytes));
    BATON_RETURN_IF_ERROR(check_limit("length of " + at("rails", i) + ".address",
                                      rail.address.size(), kMaxPathAddressBytes));
  }
  BATON_RETURN_IF_ERROR(check_sections(describe.sections, "sections"));
  return check_caches(describe.caches, "caches");
}

Status check(const Confirm&) { return Status::ok(); }
Status check(const Heartbeat&) { return Status::ok(); }

Status check(const SectionsChanged& changed) {
  BATON_RETURN_IF_ERROR(check_limit("count of withdrawn", changed.withdrawn.size(), kMaxSections));
  return check_sections(changed.added, "added");
}

Status check(const CachesChanged& changed) {
  BATON_RETURN_IF_ERROR(check_limit("count of withdrawn", changed.withdrawn.size(), kMaxCaches));
  return check_caches(changed.added, "added");
}

Status check(const Goodbye& goodbye) {
  BATON_RETURN_IF_ERROR(check_code("code", goodbye.code));
  return check_text("reason", goodbye.reason, kMaxTextBytes);
}

Status check(const PathRequest& request) {
  BATON_RETURN_IF_ERROR(check_nonzero("epoch", request.epoch.value));
  BATON_RETURN_IF_ERROR(check_limit("ordinal", request.ordinal, kMaxPathsPerPeer - 1));
  return check_limit("length of address", request.address.size(), kMaxPathAddressBytes);
}

Status check(const PathReply& reply) {
  BATON_RETURN_IF_ERROR(check_nonzero("epoch", reply.epoch.value));
  BATON_RETURN_IF_ERROR(check_code("code", reply.code));
  BATON_RETURN_IF_ERROR(check_text("error", reply.error, kMaxTextBytes));
  return check_limit("length of address", reply.address.size(), kMaxPathAddressBytes);
}

Status check_slots(const std::vector<SlotReference>& slots, const std::vector<uint32_t>& units) {
  BATON_RETURN_IF_ERROR(check_limit("count of slots", slots.size(), kMaxLayers));
  if (units.size() != slots.size()) {
    return Status(StatusCode::kInvalidArgument, std::to_string(units.size()) +
                                                    " units_per_slot for " +
                                                    std::to_string(slots.size()) + " slots");
  }
  for (size_t i = 0; i < slots.size(); ++i) {
    BATON_RETURN_IF_ERROR(check_limit(at("slots", i) + ".slot", slots[i].slot, kMaxSlotIndex));
    BATON_RETURN_IF_ERROR(
        check_limit(at("slots", i) + ".generation", slots[i].generation, kMaxGeneration));
  }
  return Status::ok();
}

Status check_kv(const GrantOffer& offer) {
  if (offer.tokens.begin > offer.tokens.end) {
    return Status(StatusCode::kInvalidArgument, "token range [" +
                                                    std::to_string(offer.tokens.begin) + ", " +
                                                    std::to_string(offer.tokens.end) + ") is none");
  }
  BATON_RETURN_IF_ERROR(check_limit("count of block_lists", offer.block_lists.size(), kMaxGroups));
  size_t blocks = 0;
  for (const auto& list : offer.block_lists) blocks += list.size();
  BATON_RETURN_IF_ERROR(check_limit("count of blocks", blocks, kMaxBlocks));
  BATON_RETURN_IF_ERROR(check_limit("count of heads", offer.heads.size(), kMaxGroups));
  for (size_t i = 0; i < offer.heads.size(); ++i) {
    const uint64_t end = uint64_t{offer.heads[i].first} + offer.heads[i].count;
    BATON_RETURN_IF_ERROR(check_limit("end of " + at("heads", i), end, kMaxHeads));
  }
  if (offer.kind != GrantKind::kKvRead) return check_slots(offer.slots, offer.units_per_slot);
  if (!offer.slots.empty()) {
    return Status(StatusCode::kInvalidArgument,
                  std::to_string(offer.slots.size()) + " slots in a Grant that is read");
  }
  return check_limit("count of units_per_slot", offer.units_per_slot.size(), kMaxLayers);
}

Status check_ranges(const GrantOffer& offer) {
  BATON_RETURN_IF_ERROR(check_limit("count of ranges", offer.ranges.size(), kMaxRanges));
  for (size_t i = 0; i < offer.ranges.size(); ++i) {
    const GrantRange& range = offer.ranges[i];
    BATON_RETURN_IF_ERROR(check_nonzero(at("ranges", i) + ".section", range.section.value));
    BATON_RETURN_IF_ERROR(check_nonzero(at("ranges", i) + ".length_bytes", range.length_bytes));
    if (base::checked_add(range.offset_bytes, range.length_bytes)) continue;
    return Status(StatusCode::kOutOfRange, at("ranges", i) + ": offset + length goes past 2^64");
  }
  return Status::ok();
}

Status check(const GrantOffer& offer) {
  BATON_RETURN_IF_ERROR(check_nonzero("grant", offer.grant.value));
  if (offer.kind > GrantKind::kKvRead) {
    return Status(StatusCode::kInvalidArgument,
                  "kind is " + std::to_string(static_cast<unsigned>(offer.kind)));
  }
  BATON_RETURN_IF_ERROR(check_limit("length of tag", offer.tag.size(), kMaxTagBytes));
  BATON_RETURN_IF_ERROR(check_limit("lease_ms", offer.lease_ms, kMaxLeaseMs));
  BATON_RETURN_IF_ERROR(check_limit("deadline_ms", offer.deadline_ms, kMaxLeaseMs));
  BATON_RETURN_IF_ERROR(check_kv(offer));
  return check_ranges(offer);
}

Status check(const Cancel& cancel) {
  BATON_RETURN_IF_ERROR(check_nonzero("grant", cancel.grant.value));
  BATON_RETURN_IF_ERROR(check_code("code", cancel.code));
  if (cancel.code == StatusCode::kOk)
    return Status(StatusCode::kInvalidArgument, "code is OK, which is no cause");
  return check_text("reason", cancel.reason, kMaxTextBytes);
}

Status check(const Quiesced& quiesced) {
  BATON_RETURN_IF_ERROR(check_nonzero("grant", quiesced.grant.value));
  BATON_RETURN_IF_ERROR(check_limit("count of paths", quiesced.paths.size(), kMaxPathsPerPeer));
  for (size_t i = 0; i < quiesced.paths.size(); ++i) {
    BATON_RETURN_IF_ERROR(check_nonzero(at("paths", i) + ".epoch", quiesced.paths[i].epoch.value));
    BATON_RETURN_IF_ERROR(check_limit("count of " + at("paths", i) + ".signalled",
                                      quiesced.paths[i].signalled.size(), kMaxLayers));
  }
  return Status::ok();
}

Status check(const GrantEnd& end) {
  BATON_RETURN_IF_ERROR(check_nonzero("grant", end.grant.value));
  BATON_RETURN_IF_ERROR(check_code("verdict", end.verdict));
  return check_text("message", end.message, kMaxTextBytes);
}

Status check(const GrantEndAck& ack) { return check_nonzero("grant", ack.grant.value); }

Status check(const Fence& fence) { return check_nonzero("epoch", fence.epoch.value); }

Status check(const Fenced& fenced) {
  BATON_RETURN_IF_ERROR(check_nonzero("epoch", fenced.epoch.value));
  BATON_RETURN_IF_ERROR(check_limit("count of applied", fenced.applied.size(), kMaxApplied));
  for (size_t i = 0; i < fenced.applied.size(); ++i) {
    const Fenced::Applied& applied = fenced.applied[i];
    BATON_RETURN_IF_ERROR(check_nonzero(at("applied", i) + ".grant", applied.grant.value));
    BATON_RETURN_IF_ERROR(
        check_limit(at("applied", i) + ".ordinal", applied.ordinal, kMaxLayers - 1));
    BATON_RETURN_IF_ERROR(
        check_limit(at("applied", i) + ".generation", applied.generation, kMaxGeneration));
  }
  return Status::ok();
}

Status check(const Settle& settle) {
  BATON_RETURN_IF_ERROR(check_nonzero("grant", settle.grant.value));
  BATON_RETURN_IF_ERROR(check_nonzero("seq", settle.seq));
  BATON_RETURN_IF_ERROR(check_limit("count of settled", settle.settled.size(), kMaxLayers));
  for (size_t i = 0; i < settle.settled.size(); ++i) {
    const Settle::Settled& one = settle.settled[i];
    const std::string who = at("settled", i);
    BATON_RETURN_IF_ERROR(check_limit(who + ".ordinal", one.ordinal, kMaxLayers - 1));
    BATON_RETURN_IF_ERROR(check_limit(who + ".generation", one.generation, kMaxGeneration));
    BATON_RETURN_IF_ERROR(check_nonzero(who + ".units", one.units));
  }
  return Status::ok();
}

Status check(const Credits& credits) { return check_nonzero("epoch", credits.epoch.value); }

Status check(const Notify& notify) {
  return check_limit("length of bytes", notify.bytes.size(), kMaxNotifyBytes);
}

Status check(const ReadStart& start) {
  BATON_RETURN_IF_ERROR(check_nonzero("grant", start.grant.value));
  return check_slots(start.slots, start.units_per_slot);
}

Status check(const ReadDone& done) {
  BATON_RETURN_IF_ERROR(check_nonzero("grant", done.grant.value));
  BATON_RETURN_IF_ERROR(check_code("code", done.code));
  return check_text("message", done.message, kMaxTextBytes);
}

Status check(const StateRequest& request) {
  if (request.format <= StateFormat::kJson) return Status::ok();
  return Status(StatusCode::kInvalidArgument,
                "format is " + std::to_string(static_cast<unsigned>(request.format)));
}

Status check(const StateReply& reply) {
  return check_limit("length of text", reply.text.size(), kMaxStateBytes);
}

}  // namespace

Status validate(const Message& message) {
  const Status status = std::visit([](const auto& body) { return check(body); }, message);
  if (status.is_ok()) return status;
  return Status(status.code(), std::string(message_name(message)) + ": " + status.message());
}

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return prints(static_cast<unsigned char>(c)); });
}

std::string printable(const std::string& text) {
  std::string out = text.substr(0, kMaxTextBytes);
  for (char& c : out) {
    if (!prints(static_cast<unsigned char>(c))) c = '?';
  }
  return out;
}

}  // namespace baton::wire
