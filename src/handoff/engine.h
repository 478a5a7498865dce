// Engine: the data thread's side of every hand-off. It owns Paths, routes arriving units to Grants,
// feeds Transfers to Paths, and carries each request to its one terminal state
// (docs/architecture.md, "The life of a Grant" and what follows).
//
// Invariants:
//  1. All state here belongs to the data thread; others speak to it through the three queues.
//  2. Control messages about Grants leave through EngineOutput::send in the order of the events
//     that they tell of.
//  3. A Grant ends DONE with its last counted unit, or after its memory is quiet: the writer's
//     QUIESCED agrees with what was applied on each Path, but for those that are fenced. A Transfer
//     ends when it has its verdict (or is in doubt) and no op is out.
//  4. Between OpenGrant / OpenTransfer and their ends the engine holds a reference.
//
// Thread rule: submit(), from_control() and queue_cancel() from any thread; everything else on the
// data thread. Units, posts and op reports allocate nothing; opening and ending of requests may.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "baton/event.h"
#include "src/base/bounded_queue.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/base/meters.h"
#include "src/counter/counter_table.h"
#include "src/counter/waker.h"
#include "src/handoff/command.h"
#include "src/transfer/path_channel.h"
#include "src/transport/data_loop.h"
#include "src/transport/rail.h"

namespace baton::handoff {

class PullState;
class ReadGrantState;
struct FailedRequest;

// What the engine needs of the Context. Called on the data thread; none blocks.
class EngineOutput {
 public:
  virtual ~EngineOutput() = default;
  // To the peer's control connection, in order.
  virtual Status send(PeerId peer, const wire::Message& message) = 0;
  virtual void emit(Event event) = 0;
  virtual void drop_peer(PeerId peer, const Status& why) = 0;
  // It is terminal and the engine has let go of it: what it holds is given back here, when nobody
  // else looks at that any more.
  virtual void grant_ended(const std::shared_ptr<GrantState>& grant) = 0;
  virtual void transfer_ended(const std::shared_ptr<TransferState>& transfer) = 0;
  virtual void offer_arrived(PeerId peer, wire::GrantOffer offer) = 0;
  virtual void offer_ended(PeerId peer, GrantId grant) = 0;
  // False from offer_ended() on.
  virtual bool offer_stands(PeerId peer, GrantId grant) = 0;
  // Likewise; true of an offer to read.
  virtual bool read_offer_stands(PeerId peer, GrantId grant) = 0;
  // The Path of this ordinal is usable, or will not come.
  virtual void path_ready(PeerId peer, uint32_t ordinal, const Status& status) = 0;
  // It was agreed to, and will not come here: it is fenced now, and path_gone() follows.
  virtual void path_unopened(PeerId peer, uint32_t ordinal, const Status& status) = 0;
  // It ended, at both sides: its ordinal is free for another. Only while the peer lives.
  virtual void path_gone(PeerId peer, uint32_t ordinal) = 0;
  // CLOCK_MONOTONIC at which the last heartbeat that this peer echoed was sent; 0: none was.
  virtual int64_t lease_basis_ns(PeerId peer) = 0;
};

class Engine : public transport::DataWork, public transport::RailEvents {
 public:
  struct Limits {
    uint32_t max_submissions = 4096;
    uint32_t max_live = 4096;
  };

  // Borrowed: output, counters, waker, clock, logger. Rails are set before the first turn.
  Engine(const Limits& limits, EngineOutput* output, counter::CounterTable* counters,
         std::shared_ptr<counter::Waker> waker, base::Clock& clock, base::Logger& logger);
  ~Engine() override;

  void set_rails(std::vector<transport::Rail*> rails) { rails_ = std::move(rails); }

  // ---- any thread
  // kBusy when the queue is full; the command is then unchanged.
  Status submit(Command&& command);
  // The control thread's lane. False when full, the command is then unchanged: the control thread
  // keeps it, and all that follows, and offers them again.
  [[nodiscard]] bool from_control(Command&& command);
  // The reserved lane: has room for one cancel of each live request.
  void queue_cancel(const std::shared_ptr<GrantState>& grant);
  void queue_cancel(const std::shared_ptr<TransferState>& transfer);

  // ---- data thread
  uint32_t turn(int64_t now_ns) override;
  uint32_t after_rails(int64_t now_ns) override;
  bool has_work() const override;
  int64_t next_timer_ns() const override { return next_timer_ns_; }
  // Fences every Path; true when no request is live and every Path is closed. Called until true,
  // before rails close.
  bool shut_down(int64_t now_ns);

  void on_op_done(uint64_t path_cookie, uint64_t op, baton_op_status status) override;
  void on_units_arrived(uint64_t path_cookie, uint32_t immediate) override;
  void on_path_broken(uint64_t path_cookie, const char* reason) override;
  void on_fenced(uint64_t path_cookie) override;
  baton_resolved on_resolve(uint64_t path_cookie, uint64_t grant, uint64_t region_key,
                            uint64_t address, uint32_t length_bytes, baton_access access) override;

