// Exit statuses of the perf tools.
#pragma once

#include <string>

#include "baton/status.h"

namespace baton_perf {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;  // verification failed, or a fault of Baton's own
inline constexpr int kExitBadInput =
    2;  // options, settings that differ, a result that cannot be written
inline constexpr int kExitPeerLost = 3;  // nobody there, or gone, or too slow
inline constexpr int kExitSignal = 128;  // plus the signal's number: interrupted

// Of a call that names the peer, or what it offered, once it was connected: what is not found then
// is gone.
inline baton::Status lost_if_gone(baton::Status status) {
  if (status.code() != baton::StatusCode::kNotFound) return status;
  return {baton::StatusCode::kPeerLost, std::string(status.message())};
}

inline int exit_code_of(const baton::Status& status) {
  switch (status.code()) {
    case baton::StatusCode::kOk:
      return kExitOk;
    case baton::StatusCode::kInvalidArgument:
    case baton::StatusCode::kNotFound:
    case baton::StatusCode::kOutOfRange:
    case baton::StatusCode::kMismatch:
    case baton::StatusCode::kPermissionDenied:
    case baton::StatusCode::kExhausted:
    case baton::StatusCode::kUnavailable:
    case baton::StatusCode::kAddressInUse:
    case baton::StatusCode::kIoError:
      return kExitBadInput;
    case baton::StatusCode::kPeerLost:
    case baton::StatusCode::kPathLost:
    case baton::StatusCode::kDeadlineExceeded:
    case baton::StatusCode::kCancelled:
    case baton::StatusCode::kInDoubt:
    case baton::StatusCode::kProtocolError:
      return kExitPeerLost;
    case baton::StatusCode::kFailedPrecondition:
    case baton::StatusCode::kBusy:
    case baton::StatusCode::kInternal:
      return kExitFailed;
  }
  return kExitFailed;
}

}  // namespace baton_perf
