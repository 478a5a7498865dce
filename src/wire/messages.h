// Messages of the control connection: plain structs, and their bytes.
//
// A message is framed as a u32 (little endian, the number of bytes that follow) and a FlatBuffers
// table of src/wire/control.fbs. docs/wire_format.md states the protocol.
//
// Invariants:
//  1. decode() accepts nothing that the FlatBuffers verifier refuses, and nothing that breaks a
//     limit below: every length is bounded, every enum value is known, every string that is text is
//     printable. Whether an id names something is for the receiver of the message to say.
//  2. decode(encode(m)) == m for every message within the limits.
//
// Ownership: messages own what they hold. Thread rule: values and pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "baton/ids.h"
#include "baton/layout.h"
#include "baton/section.h"
#include "baton/status.h"
#include "src/base/limits.h"

namespace baton::wire {

// ---- Limits -------------------------------------------------------------------------------------

// Longest frame (without its u32), before the peer has proven itself and after.
inline constexpr size_t kMaxHelloBytes = 4096;
inline constexpr size_t kMaxMessageBytes = size_t{64} << 20;
inline constexpr size_t kFramePrefixBytes = 4;

inline constexpr size_t kMaxNameBytes = 255;      // names of Contexts, sections, caches, plug-ins
inline constexpr size_t kMaxTextBytes = 1024;     // error texts, addresses
inline constexpr size_t kMaxTagBytes = 4096;      // GrantOffer::tag
inline constexpr size_t kMaxNotifyBytes = 65536;  // Notify::bytes
inline constexpr size_t kMaxStateBytes = size_t{16} << 20;  // StateReply::text
inline constexpr size_t kMaxPathAddressBytes = 256;  // the plug-in border's BATON_MAX_ADDRESS_BYTES
inline constexpr size_t kMaxRails = 256;
inline constexpr size_t kMaxSections = 65536;
inline constexpr size_t kMaxCaches = 1024;
inline constexpr size_t kMaxGroups = kMaxLayoutGroups;
inline constexpr size_t kMaxLayers = kMaxLayoutLayers;  // slots of one Grant
inline constexpr size_t kMaxBlocks = size_t{1}
                                     << 20;  // block indices of one Grant, over all groups
inline constexpr size_t kMaxRanges = 65536;  // ranges of one Grant
using base::kMaxPathsPerPeer;                // entries of one Quiesced
inline constexpr size_t kMaxApplied = size_t{1} << 18;      // entries of one Fenced
inline constexpr uint32_t kMaxLeaseMs = 24u * 3600 * 1000;  // also deadlines
inline constexpr uint32_t kMinUnitBytes = 4096;
inline constexpr uint32_t kMaxUnitBytes = 16u << 20;
inline constexpr uint32_t kMaxSlotIndex = (1u << 18) - 1;
inline constexpr uint8_t kMaxGeneration = 63;

// ---- Hello: who, and which protocol -----------------------------------------------------------

using HelloNonce = std::array<uint8_t, 16>;
using StreamTicket = std::array<uint8_t, 32>;

// What a dialer wants to be.
enum class HelloRole : uint8_t {
  kPeer = 0,      // to hand over and take over
  kObserver = 1,  // to ask one StateRequest: no peer, and nobody's name
};

// First message of the dialer. Its encoding fits kMaxHelloBytes.
struct Hello {
  uint16_t protocol_min = 0;  // [min, max], both included
  uint16_t protocol_max = 0;
  uint64_t features = 0;           // bits that this side has
  uint64_t required_features = 0;  // bits without which it does not go on
  std::string name;                // id of the Context
  BootId boot_id{};
  uint64_t incarnation = 0;  // > 0, rises with every Hello and Welcome of one boot
  HelloNonce nonce{};
  std::string address;         // where the sender itself can be dialled
  uint64_t known_session = 0;  // session with the same peer that the dialer believes alive; 0: none
  BootId known_boot{};         // whose session that is
  HelloRole role = HelloRole::kPeer;

  friend bool operator==(const Hello&, const Hello&) = default;
};

// The acceptor's answer. code != kOk: refused, `text` says why; then session != 0 means "already
// connected, by that session".
struct Welcome {
  uint16_t version = 0;   // the one agreed
  uint64_t features = 0;  // those that both have
  std::string name;
  BootId boot_id{};
  uint64_t incarnation = 0;
  HelloNonce nonce{};         // the dialer's, returned
  uint64_t session = 0;       // random; names the connection to both sides
  StreamTicket stream_key{};  // without a secret: proves data sockets; with one: zero, TLS gives it
  StatusCode code = StatusCode::kOk;
  std::string text;

  friend bool operator==(const Welcome&, const Welcome&) = default;
};

// ---- Description: what this side offers ---------------------------------------------------------

struct RailDescription {
  RailIndex rail;
  std::string plugin;
  std::string device;
  uint32_t capabilities = 0;     // BATON_CAP_*
  std::vector<uint8_t> address;  // the plug-in's own; may be empty
  uint32_t receive_depth = 0;  // immediates that a Path takes unprocessed: its credits; 0: no limit

