// Status and Result: how every operation of Baton reports failure.
//
// Invariants:
//  1. A code is chosen by what the caller can do about it; the message says what, where and why
//  (peer, path, section,
//     index, address, failed call and its errno).
//  2. Nothing of Baton's throws. A Status that is dropped is a compiler warning.
//  3. The codes are the same on every transport and on both sides of a hand-off; docs/errors.md has
//  the table.
//
// Thread rule: values; as safe as an int.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "baton/export.h"

namespace baton {

// The numbers travel on the wire: they are appended to, never renumbered.
enum class StatusCode : uint8_t {
  kOk = 0,
  kInvalidArgument = 1,     // the call is wrong and will be wrong again: fix the caller
  kNotFound = 2,            // the named peer, section, cache or grant is not known here
  kOutOfRange = 3,          // an index or byte range lies past the end of what it names
  kFailedPrecondition = 4,  // right call, wrong moment (closed section, sealed transfer)
  kMismatch = 5,            // both sides are healthy and disagree (layout, version, unit_bytes)
  kPermissionDenied = 6,    // wrong secret, or a range outside its Grant
  kBusy = 7,                // a bounded queue is full: retry after progress
  kExhausted = 8,           // slots, memory, descriptors or locked memory ran out
  kDeadlineExceeded = 9,    // the operation's own deadline passed
  kPeerLost = 10,           // the peer died, was restarted, or its control connection was lost
  kPathLost = 11,           // no Path to the peer is left (NO_PATH); the peer itself may live
  kCancelled = 12,          // cancelled by this side or by the peer
  kInDoubt = 13,      // ended without the receiver's verdict: the bytes may or may not have arrived
  kUnavailable = 14,  // not on this machine: missing plug-in, driver, device or permission
  kAddressInUse = 15,   // another process holds the address, or another live Context holds the id
  kProtocolError = 16,  // the peer broke the protocol; its connection was closed
  kIoError = 17,        // the operating system refused (errno in the message)
  kInternal = 18,       // a fault of Baton's own; please report it with the message
};

// "DEADLINE_EXCEEDED" and so on: stable, for logs, metrics and JSON.
BATON_EXPORT std::string_view status_code_name(StatusCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // kOk
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status ok() { return Status(); }

  bool is_ok() const { return code_ == StatusCode::kOk; }
  explicit operator bool() const { return is_ok(); }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // "OUT_OF_RANGE: block 17 of group 0 lies past ...", or "OK".
  BATON_EXPORT std::string to_string() const;

  // For the caller who has decided that this failure does not matter, and says so.
  void ignore() const {}

  friend bool operator==(const Status& a, const Status& b) = default;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

// A value, or the Status that says why there is none. REQUIRES: the Status given is not kOk.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}          // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(std::move(status)) {}  // NOLINT(google-explicit-constructor)
  Result(StatusCode code, std::string message) : status_(code, std::move(message)) {}

  bool is_ok() const { return value_.has_value(); }
  explicit operator bool() const { return is_ok(); }

  const Status& status() const { return status_; }
  StatusCode code() const { return status_.code(); }

  // REQUIRES: is_ok().
  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return std::move(*value_); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace baton

// Returns from the enclosing function with the Status when `expression` failed.
#define BATON_RETURN_IF_ERROR(expression)             \
  do {                                                \
    ::baton::Status baton_status_ = (expression);     \
    if (!baton_status_.is_ok()) return baton_status_; \
  } while (false)
