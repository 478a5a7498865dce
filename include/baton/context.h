// Context: what a process opens to use Baton. It owns rails, threads and the control endpoint;
// there is no other global state, and a process may open several.
//
// Threads: a control thread always runs (hello, heartbeats, deadlines, gate errors). The data path
// is driven by a library thread or by the caller (ProgressMode). Library threads have names and
// block all signals. Nothing here calls back into user code except the log callback.
//
// fork: the child of a process with an open Context must not use it; its threads and sockets stay
// the parent's.
//
// Thread rule: thread-safe, except progress() (one caller at a time).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "baton/cache.h"
#include "baton/dump.h"
#include "baton/event.h"
#include "baton/export.h"
#include "baton/grant.h"
#include "baton/grant_group.h"
#include "baton/ids.h"
#include "baton/metrics.h"
#include "baton/options.h"
#include "baton/progress_word.h"
#include "baton/pull.h"
#include "baton/section.h"
#include "baton/status.h"
#include "baton/transfer.h"

namespace baton {

namespace api {
class ContextImpl;
}

// What this Context knows of a peer since their hello.
struct PeerDescription {
  struct RemoteSection {
    SectionId id;
    std::string name;
    MemoryKind kind = MemoryKind::kDram;
    uint64_t length_bytes = 0;
  };
  struct RemoteCache {
    CacheId id;
    std::string name;
    Layout layout;
  };
  PeerId id;
  std::string name;
  BootId boot_id{};
  uint64_t incarnation = 0;
  std::string remote_address;  // "127.0.0.1:41873"
  bool authenticated = false;
  uint32_t unit_bytes = 0;  // agreed
  std::string transport;    // plug-in of its Paths
  uint32_t open_paths = 0;  // at this moment
  std::vector<RemoteSection> sections;
  std::vector<RemoteCache> caches;
};

class BATON_EXPORT Context {
 public:
  // Opens rails, binds the control port, starts threads. kInvalidArgument: options; kAddressInUse,
  // kUnavailable (plug-in), kPermissionDenied (open bind without a secret), kExhausted (memory,
  // threads, descriptors), kIoError.
  static Result<Context> create(ContextOptions options);

  Context(Context&&) noexcept;
  Context& operator=(Context&&) noexcept;
  // Closes as by close(0). Handles that outlive the Context stay valid and terminal.
  ~Context();

  // The one string that a peer needs to connect: "baton://127.0.0.1:41873/decode-0?auth=psk".
  const std::string& address() const;
  const std::string& name() const;

  // ---- what this process offers

  // kInvalidArgument: length 0, address + length past 2^64, kind and address that do not fit, name
  // taken; kUnavailable: kind not supported here; kExhausted: locked memory (says the limit). May
  // block in the driver; allocates.
  Result<Section> register_section(SectionOptions options);
  // kInvalidArgument / kOutOfRange: names group, layer, tensor, and the section's end.
  Result<KvCache> publish_cache(CacheOptions options);
  Result<ProgressWord> create_progress_word();

  // ---- peers

  // Dials, proves, exchanges descriptions, opens the Path; blocks at most timeout_ms (0:
  // connect_timeout_ms). Either side may dial; afterwards both are equal. In kCaller mode it drives
  // progress.
  Result<PeerId> connect(std::string_view address, uint32_t timeout_ms = 0);
  // Drops the peer: everything with it ends as if it had died (kPeerLost there too).
  Status disconnect(PeerId peer);
  Result<PeerDescription> describe_peer(PeerId peer) const;
  std::vector<PeerId> peers() const;
  // Delivered in order, as Event kMessage. <= 64 KiB. kBusy when the peer does not read.
  Status send_message(PeerId peer, uint64_t tag, std::span<const uint8_t> bytes);

  // ---- hand-off, receiving side
  // Of both: kNotFound: peer, cache or section; kInvalidArgument, kOutOfRange: says what;
  // kFailedPrecondition: the Context or a section closes; kPeerLost; kExhausted: no counter slots
  // are left; kBusy: max_live, max_submissions, or 8 MiB of offers and messages wait for a peer
  // that does not read. grant(): kMismatch: layouts.
  Result<Grant> grant(const GrantRequest& request);
  Result<Grant> grant_ranges(const RangeGrantRequest& request);
  // Several writers, one hand-off; see baton/grant_group.h, also for what is refused. All or
  // nothing: with an error, which names the writer, no Grant was offered to anybody.
  Result<GrantGroup> grant_group(const GrantGroupRequest& request);

  // ---- hand-off, sending side
  // The offer of a Grant with this tag: taken from those that arrived, or waited for.
  // kDeadlineExceeded after timeout_ms. A Grant that is waited for here is also reported as Event
  // kGrantOffered.
  Result<GrantOffer> wait_offer(std::string_view tag, uint32_t timeout_ms);
  // kNotFound: no such offer (or it ended); kMismatch: layouts or unit counts differ; kOutOfRange:
  // block indices.
  Result<Transfer> push(const PushRequest& request);
  // kInvalidArgument: no runs, a run of length 0; kOutOfRange: which run, which side;
  // kPermissionDenied: outside the Grant.
  Result<Transfer> write(const RawRequest& request);
  Result<Transfer> read(const RawRequest& request);

  // ---- hand-off by reading: the source offers, the receiver reads; see baton/pull.h
  // kNotFound: peer or cache; kMismatch: layouts; kOutOfRange: block indices, or more blocks than
  // the reader's cache has; kUnavailable: the transport to this peer has no reads; kBusy: as
  // grant(). Takes no counter slots.
  Result<ReadGrant> offer_read(const ReadGrantRequest& request);
  // As push(), of an offer that is_read. kUnavailable: as above; kExhausted: no counter slots are
  // left; kBusy: max_live or max_submissions.
  Result<Pull> pull(const PullRequest& request);

  // ---- progress and events

  // Takes up to out.size() events, returns how many. Does not block.
  size_t poll_events(std::span<Event> out);
  // Polls readable while events wait (kThread), or while events wait or progress() is due
  // (kCaller): it has work, or a time of its own has come. No time-out is needed beside it. It may
  // be readable when there is nothing to do. Owned by the Context.
  int event_fd() const;
  // Waits for an event, at most timeout_ms. In kCaller mode it drives progress.
  Result<Event> wait_event(uint32_t timeout_ms);
  // kCaller mode: one turn of the data path; returns how much was done. 0 in kThread mode.
  uint32_t progress();

  // ---- observation: any thread, also when the data path stands still or after close()

  Metrics metrics() const;
  std::string metrics_text() const;  // prometheus_text(metrics())
  // Every request with what it waits for, since when, and how far it is; peers and Paths. At most
  // 1,024 of each, the oldest.
  std::string dump(DumpFormat format = DumpFormat::kText) const;
  // Of the HTTP endpoint: "127.0.0.1:9100"; "" when ContextOptions::metrics_port asks for none.
  std::string metrics_address() const;

  // Graceful end: no new work is taken, work under way may finish for drain_ms, the rest is
  // cancelled; peers are told. Returns kDeadlineExceeded when something had to be cancelled.
  // Idempotent.
  Status close(uint32_t drain_ms);

 private:
  friend class api::ContextImpl;
  explicit Context(std::shared_ptr<api::ContextImpl> impl);
  std::shared_ptr<api::ContextImpl> impl_;
};

}  // namespace baton
