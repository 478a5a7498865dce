// GrantGroupState: what the Grants of one fan-in share: the gates that stand for all of them, and
// the one verdict.
//
// Invariants:
//  1. The group fails by the failure of one of its Grants and in no other way, so that it is never
//     failed once all are DONE. The first failure decides its status (Lifecycle).
//  2. Its gates are opened by those of its Grants (GateState::set_parent, data thread), or fail all
//     at once with the first failure (whoever failed that Grant).
//  3. It is terminal when every Grant has ended and been given back.
//
// Ownership: the handle and the Grants hold it; it holds its Grants weakly. Thread rule:
// member_failed() and the readers from any thread; member_ended() by the data thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "baton/ids.h"
#include "baton/status.h"
#include "src/counter/gate_state.h"
#include "src/handoff/lifecycle.h"

namespace baton::handoff {

class GrantState;

class GrantGroupState {
 public:
  // Cancels a Grant, as its handle would. Any thread; does not block.
  using CancelGrant = std::function<void(const std::shared_ptr<GrantState>&, Status)>;

  struct Member {
    std::shared_ptr<GrantState> grant;
    uint32_t writer = 0;  // of the request
  };

  // Binds the Grants to the group. REQUIRES: their layers are armed, all have as many, and no other
  // thread knows them yet.
  static std::shared_ptr<GrantGroupState> create(GrantGroupId id, std::string tag,
                                                 const std::vector<Member>& members,
                                                 CancelGrant cancel, int64_t now_ns);

  // `member` fails with `why`. The first time: opens every gate of the group that is still closed,
  // and cancels the others. Idempotent; does not block.
  void member_failed(const GrantState& member, const Status& why, int64_t now_ns);
  // Data thread, once per Grant, when it has been given back. True for the last: the group is
  // terminal.
  bool member_ended(const GrantState& member, int64_t now_ns);
  std::string describe() const;  // "grant group 3 (tag \"req-1\")"

  // ---- constant
  GrantGroupId id;
  std::string tag;
  std::vector<std::shared_ptr<counter::GateState>> layers;
  std::shared_ptr<counter::GateState> all;

  Lifecycle life;

 private:
  void fail_gates(const Status& why, int64_t now_ns);

  std::vector<std::weak_ptr<GrantState>> members_;
  CancelGrant cancel_;
  // Data thread.
  size_t members_left_ = 0;
  Status first_failure_;  // of those that have ended
};

}  // namespace baton::handoff
