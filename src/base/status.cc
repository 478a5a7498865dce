#include "baton/status.h"

namespace baton {

std::string_view status_code_name(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return "OK";
    case StatusCode::kInvalidArgument:
      return "INVALID_ARGUMENT";
    case StatusCode::kNotFound:
      return "NOT_FOUND";
    case StatusCode::kOutOfRange:
      return "OUT_OF_RANGE";
    case StatusCode::kFailedPrecondition:
      return "FAILED_PRECONDITION";
    case StatusCode::kMismatch:
      return "MISMATCH";
    case StatusCode::kPermissionDenied:
      return "PERMISSION_DENIED";
    case StatusCode::kBusy:
      return "BUSY";
    case StatusCode::kExhausted:
      return "EXHAUSTED";
    case StatusCode::kDeadlineExceeded:
      return "DEADLINE_EXCEEDED";
    case StatusCode::kPeerLost:
      return "PEER_LOST";
    case StatusCode::kPathLost:
      return "PATH_LOST";
    case StatusCode::kCancelled:
      return "CANCELLED";
    case StatusCode::kInDoubt:
      return "IN_DOUBT";
    case StatusCode::kUnavailable:
      return "UNAVAILABLE";
    case StatusCode::kAddressInUse:
      return "ADDRESS_IN_USE";
    case StatusCode::kProtocolError:
      return "PROTOCOL_ERROR";
    case StatusCode::kIoError:
      return "IO_ERROR";
    case StatusCode::kInternal:
      return "INTERNAL";
  }
  // A code of a newer peer.
  return "UNKNOWN";
}

std::string Status::to_string() const {
  std::string text(status_code_name(code_));
  if (!message_.empty()) {
    text += ": ";
    text += message_;
  }
  return text;
}

}  // namespace baton