 private:
  struct Link;
  // One of a peer's Paths, by its ordinal: idle -> (expected, held ->) opening -> open -> broken ->
  // being fenced -> fenced here -> idle, when the peer has fenced it, too.
  struct LinkPath {
    Link* link = nullptr;
    uint32_t ordinal = 0;
    PathPlan plan;  // of the Path that is or was last here
    std::unique_ptr<transfer::PathChannel> channel;
    baton_path* opening = nullptr;  // waits for its peer's address
    transport::Rail* opening_rail = nullptr;
    bool expected = false;          // its stream has not come yet
    bool unopened = false;          // agreed to, and it will not carry anything: it is fenced
    std::unique_ptr<Command> held;  // what opens it, until the peer's Grants allow it (may_open)
    uint64_t cookie = 0;            // its name in reports; 0: it is not open
    bool fence_wanted = false;
    bool fenced_here = false;  // and the peer's FENCED has not come
    bool fenced_there = false;
    std::vector<wire::Fenced::Applied> snapshot;  // of the peer's FENCED
    Status fence_why;                             // of the fence that began
    std::string broken_why;                       // not empty: the path broke
    int64_t broken_seen_ns = 0;
    uint64_t immediates = 0;  // taken from it, and of them returned to the peer as credits
    uint64_t returned = 0;
    // For those who watch.
    std::optional<FenceCause> fence_cause;
    int64_t fence_began_ns = 0;
    bool was_open = false;
    bool died_before = false;  // one that was open here has ended since the peer is up

    // Bytes could arrive on it, or leave.
    bool is_there() const {
      return channel != nullptr || opening != nullptr || held != nullptr || expected || unopened;
    }
    bool is_open() const {
      return channel != nullptr && channel->state() == transfer::PathState::kOpen && !fence_wanted;
    }
  };
  // Everything with one peer.
  struct Link {
    PeerId peer;
    bool up = true;
    Status down_why;
    uint32_t unit_bytes = 0;
    std::shared_ptr<base::PeerMeters> meters;
    std::array<LinkPath, base::kMaxPathsPerPeer> paths;
    bool had_path = false;
    Status path_why;  // of the fence that left it without a Path
    std::vector<std::shared_ptr<GrantState>> grants;
    std::vector<std::shared_ptr<TransferState>> transfers;
    std::vector<PullState*> pulls;  // those of `grants`
    size_t next_turn = 0;           // whose it is: of `transfers`, then `pulls`
    // Tombstones (GrantEnd, ReadDone), until the other side acknowledged.
    std::map<GrantId, wire::Message> ended;
    std::vector<GrantId> quiesce_owed;  // range Grants that the receiver cancelled
    bool more_ready = false;            // pump() stopped for others' sake: it goes on at once
    bool path_full = false;             // pump() stopped until the Path's progress makes room
  };
  struct SlotOwner {
    GrantState* grant;
    uint32_t ordinal;
  };
  // What a path cookie names. An entry is used again, for a later Path, with its next generation: a
  // cookie (generation:32 | index:32) never means another Path than the one that it was made for.
  struct Cookie {
    LinkPath* path = nullptr;
    uint32_t generation = 0;
  };

  // engine.cc
  uint32_t drain(int64_t now_ns);
  void execute(Command& command, int64_t now_ns);
  Link* find_link(PeerId peer);
  void send_or_drop(Link& link, const wire::Message& message);
  void want_timer(int64_t at_ns);
  void message_arrived(Link& link, wire::Message& message, int64_t now_ns);
  void unlink_down_peers();
  bool may_stage(const TransferState& transfer) const;

  // engine_path.cc
  // Whether a Path may be opened to the peer now: none of its Grants is CANCELLING, or ended
  // without the writer's acknowledgement.
  static bool may_open(const Link& link);
  // nullptr: there is no such peer any more, or the ordinal is taken, which is reported.
  LinkPath* plan_path(PeerId peer, const PathPlan& plan, bool asked);
  void expect_path(ExpectPath& command);
  void stream_arrived(OpenStreamPath& command);
  void open_path(LinkPath& path, Command&& command);
  void open_held_paths(Link& link);
  void open_stream_path(LinkPath& path, OpenStreamPath& command);
  void open_addressed_path(LinkPath& path, OpenAddressedPath& command);
  void connect_path(LinkPath& path, ConnectPath& command);
  void abandon_path(LinkPath& path, const Status& failed_stream);
  Status open_in_plugin(LinkPath& path, int stream_fd, baton_path** out);
  void adopt_path(LinkPath& path, transport::Rail* rail, baton_path* opened);
  void path_opened(LinkPath& path);
  void path_unconnected(LinkPath& path, const Status& why);
  void path_failed(LinkPath& path, const Status& why);
  void path_unopened(LinkPath& path, const Status& why);
  uint64_t take_cookie(LinkPath& path);
  void return_cookie(LinkPath& path);
  LinkPath* path_of(uint64_t cookie);
  LinkPath* path_with(Link& link, PathEpoch epoch);

