// TLS 1.3 with an external pre-shared key, between buffers: no sockets, no certificates, no
// tickets, no early data.
//
// The key is derived from the secret. The exchange is psk_dhe_ke (X25519 or P-256), so that a
// secret that leaks later does not open what was recorded. A finished handshake is mutual proof of
// the secret.
//
// Thread rule: TlsContext is immutable; a TlsSession belongs to one thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "baton/status.h"
#include "src/control/secret.h"
#include "src/control/stream_proof.h"

struct ssl_st;
struct ssl_ctx_st;

namespace baton::control {

enum class TlsRole : uint8_t { kDialer, kAcceptor };

class TlsSession {
 public:
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  // Takes bytes of the peer (none: begins the handshake) and appends what they decrypt to.
  // kPermissionDenied: the peer's secret is another one; kProtocolError: no TLS, or broken (the
  // alert that tells the peer is in take_output() then); kPeerLost: the peer said close_notify, and
  // nothing that follows would ever be read. What decrypted before the failure is appended.
  Status feed(std::span<const uint8_t> cipher, std::vector<uint8_t>& plain);
  // REQUIRES: is_established().
  Status seal(std::span<const uint8_t> plain);
  // Tells the peer that nothing more comes. Baton says Goodbye instead; tests play those who do
  // not.
  void close_notify();
  // Appends the bytes that are to be sent to the peer.
  void take_output(std::vector<uint8_t>& out);
  bool is_established() const { return established_; }
  // The same at both ends, different for each session. REQUIRES: is_established().
  StreamKey stream_key() const;

 private:
  friend class TlsContext;
  explicit TlsSession(ssl_st* ssl) : ssl_(ssl) {}
  Status handshake();

  ssl_st* const ssl_;
  bool established_ = false;
};

class TlsContext {
 public:
  // REQUIRES: the secret is not empty. kUnavailable: this OpenSSL lacks what is needed.
  static Result<std::unique_ptr<TlsContext>> create(const Secret& secret);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // kExhausted: out of memory.
  Result<std::unique_ptr<TlsSession>> start(TlsRole role) const;

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* const context_;
  std::array<uint8_t, 32> key_{};
};

// The record that tells a TLS dialer "there is no secret here" (RFC 8446: fatal alert,
// unknown_psk_identity).
inline constexpr std::array<uint8_t, 7> kNoSecretAlert = {0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x73};

}  // namespace baton::control
