// Secret: the bytes that both sides share. Wiped when destroyed, never printed.
//
// Thread rule: a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "baton/status.h"

namespace baton::base {
class Logger;
}

namespace baton::control {

inline constexpr size_t kMinSecretBytes = 32;
inline constexpr size_t kMaxSecretBytes = 4096;

class Secret {
 public:
  Secret() = default;
  // REQUIRES: empty, or [kMinSecretBytes, kMaxSecretBytes] bytes.
  explicit Secret(std::span<const uint8_t> bytes);
  Secret(const Secret& other) = default;
  Secret(Secret&& other) noexcept = default;
  Secret& operator=(const Secret& other);
  Secret& operator=(Secret&& other) noexcept;
  ~Secret();

  bool is_empty() const { return bytes_.empty(); }
  std::span<const uint8_t> bytes() const { return bytes_; }

 private:
  void wipe();
  std::vector<uint8_t> bytes_;
};

// The whole file is the secret. kNotFound / kIoError: with errno; kInvalidArgument: shorter than
// kMinSecretBytes, longer than kMaxSecretBytes, all bytes equal, or not a regular file;
// kPermissionDenied: others may write it. That others may read it is logged as a warning.
Result<Secret> read_secret_file(const std::string& path, base::Logger& logger);

}  // namespace baton::control
