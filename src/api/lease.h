// When a request runs out: at its deadline, or at the end of its lease if that is sooner. A lease
// is counted from the sending of the last heartbeat that the peer has echoed, its basis.
//
// Thread rule: pure functions.
#pragma once

#include <algorithm>
#include <cstdint>

#include "src/handoff/grant_state.h"
#include "src/handoff/transfer_state.h"

namespace baton::api {

// `basis_ns` 0: no heartbeat was echoed yet, so that no lease runs.
inline int64_t lease_end_ns(int64_t basis_ns, int64_t lease_ns) {
  return basis_ns == 0 ? INT64_MAX : basis_ns + lease_ns;
}

// The holder's lease is 10 % shorter: it stops before the other side takes the pages back. The one
// who gave the Grant is the other side.
inline int64_t holders_lease_ns(int64_t lease_ns) { return lease_ns - lease_ns / 10; }
inline int64_t watched_lease_ns(const handoff::GrantState& grant) {
  return grant.pull != nullptr ? holders_lease_ns(grant.lease_ns) : grant.lease_ns;
}
inline int64_t watched_lease_ns(const handoff::TransferState& transfer) {
  const bool is_given = transfer.kind == handoff::TransferKind::kReadGrant;
  return is_given ? transfer.lease_ns : holders_lease_ns(transfer.lease_ns);
}

// Of a Grant or a Transfer. With each echo this moves on, so it is asked again then.
template <typename Request>
int64_t runs_out_ns(const Request& request, int64_t basis_ns) {
  return std::min(request.deadline_ns, lease_end_ns(basis_ns, watched_lease_ns(request)));
}

}  // namespace baton::api
