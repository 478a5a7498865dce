// RequestGroup: several requests that are one hand-off and share the blocks of one side.
//
//  - A GrantGroup: one receiver grants to several writers. One Gate per layer stands for all of
//    them; what one of them ends with ends the others. The pages are the test's again when the
//    group has ended, and keep until then what the members that are DONE have brought.
//  - Readers: one source offers the same blocks to several readers. Its pages are the test's again,
//    and are overwritten, when the last of the ReadGrants has ended.
//
// Thread rule: the driver's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "baton/context.h"
#include "src/base/random.h"
#include "tests/simulation/request.h"

namespace baton_test {

class RequestGroup {
 public:
  // `members`: not started, by the index in the script, and alive as long as this. `granter`: the
  // one that they share.
  RequestGroup(uint32_t index, const Scenario& scenario, Party granter,
               std::vector<Request*> members, Tally* tally);
  RequestGroup(const RequestGroup&) = delete;
  RequestGroup& operator=(const RequestGroup&) = delete;

  std::string tag() const { return "group-" + std::to_string(index_); }
  std::string describe() const;
  bool is_readers() const { return script_.kind == Kind::kPull; }

  // Makes all Grants; false: no memory is free now, later. `movers`: by member. REQUIRES: not
  // started.
  bool start(const std::vector<baton::PeerId>& movers, uint32_t step,
             const std::vector<bool>& may_fail);
  // Of a GrantGroup; no value: there is none.
  std::optional<baton::GrantGroupId> id() const { return id_; }

  void look_at_gates();
  void on_ended(const baton::Event& event);
  void on_granter_died() { is_granter_dead_ = true; }
  // After all members have ended.
  void check_outcome() const;
  void drop_handle() { group_ = baton::GrantGroup(); }

  // ---- for the members

  const BlockLists& blocks() const { return blocks_; }
  // Those that the tokens of a member lie in.
  BlockLists blocks_of(baton::TokenRange tokens) const;
  // Null: its group's handle is gone.
  const baton::Grant* grant(const Request& member) const;
  void cancel_as_scripted(bool by_handle);
  void on_member_ended(const Request& member, const baton::Status& end);
  void on_source_released();
  // The script's will for all of them, with nothing in its way: DONE.
  bool should_be_done() const;

 private:
  bool take_memory();
  void give_up(size_t taken);
  bool make_group(const std::vector<baton::PeerId>& movers, bool may_fail);
  void check_gates(const baton::Status& end) const;
  void check_members(const baton::Status& end) const;
  Way way() const { return is_readers() ? Way::kOut : Way::kIn; }

  const uint32_t index_;
  const GroupScript& script_;
  const Party granter_;
  const std::vector<Request*> members_;
  Tally* const tally_;
  baton::base::Random random_;

  BlockLists blocks_;
  bool has_grants_ = false;
  bool is_granter_dead_ = false;
  size_t sources_released_ = 0;
  size_t members_ended_ = 0;

  // Of a GrantGroup.
  baton::GrantGroup group_;
  std::optional<baton::GrantGroupId> id_;
  std::vector<baton::Gate> gates_;
  baton::Gate all_;
  std::vector<bool> gate_seen_;
  std::optional<baton::Status> end_;
};

}  // namespace baton_test