  // engine_fence.cc
  void look_after_paths(Link& link, int64_t now_ns);
  void look_after_path(Link& link, LinkPath& path, int64_t now_ns);
  void fence_path(LinkPath& path, const Status& why, int64_t now_ns);
  void path_fenced(LinkPath& path, int64_t now_ns);
  void path_dead(LinkPath& path);
  void fence_arrived(Link& link, const wire::Fence& fence);
  void fenced_arrived(Link& link, wire::Fenced& fenced);
  // The only Path that is left, or that comes.
  static bool is_last(const LinkPath& path);
  static bool has_path(const Link& link);
  static uint32_t open_paths(const Link& link);
  static void fail_requests(Link& link, const Status& why, int64_t now_ns);
  std::vector<wire::Fenced::Applied> snapshot(LinkPath& path);
  void return_credits(LinkPath& path);
  void credits_arrived(Link& link, const wire::Credits& credits);

  // engine_settle.cc: what a dead Path may have lost
  void settle_path_death(LinkPath& path);
  uint32_t pump_settlement(Link& link, TransferState& transfer, int64_t now_ns);
  void flush_rewrites(Link& link, Settlement& settlement);
  void send_settle(Link& link, TransferState& transfer, int64_t now_ns);
  void settle_arrived(Link& link, const wire::Settle& settle, int64_t now_ns);

  // engine_receive.cc: this process is the receiver
  void open_grant(const std::shared_ptr<GrantState>& grant, int64_t now_ns);
  void end_unopened(const std::shared_ptr<GrantState>& grant, Status why, int64_t now_ns);
  void layer_counted(GrantState& grant, uint32_t ordinal);
  static baton_resolved resolve_read(ReadGrantState& grant, uint64_t region_key, uint64_t address,
                                     uint32_t length_bytes, baton_access access);
  void tell_end(Link& link, const GrantState& grant, const Status& verdict);
  void begin_grant_end(Link& link, GrantState& grant, int64_t now_ns);
  bool is_quiet_on(const LinkPath& path, const GrantState& grant) const;
  bool is_quiet(const Link& link, const GrantState& grant) const;
  void fence_unquiet(Link& link, const GrantState& grant, int64_t now_ns);
  void settle_grants(Link& link, int64_t now_ns);
  void finish_grant(Link& link, const std::shared_ptr<GrantState>& grant, int64_t now_ns);
  void cancel_arrived(Link& link, const wire::Cancel& cancel, int64_t now_ns);
  void quiesced_arrived(Link& link, const wire::Quiesced& quiesced, int64_t now_ns);

  // engine_send.cc: this process is the writer of a peer's memory
  void open_transfer(const std::shared_ptr<TransferState>& transfer, int64_t now_ns);
  uint32_t pump(Link& link, int64_t now_ns);
  uint32_t pump_transfer(Link& link, TransferState& transfer, int64_t now_ns);
  uint32_t pump_push(Link& link, TransferState& transfer, int64_t now_ns);
  bool stage_next_unit(Link& link, TransferState& transfer);
  // How many of the chunk's layers are final.
  static uint32_t ready_layers(const TransferState& transfer, const Chunk& chunk);
  // Its layers are not all final: looks at its word again, if nobody wakes for it.
  void poll_word(const Chunk& chunk, int64_t now_ns);
  bool next_ready_layer(TransferState& transfer, int64_t now_ns);
  void settle_transfers(Link& link, int64_t now_ns);
  // True: it has ended.
  bool settle_transfer(Link& link, TransferState& transfer, int64_t now_ns);
  bool settle_push(Link& link, TransferState& transfer, int64_t now_ns);
  void begin_transfer_end(Link& link, TransferState& transfer, int64_t now_ns);
  void send_quiesced(Link& link, TransferState& transfer);
  bool has_stopped(Link& link, TransferState& transfer);
  static uint32_t undrained(const Link& link, const TransferState& transfer);
  void fence_undrained(Link& link, const TransferState& transfer, uint32_t paths, int64_t now_ns);
  void fence_silent_paths(Link& link, const TransferState& transfer, int64_t now_ns);

