// Engine: the data thread's side of every hand-off. It owns Paths, routes arriving units to Grants,
// feeds Transfers to Paths, and carries each request to its one terminal state
// (docs/architecture.md, "The life of a Grant" and what follows).
//
// Invariants:
//  1. All state here belongs to the data thread; others speak to it through the three queues.
//  2. Control messages about Grants leave through EngineOutput::send in the order of the events
//     that they tell of.
//  3. A Grant ends DONE with its last counted unit, or after its memory is quiet: the writer's
//     QUIESCED agrees with what was applied, or the Path is fenced. A Transfer ends when it has its
//     verdict (or is in doubt) and no op is out.
//  4. Between OpenGrant / OpenTransfer and their ends the engine holds a reference.
//
// Thread rule: submit(), from_control() and queue_cancel() from any thread; everything else on the
// data thread. Units, posts and op reports allocate nothing; opening and ending of requests may.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "baton/event.h"
#include "src/base/bounded_queue.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/counter/counter_table.h"
#include "src/counter/waker.h"
#include "src/handoff/command.h"
#include "src/transfer/path_channel.h"
#include "src/transport/data_loop.h"
#include "src/transport/rail.h"

namespace baton::handoff {

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
  // The peer's Path is usable, or will not come.
  virtual void path_ready(PeerId peer, const Status& status) = 0;
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
  // Everything with one peer.
  struct Link {
    PeerId peer;
    bool up = true;
    Status down_why;
    uint32_t unit_bytes = 0;
    std::unique_ptr<transfer::PathChannel> channel;
    baton_path* opening = nullptr;  // waits for its peer's address
    transport::Rail* opening_rail = nullptr;
    uint64_t cookie = 0;  // its Path's name in reports; 0: none was opened
    bool had_path = false;
    PathEpoch path_epoch;  // of the Path, also when it is gone; 0: there was none
    bool fence_wanted = false;
    Status fence_why;        // of the fence that began
    std::string broken_why;  // not empty: the path broke
    int64_t broken_seen_ns = 0;
    std::vector<std::shared_ptr<GrantState>> grants;
    std::vector<std::shared_ptr<TransferState>> transfers;
    size_t next_transfer = 0;                 // whose turn it is
    std::map<GrantId, wire::GrantEnd> ended;  // tombstones, until the writer acknowledged
    std::vector<GrantId> quiesce_owed;        // range Grants that the receiver cancelled
    bool more_ready = false;                  // pump() stopped for others' sake: it goes on at once
    bool path_full = false;                   // pump() stopped until the Path's progress makes room
  };
  struct SlotOwner {
    GrantState* grant;
    uint32_t ordinal;
  };
  // What a path cookie names. An entry is used again, for a later link, with its next generation: a
  // cookie (generation:32 | index:32) never means another Path than the one that it was made for.
  struct Cookie {
    Link* link = nullptr;
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
  void open_stream_path(OpenStreamPath& command);
  void open_addressed_path(OpenAddressedPath& command);
  void connect_path(ConnectPath& command);
  void adopt_path(Link& link, transport::Rail* rail, baton_path* path, PathEpoch epoch);
  void path_opened(Link& link);
  void path_unconnected(Link& link, const Status& why);
  void path_failed(Link& link, const Status& why);
  void look_after_path(Link& link, int64_t now_ns);
  void fence_path(Link& link, const Status& why, int64_t now_ns);
  void path_fenced(Link& link, int64_t now_ns);
  static void fail_requests(Link& link, const Status& why, int64_t now_ns);
  uint64_t take_cookie(Link& link);
  void return_cookie(Link& link);
  Link* link_of(uint64_t cookie);
  transfer::PathChannel* channel_of(uint64_t cookie);

  // engine_receive.cc: this process is the receiver
  void open_grant(const std::shared_ptr<GrantState>& grant, int64_t now_ns);
  void layer_counted(GrantState& grant, uint32_t ordinal);
  void complete_grant(Link& link, GrantState& grant, int64_t now_ns);
  void tell_end(Link& link, const wire::GrantEnd& end);
  void begin_grant_end(Link& link, GrantState& grant, int64_t now_ns);
  bool is_quiet(Link& link, const GrantState& grant) const;
  void settle_grants(Link& link, int64_t now_ns);
  void finish_grant(Link& link, const std::shared_ptr<GrantState>& grant, int64_t now_ns);
  void cancel_arrived(Link& link, const wire::Cancel& cancel, int64_t now_ns);
  void quiesced_arrived(Link& link, const wire::Quiesced& quiesced, int64_t now_ns);

  // engine_send.cc: this process is the writer (or reader) of a peer's memory
  void open_transfer(const std::shared_ptr<TransferState>& transfer, int64_t now_ns);
  uint32_t pump(Link& link, int64_t now_ns);
  uint32_t pump_push(Link& link, TransferState& transfer, int64_t now_ns);
  uint32_t pump_raw(Link& link, TransferState& transfer);
  bool stage_next_unit(Link& link, TransferState& transfer);
  bool next_ready_layer(TransferState& transfer, int64_t now_ns);
  void settle_transfers(Link& link, int64_t now_ns);
  bool settle_push(Link& link, TransferState& transfer, int64_t now_ns);
  bool settle_raw(Link& link, TransferState& transfer, int64_t now_ns);
  void begin_transfer_end(Link& link, TransferState& transfer, int64_t now_ns);
  void send_quiesced(Link& link, TransferState& transfer);
  void answer_range_cancels(Link& link);
  void finish_transfer(const std::shared_ptr<TransferState>& transfer, int64_t now_ns);
  void end_arrived(Link& link, const wire::GrantEnd& end);

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
  std::vector<Cookie> cookies_;  // by index; entry 0 is none. As many as links at a time
  std::vector<uint32_t> free_cookies_;
  std::unordered_map<uint64_t, std::shared_ptr<GrantState>> grants_;
  GrantState* last_resolved_ = nullptr;
  std::unique_ptr<SlotOwner[], void (*)(void*)> slot_owners_;  // by slot index, committed lazily
  int64_t next_timer_ns_ = INT64_MAX;
  bool has_word_timer_ = false;  // next_timer_ns_ is soon enough for words that wake nobody
  uint32_t ready_layers_ = 0;    // reports since the last turn: they make a turn useful
};

}  // namespace baton::handoff
