// Request: one scripted hand-off (or move of plain bytes) while it runs: what each side does, what
// its events must be, and what every byte must be at each of them.
//
// What it checks, by the number of the promise in docs:
//  1. A gate that is open and well, a Grant or Transfer that is DONE: every byte is that of an
//     independent row-by-row reference. Source bytes are written right before they are said to be
//     final; a byte read earlier is wrong.
//  2. Units: the reference's own cut, the offer, the Grant's count and the Transfer's agree.
//  3. At a side's terminal state its memory is used anew: received pages are poisoned, sent bytes
//     are overwritten. From then on a byte that is neither poison nor expected is a failure.
//  4. One event each; every gate open with it; in time.
//
// Thread rule: the driver's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "baton/context.h"
#include "baton/pull.h"
#include "src/base/random.h"
#include "tests/simulation/memory.h"
#include "tests/simulation/scenario.h"
#include "tests/simulation/shadow.h"
#include "tests/unit/kv/reference.h"

namespace baton_test {

// One end of a request.
struct Party {
  baton::Context* context = nullptr;
  ContextMemory* memory = nullptr;
  const bool* is_closed = nullptr;
  Shadow* shadow = nullptr;  // told of this party's memory that may be written; may be null
};

// How many requests ended in which way: a simulation in which nothing succeeds, or nothing fails,
// tests little.
struct Tally {
  uint64_t granted = 0;
  uint64_t moved = 0;
  uint64_t grants_done = 0;
  uint64_t transfers_done = 0;
  uint64_t cancelled = 0;
  uint64_t in_doubt = 0;
  uint64_t leases_ran_out = 0;
  uint64_t bytes_checked = 0;
  uint64_t pulls = 0;
  uint64_t shared_sources = 0;  // that several readers were offered
  uint64_t groups = 0;
  uint64_t groups_done = 0;
  uint64_t groups_failed = 0;
};

// What besides its requests has hurt a connection. Whoever loses a Path learns of it, so that both
// sides still end alike.
enum class Hurt : uint8_t { kNone, kLastPath, kOtherwise };

class RequestGroup;

class Request final : public PieceOwner {
 public:
  // `driven_ns`: time as the driver counts it, without the pauses of a busy machine (simulation.h).
  Request(uint32_t index, const Scenario& scenario, Party granter, Party mover,
          const int64_t* driven_ns, Tally* tally);
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  const RequestScript& script() const { return script_; }
  // How its Grant is named; the members of a GrantGroup share that.
  std::string tag() const;
  std::string describe() const;

  // Makes the Grant; false: no memory is free now, later. REQUIRES: not started.
  bool start(baton::PeerId mover, uint32_t step, bool may_fail);

  // The parts of that, for a member of a group. Borrowed.
  void join(RequestGroup* group) { group_ = group; }
  bool take_blocks();  // false: too few are free
  void prepare_blocks();
  void give_up_blocks();
  void give_up();  // no Grant was made of it
  void begin(baton::PeerId mover, uint32_t step, bool may_fail);
  void begin_granted(uint32_t step);
  // What its group needs of it.
  const std::optional<baton::Status>& grant_end() const { return grant_end_; }
  bool is_disturbed() const { return is_disturbed_; }
  void expect_end_from_now();
  void spoil_source();
  void release_target();
  // Empty, or what is wrong with a layer, or with all of them, that was said to have arrived.
  std::string check_layer(std::optional<uint32_t> layer) const { return compare(layer, false); }
  static baton::State state_of(const baton::Status& status);
  // Answers that a peer's cancel, death or deadline explains.
  static bool says_ended(const baton::Status& status);
  // What names a section or cache of before.
  static bool says_renewed(const baton::Status& status);
  // Its time came when no connection was there.
  void skip() { is_over_ = true; }
  bool is_started() const { return grant_id_.has_value(); }
  const RequestGroup* group() const { return group_; }
  baton::GrantId grant_id() const { return *grant_id_; }
  std::optional<baton::TransferId> transfer_id() const { return transfer_id_; }
  // A party's process was killed: of its side nothing is heard any more, and the other side ends in
  // time, counted from `due_ns`.
  void on_granter_died(int64_t due_ns);
  void on_mover_died(int64_t due_ns);
  // A party stands still, and whether nothing is heard of it for long enough that the other one's
  // lease runs out; or nothing goes between them. How long in all, from now.
  void on_granter_frozen(int64_t for_ns);
  void on_mover_frozen(int64_t for_ns);
  void on_parted(int64_t for_ns);
  // A party's sections change, or have just changed: what names those of before is refused, or
  // ends.
  void on_renewed() { is_renewed_ = true; }
  bool is_renewed() const { return is_renewed_; }
  // Some of its bytes lie in that section of the granter, or the mover, and its end there has not
  // come.
  bool is_using(bool of_granter, size_t section) const;
  // Something besides this request hurts its connection: it may end late, by what is promised for
  // that.
  void disturb() { is_disturbed_ = true; }
  std::string may_land(uint32_t layer, uint64_t grant) const override;
  // Both sides have ended, as far as they began.
  bool is_over() const { return is_over_; }
  // Something of the script is still to come without anybody's event.
  bool is_busy() const;

  // Acts of this step.
  void step(uint32_t step);
  // Since it was asked last: a call was made, so that there may be work for progress().
  bool acted() { return std::exchange(acted_, false); }
  // Whose they are.
  bool has_gates_at_mover() const { return script_.kind == Kind::kPull; }
  void look_at_gates();
  void on_offered() { is_offered_ = true; }
  void on_grant_ended(const baton::Event& event);
  void on_transfer_ended(const baton::Event& event);
  void on_message(const baton::Event& event);
  // The script's will, with nothing in its way: DONE. In a group it takes all members.
  bool wants_done() const;
  bool should_be_done() const;
  // After both ended. `hurt`: what happened to the connection besides this request.
  // `may_repeat`: a Path died, so that bytes went over another one again.
  void check_outcome(Hurt hurt, bool may_repeat = false) const;
  // Nobody's handle is left.
  void drop_handles();
  // Empty, or why it takes too long.
  std::string check_in_time() const;

