// EnginePair: two Engines with a Path over the loopback fabric between them, and nothing else. Time
// stands still until a test moves it, and a control message arrives when the test delivers it:
// every order of events that the protocol has to survive can be written down.
//
// Thread rule: the test's thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "baton/plugin/loopback.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/handoff/engine.h"
#include "src/handoff/pull_state.h"
#include "src/handoff/read_grant_state.h"
#include "tests/support/guarded_buffer.h"

namespace baton_test {

inline constexpr int64_t kMs = 1'000'000;

// One Engine, and what it says to the outside.
class EngineSide : public baton::handoff::EngineOutput {
 public:
  static constexpr uint32_t kPeer = 1;  // each knows the other by this id
  static constexpr uint32_t kSection = 5;

  EngineSide(baton_loopback_fabric* fabric, baton::base::ManualClock* clock, size_t memory_bytes);
  ~EngineSide() override;

  baton::handoff::Engine& engine() { return *engine_; }
  GuardedBuffer& memory() { return memory_; }
  baton::counter::CounterTable& counters() { return *counters_; }
  const std::shared_ptr<baton::counter::Waker>& waker() const { return waker_; }

  // One turn of the data path; how much it did.
  uint32_t turn();
  // The middle of a turn: what arrived is placed and counted.
  uint32_t progress();
  // Asked before a sleep, as the data loop does.
  bool has_work() { return engine_->has_work() || rail_->plugin().arm(rail_->handle()) != 0; }
  // Executes a command that comes from the control thread.
  void control(baton::handoff::Command&& command);
  void receive(baton::wire::Message message);

  // What its first Path may do to this side's memory under this Grant.
  baton_resolved resolve(baton::GrantId grant, uint64_t offset, uint32_t length,
                         baton_access access) {
    constexpr uint64_t kFirstCookie = 1;
    return engine_->on_resolve(kFirstCookie, grant.value, kSection, offset, length, access);
  }

  // ---- EngineOutput
  baton::Status send(baton::PeerId peer, const baton::wire::Message& message) override;
  void emit(baton::Event event) override { events.push_back(std::move(event)); }
  void drop_peer(baton::PeerId, const baton::Status& why) override { dropped = why; }
  void grant_ended(const std::shared_ptr<baton::handoff::GrantState>& grant) override;
  void transfer_ended(const std::shared_ptr<baton::handoff::TransferState>& transfer) override;
  void offer_arrived(baton::PeerId, baton::wire::GrantOffer offer) override;
  void offer_ended(baton::PeerId, baton::GrantId grant) override {
    offers.erase(grant);
    read_offers.erase(grant);
  }
  bool read_offer_stands(baton::PeerId, baton::GrantId grant) override {
    return read_offers.count(grant) != 0;
  }
  bool offer_stands(baton::PeerId, baton::GrantId grant) override {
    return offers.count(grant) != 0;
  }
  void path_ready(baton::PeerId, uint32_t ordinal, const baton::Status& status) override;
  void path_gone(baton::PeerId, uint32_t ordinal) override { gone_paths.push_back(ordinal); }
  void path_unopened(baton::PeerId, uint32_t, const baton::Status& status) override {
    path_reports.push_back(status);
  }
  int64_t lease_basis_ns(baton::PeerId) override { return lease_basis; }

  std::deque<baton::wire::Message> outbox;  // in the order in which they left
  std::function<void(const baton::wire::Message&)> before_send;
  std::vector<baton::Event> events;
  std::set<baton::GrantId> offers;
  std::set<baton::GrantId> read_offers;
  std::vector<baton::wire::GrantOffer> offers_seen;
  std::vector<baton::GrantId> ended_grants;
  std::vector<baton::TransferId> ended_transfers;
  baton::Status dropped;
  std::vector<baton::Status> path_reports;
  std::vector<uint32_t> gone_paths;
  int64_t lease_basis = 1;

 private:
  baton::base::ManualClock* const clock_;
  baton::base::Logger logger_;
  GuardedBuffer memory_;
  std::shared_ptr<baton::counter::Waker> waker_;
  std::unique_ptr<baton::counter::CounterTable> counters_;
  std::unique_ptr<baton::handoff::Engine> engine_;
  std::unique_ptr<baton::transport::Rail> rail_;
};

// `from` asks `to` for a Path and returns what it says; `peer` is who `to` is to it, and
// `peer_rail` where the other end is said to be.
baton::wire::PathRequest ask_for_path(EngineSide& from, baton::PeerId peer, baton::PathEpoch epoch,
                                      uint32_t ordinal = 0,
                                      baton::RailIndex peer_rail = baton::RailIndex(0));
// `to` opens its end for `peer`, and answers.
baton::wire::PathReply answer_with_path(EngineSide& to, baton::PeerId peer,
                                        const baton::wire::PathRequest& request,
                                        baton::RailIndex peer_rail = baton::RailIndex(0));

class EnginePair {
 public:
  static constexpr uint32_t kLayers = 2;
  static constexpr uint32_t kUnitsPerLayer = 4;
  static constexpr uint32_t kBlockBytes = 4096;
  static constexpr baton::TokenRange kTokens{0, 16};  // four blocks
  static constexpr uint64_t kEpoch = 77;