  friend bool operator==(const RailDescription&, const RailDescription&) = default;
};

struct RegionKey {
  RailIndex rail;
  uint64_t key = 0;   // never logged
  uint64_t base = 0;  // target address of byte 0

  friend bool operator==(const RegionKey&, const RegionKey&) = default;
};

struct SectionDescription {
  SectionId id;
  std::string name;
  MemoryKind kind = MemoryKind::kDram;
  uint64_t length_bytes = 0;
  std::vector<RegionKey> keys;  // one per rail on which it is registered

  friend bool operator==(const SectionDescription&, const SectionDescription&) = default;
};

// Of the layout, counts, limits and enum values are checked here; whether it makes sense is for
// baton::validate(layout) to say.
struct CacheDescription {
  CacheId id;
  std::string name;
  Layout layout;

  friend bool operator==(const CacheDescription&, const CacheDescription&) = default;
};

// Second step of the hello, both directions.
struct Describe {
  uint32_t unit_bytes = 0;  // [kMinUnitBytes, kMaxUnitBytes]; the smaller of both sides counts
  uint32_t heartbeat_interval_ms = 0;
  uint32_t dead_after_ms = 0;
  std::vector<RailDescription> rails;
  std::vector<SectionDescription> sections;
  std::vector<CacheDescription> caches;

  friend bool operator==(const Describe&, const Describe&) = default;
};

// The acceptor has checked the dialer's Describe: the connection is up.
struct Confirm {
  friend bool operator==(const Confirm&, const Confirm&) = default;
};

// `added` may repeat what a Describe said.
struct SectionsChanged {
  std::vector<SectionDescription> added;
  std::vector<SectionId> withdrawn;

  friend bool operator==(const SectionsChanged&, const SectionsChanged&) = default;
};

struct CachesChanged {
  std::vector<CacheDescription> added;
  std::vector<CacheId> withdrawn;

  friend bool operator==(const CachesChanged&, const CachesChanged&) = default;
};

// ---- Life ---------------------------------------------------------------------------------------

struct Heartbeat {
  uint64_t seq = 0;    // of the sender's own heartbeats, from 1; 0: this is only an echo
  uint64_t echo = 0;   // highest seq received from the other side; 0: none yet
  uint64_t probe = 0;  // not 0: answer with the same probe_echo
  uint64_t probe_echo = 0;

  friend bool operator==(const Heartbeat&, const Heartbeat&) = default;
};

// Last message of a side that closes on purpose.
struct Goodbye {
  StatusCode code = StatusCode::kOk;
  std::string reason;

  friend bool operator==(const Goodbye&, const Goodbye&) = default;
};

// ---- Paths --------------------------------------------------------------------------------------

struct PathRequest {
  PathEpoch epoch;
  RailIndex requester_rail;
  RailIndex responder_rail;
  std::vector<uint8_t> address;  // the requester's end; empty for rails that want a stream
  uint32_t ordinal = 0;          // among the Paths of the two; < kMaxPathsPerPeer

  friend bool operator==(const PathRequest&, const PathRequest&) = default;
};

struct PathReply {
  PathEpoch epoch;
  StatusCode code = StatusCode::kOk;
  std::string error;
  std::vector<uint8_t> address;  // the responder's end
  StreamTicket ticket{};  // rails that want a stream: what ControlPlane::open_stream is given

  friend bool operator==(const PathReply&, const PathReply&) = default;
};

// ---- Grants -------------------------------------------------------------------------------------

// kKv: its sender receives, and the peer may write. kKvRead: its sender has the KV, and the peer
// may read.
enum class GrantKind : uint8_t { kKv = 0, kRanges = 1, kKvRead = 2 };

struct SlotReference {
  uint32_t slot = 0;       // <= kMaxSlotIndex
  uint8_t generation = 0;  // <= kMaxGeneration

  friend bool operator==(const SlotReference&, const SlotReference&) = default;
};

struct GrantRange {
  SectionId section;
  uint64_t offset_bytes = 0;
  uint64_t length_bytes = 0;  // > 0; offset + length does not wrap

  friend bool operator==(const GrantRange&, const GrantRange&) = default;
};

struct GrantOffer {
  GrantId grant;
  GrantKind kind = GrantKind::kKv;
  std::string tag;  // any bytes
  uint32_t lease_ms = 0;
  uint32_t deadline_ms = 0;
  // ---- kKv, kKvRead
  CacheId target_cache;  // of the side that receives: kKv this message's sender
  CacheId source_cache;  // of the side that sends
  TokenRange tokens;
  // One list per layer group, of this message's sender: kKv the target's, kKvRead the source's.
  std::vector<std::vector<uint32_t>> block_lists;
  // The heads that are sent, one range per layer group; empty: all that both caches hold.
  std::vector<HeadRange> heads;
  std::vector<SlotReference> slots;      // kKv: one per layer; its ordinal is its place here
  std::vector<uint32_t> units_per_slot;  // one per layer: kKv as many as slots
  // ---- kRanges
  std::vector<GrantRange> ranges;
  bool allow_write = false;
  bool allow_read = false;

