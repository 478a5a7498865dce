// ContextImpl: assembles the rest. Owns the tables that callers, control thread and data thread
// share, and carries calls and events between them.
//
// Locks: `state_mutex_` guards peers, offers, live requests and caches; nothing is called with it
// held that could take it again, wait, or send. Requests enter the engine's queue, which locks
// nothing, with it held. `progress_mutex_` is held by whoever drives the
// data path in kCaller mode.
//
// Thread rule: public functions from any thread unless said otherwise.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "baton/context.h"
#include "src/api/caller_fd.h"
#include "src/api/environment.h"
#include "src/api/event_queue.h"
#include "src/api/http_server.h"
#include "src/api/meter_table.h"
#include "src/api/state_report.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/control/control_interface.h"
#include "src/counter/counter_table.h"
#include "src/counter/waker.h"
#include "src/handoff/engine.h"
#include "src/kv/fan_in.h"
#include "src/section/section_table.h"
#include "src/transport/data_loop.h"
#include "src/transport/plugin_registry.h"
#include "src/transport/rail.h"

namespace baton::api {

class ContextImpl : public handoff::EngineOutput,
                    public control::ControlHandler,
                    public std::enable_shared_from_this<ContextImpl> {
 public:
  static Result<std::shared_ptr<ContextImpl>> create(ContextOptions options,
                                                     const Environment& environment = {});
  // The same, as what a user holds.
  static Context as_context(std::shared_ptr<ContextImpl> impl) { return Context(std::move(impl)); }
  ~ContextImpl() override;

  // ---- what Context offers; contracts in include/baton
  const std::string& address() const { return address_; }
  const std::string& name() const { return options_.name; }
  Result<Section> register_section(SectionOptions options);
  Result<KvCache> publish_cache(CacheOptions options);
  Result<ProgressWord> create_progress_word();
  Result<PeerId> connect(std::string_view address, uint32_t timeout_ms);
  // connect() for a caller who does not wait: kPeerUp tells that the peer is ready; of a failure
  // nothing is heard. REQUIRES: the control connections answer after dial() returned.
  Result<PeerId> begin_connect(std::string_view address);
  Status disconnect(PeerId peer);
  Result<PeerDescription> describe_peer(PeerId peer) const;
  std::vector<PeerId> peers() const;
  Status send_message(PeerId peer, uint64_t tag, std::span<const uint8_t> bytes);
  Result<Grant> grant(const GrantRequest& request);
  Result<Grant> grant_ranges(const RangeGrantRequest& request);
  Result<GrantGroup> grant_group(const GrantGroupRequest& request);
  Result<GrantOffer> wait_offer(std::string_view tag, uint32_t timeout_ms);
  Result<Transfer> push(const PushRequest& request);
  Result<Transfer> raw(const RawRequest& request, handoff::TransferKind kind);
  Result<ReadGrant> offer_read(const ReadGrantRequest& request);
  Result<Pull> pull(const PullRequest& request);
  size_t poll_events(std::span<Event> out) { return events_->poll(out); }
  int event_fd() const;
  Result<Event> wait_event(uint32_t timeout_ms);
  uint32_t progress();
  // kCaller: when progress() is due again if nothing happens before; not after now: it has work.
  // INT64_MAX: never.
  int64_t next_turn_ns();
  Status close(uint32_t drain_ms);
  Metrics metrics() const;
  std::string dump(DumpFormat format) const;
  const std::string& metrics_address() const { return metrics_address_; }

  // ---- what handles need
  Status close_section(const std::shared_ptr<section::SectionRecord>& record);
  // The same for a handle that goes: nobody else can say that it failed.
  void drop_section(const std::shared_ptr<section::SectionRecord>& record);
  void withdraw_cache(CacheId cache);
  void cancel_grant(const std::shared_ptr<handoff::GrantState>& grant, Status why);
  void cancel_transfer(const std::shared_ptr<handoff::TransferState>& transfer, Status why);
  Status submit_chunk(const std::shared_ptr<handoff::TransferState>& transfer,
                      const ChunkPlan& plan);
  Status seal(const std::shared_ptr<handoff::TransferState>& transfer);
  void count_busy(BusyCall call) { meters_.refuse(call); }
  // Until `is_done` or the time is over; in kCaller mode by driving. `sleep` blocks until the state
  // may have changed.
  bool wait_until(int64_t deadline_ns, const std::function<bool()>& is_done,
                  const std::function<void(int64_t)>& sleep);
  int64_t now_ns() const { return clock_.now_ns(); }

  // ---- EngineOutput (data thread)
  Status send(PeerId peer, const wire::Message& message) override;
  void emit(Event event) override;
  void drop_peer(PeerId peer, const Status& why) override;
  void grant_ended(const std::shared_ptr<handoff::GrantState>& grant) override;
  void transfer_ended(const std::shared_ptr<handoff::TransferState>& transfer) override;
  void offer_arrived(PeerId peer, wire::GrantOffer offer) override;
  void offer_ended(PeerId peer, GrantId grant) override;
  bool offer_stands(PeerId peer, GrantId grant) override;
  bool read_offer_stands(PeerId peer, GrantId grant) override;
  void path_ready(PeerId peer, uint32_t ordinal, const Status& status) override;
  void path_unopened(PeerId peer, uint32_t ordinal, const Status& status) override;
  void path_gone(PeerId peer, uint32_t ordinal) override;
  int64_t lease_basis_ns(PeerId peer) override;

  // ---- ControlHandler (control thread)
  wire::Describe describe_self() override;
  Status check_peer(const wire::Describe& theirs) override;
  void on_peer_up(PeerId peer, const control::PeerInfo& info) override;
  void on_dial_failed(PeerId peer, const Status& why) override;
  void on_dial_joined(PeerId dialed, PeerId existing) override;
  void on_peer_down(PeerId peer, const Status& why) override;
  void on_message(PeerId peer, wire::Message&& message) override;
  void on_stream(PeerId peer, PathEpoch epoch, base::UniqueFd stream) override;
  void on_stream_failed(PeerId peer, PathEpoch epoch, const Status& why) override;
  void on_heartbeat_echo(PeerId peer, int64_t sent_ns) override;
  void on_peer_lost_after(PeerId peer, int64_t silent_ns) override;
  std::string describe_state(wire::StateFormat format) override;
  int64_t on_alarm(int64_t now_ns) override;

 private:
  enum class PeerPhase : uint8_t { kDialling, kOpeningPath, kReady, kFailed };
  // kUnopened: agreed to, and did not come; it is being fenced.
  enum class PathPhase : uint8_t { kIdle, kAsked, kOpen, kUnopened };
  // One of a peer's Paths, by ordinal, as both sides agreed on it.
  struct PeerPath {
    PathPhase phase = PathPhase::kIdle;  // not idle until the data thread says that it is gone
    handoff::PathPlan plan;
    bool is_wanted = false;    // ours to ask for, again and again
    bool is_answered = false;  // its PathReply came
    bool ended_there = false;  // the peer's FENCED of it came
    uint32_t failures = 0;     // in a row
    int64_t retry_ns = 0;      // when it is asked for; 0: not
  };
  struct PeerEntry {
    PeerPhase phase = PeerPhase::kDialling;
    Status failure;            // of kFailed
    PeerId joined;             // dialled twice: the connection that counts
    bool reported = false;     // kPeerUp was emitted
    bool dialer_waits = true;  // the connect() that dialled it
    size_t joiners = 0;        // connect() calls whose dial was told to join it
    control::PeerInfo info;    // but for what its description offers: that changes, and is here
    std::map<SectionId, wire::SectionDescription> sections;
    std::map<CacheId, wire::CacheDescription> caches;
    std::shared_ptr<handoff::Inbox> inbox = std::make_shared<handoff::Inbox>();
    bool cut_off = false;    // it sent more than is kept of a peer: nothing more of it is heard
    size_t offers = 0;       // of it, in offers_
    size_t offer_bytes = 0;  // of those
    // Of Grants for it whose offer has not been given to the control connection: about its bytes.
    std::map<GrantId, size_t> offers_due;
    size_t offer_bytes_due = 0;
    std::array<PeerPath, base::kMaxPathsPerPeer> paths;
    uint32_t paths_due = 1;   // of the first ones, not reported yet; who was dialled waits for one
    uint64_t last_epoch = 0;  // that the peer asked for
    bool has_rail = false;    // below is what its first Path takes
    RailIndex local_rail;
    RailIndex remote_rail;
    int64_t lease_basis_ns = 0;
    std::shared_ptr<base::PeerMeters> meters;  // from its hello to its end

    // Until somebody has read how it ended, it stays.
    bool is_awaited() const { return dialer_waits || joiners > 0; }
    PeerPath* path_with(PathEpoch epoch) {
      for (PeerPath& path : paths) {
        if (path.plan.epoch == epoch) return &path;
      }
      return nullptr;
    }
  };
  struct Offer {
    PeerId peer;
    wire::GrantOffer message;
    size_t bytes = 0;  // that it holds
    int64_t arrived_ns = 0;
    bool taken = false;  // a Transfer answered it
    uint64_t event = 0;  // number of its kGrantOffered, which goes with it
  };

  ContextImpl(ContextOptions options, const Environment& environment);
  Status start();
  Status open_rails();
  Status start_control();

  // kCaller, between turns: from here on event_fd() tells when one is due. `busy`: one is now.
  // REQUIRES: progress_mutex_ is held.
  void rest(bool busy);
  // Runs `task` where rails may be called, and waits for it. kFailedPrecondition: close() has taken
  // the data path down; the task did not run.
  Status run_on_data(const std::function<void()>& task);

  // context_watch.cc
  Status start_metrics();
  // REQUIRES: state_mutex_ is held.
  void count_loss(PeerEntry& entry, StatusCode code);
  static void count_end(const handoff::GrantState& grant);
  static void count_end(const handoff::TransferState& transfer);
  static const char* phase_text(PeerPhase phase);
  void look_at_peers(PeersSeen& seen, StateReport& out) const;
  void look_at_offers(StateReport& out) const;
  StateReport look() const;

  // close(), in this order. Lets requests end for so long, and cancels the rest: false when there
  // was any.
  bool drain(uint32_t drain_ms);
  // REQUIRES: no library thread runs any more.
  void take_down();

  // context_sections.cc
  // From the rails and from the table. REQUIRES: withdrawn, no users.
  void unregister(const std::shared_ptr<section::SectionRecord>& record);
  // REQUIRES: rails may be called here.
  void unregister_from_rails(const section::SectionRecord& record);

  // context_peers.cc
  void pass_to_data(handoff::Command&& command);
  bool flush_backlog();
  bool forget_unseen_peer(PeerId peer);
  void cut_off(PeerId peer, const std::string& what);
  void fail_peer_requests(PeerId peer, const Status& why);
  Result<PeerEntry> ready_peer(PeerId peer) const;
  void tell_all(const wire::Message& message);

  // context_connect.cc
  // Nothing: the time is over. `peer` becomes the one that counts.
  std::optional<Status> wait_peer(PeerId* peer, int64_t deadline_ns);
  void stop_waiting(PeerId dialed, PeerId peer, const Status& why);

  // context_paths.cc
  // REQUIRES of the first: state_mutex_ is held.
  void plan_paths(PeerEntry& entry);
  void begin_paths(PeerId peer);
  void begin_path(PeerId peer, uint32_t ordinal);
  // REQUIRES: state_mutex_ is held. A failure: the peer broke the protocol.
  Status take_path_request(PeerEntry& entry, const wire::PathRequest& request,
                           wire::PathReply* reply, handoff::PathPlan* plan);
  // REQUIRES: state_mutex_ is held. True: the peer has become ready, or failed, by it.
  bool note_path(PeerEntry& entry, uint32_t ordinal, const Status& status, bool is_fenced);
  void report_path(PeerId peer, uint32_t ordinal, const Status& status, bool is_fenced);
  // Asks for those that are due; when the next one is.
  int64_t reopen_paths(int64_t now_ns);
  void path_requested(PeerId peer, const wire::PathRequest& request);
  void path_replied(PeerId peer, const wire::PathReply& reply);

  // context_grants.cc
  // kFailedPrecondition: the Context closes.
  Status check_open() const;
  // check_open(), and whether `more` fit beside `live`. kBusy; kInvalidArgument: they never do.
  Status check_room(size_t more, size_t live, std::string_view what) const;
  // kFailedPrecondition: a Section was withdrawn while the request was prepared.
  static Status check_uses(const std::vector<section::SectionUse>& uses);
  // What every Grant has, of any kind.
  struct GrantTerms {
    GrantId id;
    int64_t granted_ns = 0;
    int64_t deadline_ns = 0;
    int64_t lease_ns = 0;
  };
  Result<GrantTerms> grant_terms(const std::string& tag, uint32_t deadline_ms,
                                 uint32_t lease_ms) const;
  Result<std::shared_ptr<handoff::GrantState>> new_grant(PeerId peer, const std::string& tag,
                                                         uint32_t deadline_ms, uint32_t lease_ms);
  Status fill_kv_grant(handoff::GrantState& grant, const GrantRequest& request,
                       const PeerEntry& peer);
  Status arm_layers(handoff::GrantState& grant, const kv::Plan& plan);
  Status permit_units(handoff::GrantState& grant, const kv::Plan& plan);
  Result<Grant> open_grant(std::shared_ptr<handoff::GrantState> grant);
  // When it runs out, unless the peer's next echo comes before that.
  Result<int64_t> enter_grant(const std::shared_ptr<handoff::GrantState>& grant);
  Result<std::shared_ptr<const Layout>> local_layout(CacheId cache) const;

  // The cache of the peer that has this name, within `peer`.
  static Result<const wire::CacheDescription*> find_cache(PeerId id, const PeerEntry& peer,
                                                          const std::string& name);

  // context_groups.cc
  // `peers`: by writer.
  Result<std::vector<kv::WriterShare>> divide_among(const GrantGroupRequest& request,
                                                    std::vector<PeerEntry>& peers);
  // Adds those that were made, also with an error.
  Status make_members(const GrantGroupRequest& request, const std::vector<PeerEntry>& peers,
                      std::vector<kv::WriterShare>& shares,
                      std::vector<handoff::GrantGroupState::Member>& members);
  GrantGroupId new_group_id();
  Result<int64_t> enter_group(const std::vector<handoff::GrantGroupState::Member>& members);
  // When the first of them runs out. REQUIRES: state_mutex_ is held.
  Result<int64_t> prepare_members(const std::vector<handoff::GrantGroupState::Member>& members);
  // REQUIRES: the Grant has a group.
  void member_ended(const handoff::GrantState& grant);

  // context_offers.cc
  // kBusy: with what waits for the peer already an offer of that size would leave too little room
  // for what must be said; it is due otherwise. REQUIRES of all: state_mutex_ is held.
  Status begin_offer(PeerEntry& to, PeerId peer, GrantId grant, size_t bytes);
  // begin_offer(), and the command that makes it.
  Status submit_offer(PeerEntry& to, PeerId peer, GrantId grant, size_t bytes,
                      handoff::Command command);
  // About the size of the Grant's offer.
  static size_t offer_bytes(const handoff::GrantState& grant);
  static size_t offer_bytes(const handoff::ReadGrantState& grant);
  // It is on its way, or will not be made.
  void end_offer(PeerId peer, GrantId grant);
  // Whether one more offer of that size is kept of `from`. REQUIRES: state_mutex_ is held.
  Status check_offer(const PeerEntry& from, GrantId grant, size_t bytes) const;
  Result<Offer> find_offer(GrantId grant) const;
  GrantOffer public_offer(const Offer& offer) const;

  // context_transfers.cc
  std::shared_ptr<handoff::TransferState> new_transfer(const Offer& offer,
                                                       handoff::TransferKind kind,
                                                       uint32_t deadline_ms);
  Status fill_push(handoff::TransferState& transfer, const PushRequest& request, const Offer& offer,
                   const PeerEntry& peer);
  Status fill_raw(handoff::TransferState& transfer, const RawRequest& request, const Offer& offer,
                  const PeerEntry& peer);
  Status hold_local(handoff::TransferState& transfer, SectionId section);
  // Of a section that reaches to `end_bytes` at least, by what the peer says of it: an address past
  // it might not even be one.
  Status hold_remote(handoff::TransferState& transfer, SectionId section, uint64_t end_bytes,
                     const PeerEntry& peer) const;
  static bool takes_chunks(const handoff::TransferState& transfer);
  // REQUIRES: the Transfer's submit_mutex is held.
  Status append_chunk(const std::shared_ptr<handoff::TransferState>& transfer,
                      const ChunkPlan& plan, std::shared_ptr<counter::ProgressWordState> word);
  Result<Transfer> open_transfer(std::shared_ptr<handoff::TransferState> transfer,
                                 bool takes_offer);
  Result<int64_t> enter_transfer(const std::shared_ptr<handoff::TransferState>& transfer,
                                 bool takes_offer);

  // context_pull.cc
  Status fill_read_grant(handoff::ReadGrantState& grant, const ReadGrantRequest& request,
                         const PeerEntry& peer);
  Status permit_sources(handoff::ReadGrantState& grant, const kv::Plan& plan);
  Result<int64_t> enter_read_grant(const std::shared_ptr<handoff::ReadGrantState>& grant);
  Status fill_pull(handoff::PullState& pull, const PullRequest& request, const Offer& offer,
                   const PeerEntry& peer);
  static Status check_counts(const kv::Plan& plan, const std::vector<uint32_t>& offered);
  // kUnavailable: the plug-in of the Path has no reads; says `instead`.
  Status check_reads(const PeerEntry& peer, const char* instead) const;
  Status hold_pull(handoff::PullState& pull, const Layout& target, const Layout& source,
                   const PeerEntry& peer);
  // `tokens`: by layer.
  Status arm_pull(handoff::PullState& pull, const std::vector<TokenRange>& tokens);
  Result<int64_t> enter_pull(const std::shared_ptr<handoff::PullState>& pull);

  ContextOptions options_;
  std::string address_;
  const Environment environment_;
  base::Clock& clock_;
  base::Logger logger_;
  base::ContextMeters meters_;
  MeterTable peer_meters_;
  int64_t created_ns_ = 0;
  std::shared_ptr<counter::Waker> waker_;
  std::unique_ptr<counter::CounterTable> counters_;
  section::SectionTable sections_;
  std::unique_ptr<EventQueue> events_;
  std::optional<CallerFd> caller_fd_;  // kCaller; its timer: progress_mutex_
  transport::PluginRegistry plugins_;
  std::vector<std::unique_ptr<transport::Rail>> rails_;
  std::vector<bool> rail_reads_;  // by rail; constant, for callers: rails_ go while they may call
  std::unique_ptr<handoff::Engine> engine_;
  std::unique_ptr<transport::DataLoop> loop_;
  std::unique_ptr<control::ControlInterface> control_;
  std::string metrics_address_;  // "" without the endpoint
  std::unique_ptr<HttpServer> http_;

  std::mutex progress_mutex_;
  bool is_turn_due_ = false;  // kCaller: found by rest(); guarded by progress_mutex_

  mutable std::mutex state_mutex_;
  std::condition_variable state_changed_;  // peers' phases, offers
  std::map<PeerId, PeerEntry> peers_;
  std::map<GrantId, Offer> offers_;
  std::map<GrantId, std::shared_ptr<handoff::GrantState>> live_grants_;
  std::map<TransferId, std::shared_ptr<handoff::TransferState>> live_transfers_;
  struct Cache {
    std::string name;
    std::shared_ptr<const Layout> layout;
  };
  std::map<CacheId, Cache> caches_;
  uint32_t last_cache_ = 0;
  uint64_t last_transfer_ = 0;
  uint64_t last_group_ = 0;

  // Control thread: what the data thread's lane had no room for. Bounded by the peers' inboxes, and
  // by a few entries of each connection.
  std::deque<handoff::Command> backlog_;
  std::atomic<uint64_t> next_epoch_{1};
  std::atomic<bool> closing_{false};  // set with state_mutex_ held
  std::mutex close_mutex_;
  bool closed_ = false;  // guarded by close_mutex_
};

}  // namespace baton::api