  EnginePair() : EnginePair(default_plan()) {}
  // `while_dialling`: runs between the writer's request for its Path and the answer to it.
  // With `paths` Paths: of ordinals 0, 1 and so on, epochs kEpoch and so on; in the fabric the
  // writer's end of the k-th is path 2 k, the receiver's 2 k + 1.
  explicit EnginePair(const baton_loopback_plan& plan,
                      const std::function<void(EnginePair&)>& while_dialling = nullptr,
                      uint32_t paths = 1);
  ~EnginePair();
  EnginePair(const EnginePair&) = delete;
  EnginePair& operator=(const EnginePair&) = delete;
  static baton_loopback_plan default_plan();

  EngineSide& writer() { return *writer_; }
  EngineSide& receiver() { return *receiver_; }
  baton_loopback_fabric* fabric() { return fabric_; }
  baton::base::ManualClock* clock() { return &clock_; }
  void advance(int64_t ns) { clock_.advance_ns(ns); }
  int64_t now() const { return clock_.now_ns(); }

  // The writer asks for the Path of this ordinal, under this epoch, and gets it. Each side takes
  // the other's end to be on `peer_rail`.
  void reopen(uint32_t ordinal, uint64_t epoch, baton::RailIndex peer_rail = baton::RailIndex(0));
  // A turn of each, `times` times, no message delivered.
  void turns(int times = 4);
  // Delivers the oldest message of `from`, which must be a T, and turns the other side.
  template <typename T>
  T deliver(EngineSide& from) {
    if (from.outbox.empty() || !std::holds_alternative<T>(from.outbox.front())) {
      fail_delivery(from);
      return T();
    }
    T message = std::get<T>(from.outbox.front());
    from.outbox.pop_front();
    EngineSide& to = &from == writer_.get() ? *receiver_ : *writer_;
    to.receive(message);
    to.turn();
    return message;
  }
  // Turns each side as its data loop would, while a turn did something or there is work, and
  // delivers nothing. Returns how many turns that were; fails when they do not end.
  int turn_while_awake();
  // Delivers and turns until nothing is left.
  void settle();
  // Names of the messages that wait.
  static std::vector<std::string> waiting(const EngineSide& side);

  // A hand-off: blocks 0-3 of the writer's memory to blocks 3-0 of the receiver's.
  std::shared_ptr<baton::handoff::GrantState> make_grant();
  std::shared_ptr<baton::handoff::TransferState> make_transfer(
      const baton::handoff::GrantState& grant);
  // A range grant over the receiver's whole memory, and a write of all of the writer's.
  std::shared_ptr<baton::handoff::GrantState> make_range_grant();
  std::shared_ptr<baton::handoff::TransferState> make_write(
      const baton::handoff::GrantState& grant);
  // The same hand-off, pulled: the writer is the source, the receiver the reader.
  std::shared_ptr<baton::handoff::ReadGrantState> make_read_grant();
  std::shared_ptr<baton::handoff::PullState> make_pull(
      const baton::handoff::ReadGrantState& read_grant);
  void open(const std::shared_ptr<baton::handoff::GrantState>& grant);
  void open(const std::shared_ptr<baton::handoff::TransferState>& transfer);
  // Grant, offer, Transfer; nothing is final yet.
  void start();
  // ReadGrant, offer, Pull, ReadStart; nothing is final yet. They are `transfer` and `grant`.
  void start_pull();
  // Everything is final.
  void seal();
  void cancel_grant(baton::StatusCode code = baton::StatusCode::kCancelled);
  void cancel_transfer(baton::StatusCode code = baton::StatusCode::kCancelled);

  // "" when the receiver's memory is that of the hand-off, or poison where nothing came.
  std::string compare_all();
  bool is_untouched() {
    return receiver_->memory().check_poisoned(0, kLayers * 4 * kBlockBytes).empty();
  }

  std::shared_ptr<baton::handoff::GrantState> grant;        // of start()
  std::shared_ptr<baton::handoff::TransferState> transfer;  // of start()

 private:
  void open_path(uint32_t ordinal, const std::function<void(EnginePair&)>& while_dialling);
  static void fail_delivery(const EngineSide& from);
  baton::Layout layout() const;
  baton::kv::Plan make_plan() const;

  baton::base::ManualClock clock_;
  baton_loopback_fabric* fabric_ = nullptr;
  std::unique_ptr<EngineSide> writer_;
  std::unique_ptr<EngineSide> receiver_;
  uint64_t last_grant_ = 100;
  uint64_t last_transfer_ = 0;
};

}  // namespace baton_test