  // engine_stripe.cc: which Path the next piece takes
  // The open Path with the least to do that reaches the Transfer's sections, but for those in
  // `without`; nullptr: none.
  LinkPath* pick_path(Link& link, const TransferState& transfer, uint32_t without);
  LinkPath* stripe_path(Link& link, TransferState& transfer);
  static transfer::Piece piece_of(const LinkPath& path, const TransferState& transfer,
                                  const kv::Unit& unit, baton_source* sources);
  static uint32_t push_all(Link& link);
  static bool has_staged(const Link& link, const transfer::PostOwner* owner, bool open_only);

  // engine_raw.cc: plain bytes, written and read
  uint32_t pump_raw(Link& link, TransferState& transfer);
  bool stage_run(Link& link, TransferState& transfer, uint32_t length);
  bool settle_raw(Link& link, TransferState& transfer, int64_t now_ns);
  void flush_raw(Link& link, TransferState& transfer, uint32_t paths);
  void finish_raw(TransferState& transfer, bool in_doubt, int64_t now_ns);
  void answer_range_cancels(Link& link);
  void finish_transfer(const std::shared_ptr<TransferState>& transfer, int64_t now_ns);
  void end_arrived(Link& link, const wire::GrantEnd& end);

  // engine_pull.cc: this process is the source that a peer reads from
  void open_read_grant(Link& link, const std::shared_ptr<TransferState>& transfer, int64_t now_ns);
  ReadGrantState* find_read_grant(const Link& link, GrantId grant) const;
  void read_start_arrived(Link& link, const wire::ReadStart& start);
  void read_done_arrived(Link& link, const wire::ReadDone& done);
  void take_ticks(ReadGrantState& grant, int64_t now_ns);
  bool stage_told(Link& link, ReadGrantState& grant, uint32_t layer, uint32_t tokens);
  uint32_t pump_read_grant(Link& link, ReadGrantState& grant, int64_t now_ns);
  bool settle_read_grant(Link& link, ReadGrantState& grant, int64_t now_ns);
  // ... and the reader
  void open_pull(Link& link, PullState& pull);
  bool may_read(const PullState& pull) const;
  static bool next_read_unit(PullState& pull);
  // The Path that the next range takes; nullptr: none, or all are in `without`.
  LinkPath* pick_read_path(Link& link, PullState& pull, uint32_t without);
  bool stage_read(Link& link, PullState& pull);
  uint32_t pump_pull(Link& link, PullState& pull);
  void settle_pull(Link& link, PullState& pull, int64_t now_ns);
  void read_lost_again(Link& link, PullState& pull);
  void drop_reads(Link& link, PullState& pull);
  void finish_pull(Link& link, PullState& pull);
  static void drop_staged(Link& link, const transfer::PostOwner* owner);

  // engine_watch.cc: counts, notes and log lines for those who watch
  static base::PathMeters& meters_of(const LinkPath& path);
  static void want_fence(LinkPath& path, FenceCause cause);
  void note_opened(LinkPath& path);
  void note_fencing(LinkPath& path, const Status& why, int64_t now_ns);
  static void note_fenced(LinkPath& path, int64_t now_ns);
  static void note_units(const LinkPath& path, GrantState& grant, uint32_t ordinal, uint64_t units);
  void note_wait(const Link& link, GrantState& grant, int64_t now_ns) const;
  static void note_wait(const Link& link, TransferState& transfer, int64_t now_ns);
  static void note_read_grant(ReadGrantState& grant, int64_t now_ns);
  static void note_all(const Link& link, Wait why, int64_t now_ns);
  static void note_full(const Link& link, TransferState& transfer, int64_t now_ns);
  void log_end(const GrantState& grant, int64_t now_ns);
  void log_end(const TransferState& transfer, int64_t now_ns);
  void log_end(const FailedRequest& failed);

  EngineOutput* const output_;
  counter::CounterTable* const counters_;
  const std::shared_ptr<counter::Waker> waker_;
  base::Clock& clock_;
  base::Logger& logger_;
  std::vector<transport::Rail*> rails_;

  base::BoundedQueue<Command> submissions_;
  base::BoundedQueue<Command> control_;
  base::BoundedQueue<Command> cancels_;

  std::map<PeerId, std::unique_ptr<Link>> links_;
  std::vector<Cookie> cookies_;  // by index; entry 0 is none. As many as Paths at a time
  std::vector<uint32_t> free_cookies_;
  std::unordered_map<uint64_t, std::shared_ptr<GrantState>> grants_;
  std::unordered_map<uint64_t, ReadGrantState*> read_grants_;  // held by their links
  GrantState* last_resolved_ = nullptr;
  std::unique_ptr<SlotOwner[], void (*)(void*)> slot_owners_;  // by slot index, committed lazily
  int64_t next_timer_ns_ = INT64_MAX;
  bool has_word_timer_ = false;  // next_timer_ns_ is soon enough for words that wake nobody
  uint32_t ready_layers_ = 0;    // reports since the last turn: they make a turn useful
};

}  // namespace baton::handoff