  friend bool operator==(const GrantOffer&, const GrantOffer&) = default;
};

struct Cancel {
  GrantId grant;
  StatusCode code = StatusCode::kCancelled;  // not kOk
  std::string reason;

  friend bool operator==(const Cancel&, const Cancel&) = default;
};

struct Quiesced {
  struct OnPath {
    PathEpoch epoch;
    bool broken = false;
    std::vector<uint64_t> signalled;  // units, by slot ordinal; may be empty when broken

    friend bool operator==(const OnPath&, const OnPath&) = default;
  };
  GrantId grant;
  std::vector<OnPath> paths;

  friend bool operator==(const Quiesced&, const Quiesced&) = default;
};

struct GrantEnd {
  GrantId grant;
  StatusCode verdict = StatusCode::kOk;
  uint64_t units = 0;
  std::string message;

  friend bool operator==(const GrantEnd&, const GrantEnd&) = default;
};

struct GrantEndAck {
  GrantId grant;

  friend bool operator==(const GrantEndAck&, const GrantEndAck&) = default;
};

struct Fence {
  PathEpoch epoch;

  friend bool operator==(const Fence&, const Fence&) = default;
};

struct Fenced {
  struct Applied {
    GrantId grant;
    uint32_t ordinal = 0;  // of the slot within the Grant; < kMaxLayers
    uint8_t generation = 0;
    uint64_t units = 0;

    friend bool operator==(const Applied&, const Applied&) = default;
  };
  PathEpoch epoch;
  std::vector<Applied> applied;

  friend bool operator==(const Fenced&, const Fenced&) = default;
};

// The writer has placed again, uncounted and flushed, what fenced Paths may have lost: the receiver
// counts these units. The n-th of a Grant has seq n, from 1.
struct Settle {
  struct Settled {
    uint32_t ordinal = 0;  // of the slot within the Grant; < kMaxLayers
    uint8_t generation = 0;
    uint64_t units = 0;  // > 0

    friend bool operator==(const Settled&, const Settled&) = default;
  };
  GrantId grant;
  uint64_t seq = 0;
  std::vector<Settled> settled;

  friend bool operator==(const Settle&, const Settle&) = default;
};

// How many immediates the sender of this has taken from the Path since it opened: as many may come
// again. Rises.
struct Credits {
  PathEpoch epoch;
  uint64_t returned = 0;

  friend bool operator==(const Credits&, const Credits&) = default;
};

// The reader begins to pull a kKvRead Grant.
struct ReadStart {
  GrantId grant;
  std::vector<SlotReference> slots;      // one per layer: where its final tokens are counted
  std::vector<uint32_t> units_per_slot;  // tokens that the reader armed each slot for

  friend bool operator==(const ReadStart&, const ReadStart&) = default;
};

// The reader's verdict: it reads nothing more of a kKvRead Grant. Acknowledged by GrantEndAck.
struct ReadDone {
  GrantId grant;
  StatusCode code = StatusCode::kOk;
  uint64_t units = 0;  // of the plan, read
  std::string message;

  friend bool operator==(const ReadDone&, const ReadDone&) = default;
};

// A user's small message.
struct Notify {
  uint64_t tag = 0;
  std::vector<uint8_t> bytes;

  friend bool operator==(const Notify&, const Notify&) = default;
};

// ---- Observers: no peers, they see what a Context is doing
// ----------------------------------------

enum class StateFormat : uint8_t { kText = 0, kJson = 1 };

// An observer's only message after its Welcome.
struct StateRequest {
  StateFormat format = StateFormat::kText;

  friend bool operator==(const StateRequest&, const StateRequest&) = default;
};

// Answers it; then the observer closes.
struct StateReply {
  std::string text;  // any bytes, at most kMaxStateBytes

  friend bool operator==(const StateReply&, const StateReply&) = default;
};

// ---- Bytes --------------------------------------------------------------------------------------

using Message = std::variant<Hello, Welcome, Describe, Confirm, SectionsChanged, CachesChanged,
                             Heartbeat, Goodbye, PathRequest, PathReply, GrantOffer, Cancel,
                             Quiesced, GrantEnd, GrantEndAck, Fence, Fenced, Notify, Settle,
                             Credits, ReadStart, ReadDone, StateRequest, StateReply>;

// "GrantOffer" and so on, for logs.
const char* message_name(const Message& message);

// The frame, u32 included. kOutOfRange / kInvalidArgument: the message breaks a limit above (which,
// and where). What encode() accepts, decode() accepts. Texts for people (errors, reasons) are cut
// to kMaxTextBytes and made printable instead of refused.
Result<std::vector<uint8_t>> encode(const Message& message);

// `body`: one frame without its u32. kProtocolError: names the message, the field and its value.
// Allocates at most some 4 times body.size().
Result<Message> decode(std::span<const uint8_t> body);

}  // namespace baton::wire
