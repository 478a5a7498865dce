// The wait() of handles.
//
// Thread rule: any thread.
#pragma once

#include <cstdint>
#include <string>

#include "baton/status.h"
#include "src/api/context_impl.h"
#include "src/handoff/lifecycle.h"

namespace baton::api {

// Until `life` is terminal, at most `timeout_ms`: its outcome, or kDeadlineExceeded about `who`.
inline Status wait_life(ContextImpl& context, const handoff::Lifecycle& life, uint32_t timeout_ms,
                        const std::string& who) {
  constexpr int64_t kMsNs = 1'000'000;
  const int64_t deadline_ns = context.now_ns() + int64_t{timeout_ms} * kMsNs;
  const bool ended = context.wait_until(
      deadline_ns, [&] { return life.is_terminal(); },
      [&](int64_t until_ns) { life.wait_terminal(until_ns); });
  if (ended) return life.status();
  return Status(StatusCode::kDeadlineExceeded,
                who + " has not ended within " + std::to_string(timeout_ms) + " ms");
}

}  // namespace baton::api