 private:
  // A contiguous part of what moves.
  struct Piece {
    uint32_t layer = 0;
    uint8_t* at = nullptr;
    std::vector<uint8_t> expected;
  };
  struct SourceRange {
    uint32_t section = 0;
    uint64_t offset = 0;
    uint64_t length = 0;
  };

  // request_memory.cc
  bool take_memory();
  void expect_handoff();
  void expect_raw();
  uint8_t final_byte(uint32_t section, uint64_t offset) const;
  void write_final(const SourceRange& range);
  void finish_layer(baton::TokenRange chunk, uint32_t layer);
  void finish_all();
  void release_source();
  void give_source_back();
  void give_target_back();
  Shadow* target_shadow() const;
  void open_shadow() const;
  void close_target();
  std::string compare(std::optional<uint32_t> layer, bool may_be_missing) const;

  // request_pull.cc
  bool offer_read(baton::PeerId reader, bool may_fail);
  void pull(baton::GrantId grant);
  void on_read_grant_ended(const baton::Event& event);
  void on_pull_ended(const baton::Event& event);
  void check_both_ends(Hurt hurt) const;
  void check_pull_outcome(bool is_disturbed) const;

  // request.cc, request_act.cc, request_check.cc
  bool grant_is_source() const {
    return script_.kind == Kind::kRead || script_.kind == Kind::kPull;
  }
  bool is_handoff() const { return script_.kind == Kind::kPush || script_.kind == Kind::kPull; }
  bool shares_target() const { return group_ != nullptr && script_.kind == Kind::kPush; }
  bool shares_source() const { return group_ != nullptr && script_.kind == Kind::kPull; }
  // Null: its handle is gone, or it was never made.
  const baton::Grant* grant() const;
  bool open_grant(baton::PeerId mover, bool may_fail);
  void answer();
  baton::Result<baton::Transfer> push(baton::GrantId grant);
  baton::Result<baton::Transfer> move_raw(baton::GrantId grant);
  bool feeds() const;
  void act(uint32_t step);
  void refuse(const baton::Status& why);
  void cancel_grant();
  void cancel_transfer();
  void submit_next_chunk();
  void tick();
  void seal();
  void apply_ending(uint32_t step);
  bool waits_for_transfer() const;
  int64_t due_ns() const;
  int64_t lease_due_ns(int64_t silent_for_ns) const;
  void count_lease(const baton::Status& end);
  void drop_handle();
  bool can_move() const;
  void release_memory();
  void check_offer(const baton::GrantOffer& offer) const;
  void check_units(const baton::GrantRecord& record) const;
  void check_record(uint64_t bytes) const;

  const uint32_t index_;
  const Scenario& scenario_;
  const RequestScript& script_;
  const Party granter_;
  const Party mover_;
  const int64_t* const driven_ns_;
  Tally* const tally_;
  baton::base::Random random_;
  RequestGroup* group_ = nullptr;

  // memory
  BlockLists target_blocks_;
  BlockLists source_blocks_;
  uint32_t target_slot_ = 0;
  uint32_t source_slot_ = 0;
  std::vector<ReferenceUnit> units_;
  std::vector<uint64_t> units_of_layer_;
  std::vector<Piece> pieces_;
  std::vector<SourceRange> sources_;
  bool source_released_ = false;
  bool target_closed_ = false;
  bool target_released_ = false;

  // the granter's side; of a pulled hand-off without the gates, which are the mover's
  baton::Grant grant_;
  baton::ReadGrant read_grant_;
  std::optional<baton::GrantId> grant_id_;
  std::vector<baton::Gate> gates_;
  baton::Gate all_;
  std::vector<bool> gate_seen_;
  std::optional<baton::Status> grant_end_;
  baton::GrantRecord grant_record_;
  bool has_grant_record_ = false;
  uint32_t opened_step_ = 0;
  // In driven time: when it is to end at the latest, by its deadline or a death; when everything
  // had been said, or somebody cancelled (INT64_MAX: not yet).
  int64_t due_ns_ = 0;
  int64_t said_ns_ = INT64_MAX;
  int64_t cancelled_ns_ = INT64_MAX;
  bool is_disturbed_ = false;
  bool is_renewed_ = false;
  // When each side's lease has run out at the latest; INT64_MAX: it need not.
  int64_t granter_lease_ns_ = INT64_MAX;
  int64_t mover_lease_ns_ = INT64_MAX;
  bool granter_froze_ = false;
  bool mover_froze_ = false;

  // the mover's side
  bool is_offered_ = false;
  bool is_refused_ = false;  // the offer had gone when it was answered
  baton::Transfer transfer_;
  baton::Pull pull_;
  std::optional<baton::TransferId> transfer_id_;
  baton::ProgressWord word_;
  uint32_t next_act_ = 0;
  uint32_t chunks_done_ = 0;
  uint32_t ticks_done_ = 0;
  bool is_sealed_ = false;
  std::optional<baton::Status> transfer_end_;
  baton::TransferRecord transfer_record_;
  bool has_transfer_record_ = false;
  bool has_message_ = false;
  bool message_seen_ = false;

  bool granter_died_ = false;
  bool mover_died_ = false;
  bool ending_applied_ = false;
  bool acted_ = false;
  bool is_over_ = false;
};

}  // namespace baton_test
