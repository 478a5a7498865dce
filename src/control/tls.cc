#include "src/control/tls.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstring>
#include <string>
#include <string_view>

#include "src/base/assert.h"

namespace baton::control {

namespace {

constexpr std::string_view kIdentity = "baton-v1";
constexpr std::string_view kKeyLabel = "baton control psk v1";
constexpr std::string_view kExporterLabel = "EXPORTER-baton-stream-v1";
constexpr unsigned char kAes128GcmSha256[] = {0x13, 0x01};
constexpr const char* kCipherSuite = "TLS_AES_128_GCM_SHA256";

// A session object that carries the external key; null when memory is out.
SSL_SESSION* make_session(SSL* ssl) {
  const void* data = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
  const auto& key = *static_cast<const std::array<uint8_t, 32>*>(data);
  const SSL_CIPHER* cipher = SSL_CIPHER_find(ssl, kAes128GcmSha256);
  SSL_SESSION* session = SSL_SESSION_new();
  if (session == nullptr || cipher == nullptr ||
      SSL_SESSION_set1_master_key(session, key.data(), key.size()) != 1 ||
      SSL_SESSION_set_cipher(session, cipher) != 1 ||
      SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) != 1) {
    SSL_SESSION_free(session);
    return nullptr;
  }
  return session;
}

int use_session(SSL* ssl, const EVP_MD*, const unsigned char** identity, size_t* identity_length,
                SSL_SESSION** session) {
  *session = make_session(ssl);
  *identity = reinterpret_cast<const unsigned char*>(kIdentity.data());
  *identity_length = kIdentity.size();
  return *session != nullptr ? 1 : 0;
}

int find_session(SSL* ssl, const unsigned char* identity, size_t identity_length,
                 SSL_SESSION** session) {
  *session = nullptr;
  const std::string_view given(reinterpret_cast<const char*>(identity), identity_length);
  if (given != kIdentity) return 1;  // not known: the handshake fails for want of a certificate
  *session = make_session(ssl);
  return *session != nullptr ? 1 : 0;
}

// Alerts that a side sends when the proof of the secret fails, and reasons on the side that finds
// it out.
bool is_proof_failure(unsigned long error) {
  switch (ERR_GET_REASON(error)) {
    case SSL_AD_REASON_OFFSET + SSL_AD_ILLEGAL_PARAMETER:
    case SSL_AD_REASON_OFFSET + SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_REASON_OFFSET + SSL_AD_DECRYPT_ERROR:
    case SSL_AD_REASON_OFFSET + SSL_AD_UNKNOWN_PSK_IDENTITY:
    case SSL_AD_REASON_OFFSET + SSL_AD_ACCESS_DENIED:
    case SSL_R_BINDER_DOES_NOT_VERIFY:
    case SSL_R_BAD_PSK:
    case SSL_R_PSK_IDENTITY_NOT_FOUND:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
      return true;
    default:
      return false;
  }
}

Status tls_failure(const char* what) {
  const unsigned long error = ERR_peek_error();
  const char* reason = ERR_reason_error_string(error);
  const Status status(
      is_proof_failure(error) ? StatusCode::kPermissionDenied : StatusCode::kProtocolError,
      std::string("TLS ") + what + ": " + (reason != nullptr ? reason : "no reason given"));
  ERR_clear_error();
  return status;
}

}  // namespace

TlsSession::~TlsSession() { SSL_free(ssl_); }

Status TlsSession::handshake() {
  ERR_clear_error();
  const int rc = SSL_do_handshake(ssl_);
  if (rc == 1) {
    // A peer that ignored the key and showed a certificate instead has proven nothing.
    if (SSL_session_reused(ssl_) != 1) {
      return Status(StatusCode::kPermissionDenied,
                    "TLS handshake: the peer did not use the secret");
    }
    established_ = true;
    return Status::ok();
  }
  const int why = SSL_get_error(ssl_, rc);
  if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return Status::ok();
  return tls_failure("handshake");
}

Status TlsSession::feed(std::span<const uint8_t> cipher, std::vector<uint8_t>& plain) {
  if (!cipher.empty()) {
    const int length = static_cast<int>(cipher.size());
    const int written = BIO_write(SSL_get_rbio(ssl_), cipher.data(), length);
    if (written != length) return Status(StatusCode::kExhausted, "TLS input buffer: out of memory");
  }
  if (!established_) BATON_RETURN_IF_ERROR(handshake());
  while (established_) {
    constexpr size_t kRecordBytes = 16384;
    const size_t before = plain.size();
    plain.resize(before + kRecordBytes);
    ERR_clear_error();
    const int got = SSL_read(ssl_, plain.data() + before, static_cast<int>(kRecordBytes));
    plain.resize(before + static_cast<size_t>(got > 0 ? got : 0));
    if (got > 0) continue;
    const int why = SSL_get_error(ssl_, got);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) break;
    // From here on SSL_read takes nothing from its input, which would keep all that is fed.
    if (why == SSL_ERROR_ZERO_RETURN)
      return Status(StatusCode::kPeerLost, "the peer ended its TLS session (close_notify)");
    return tls_failure("read");
  }
  return Status::ok();
}

Status TlsSession::seal(std::span<const uint8_t> plain) {
  BATON_ASSERT(established_, "bytes are sealed after the handshake");
  while (!plain.empty()) {
    ERR_clear_error();
    size_t written = 0;
    if (SSL_write_ex(ssl_, plain.data(), plain.size(), &written) != 1) return tls_failure("write");
    plain = plain.subspan(written);
  }
  return Status::ok();
}

void TlsSession::close_notify() {
  ERR_clear_error();
  SSL_shutdown(ssl_);
}

void TlsSession::take_output(std::vector<uint8_t>& out) {
  BIO* bio = SSL_get_wbio(ssl_);
  for (;;) {
    const size_t pending = BIO_ctrl_pending(bio);
    if (pending == 0) return;
    const size_t before = out.size();
    out.resize(before + pending);
    const int got = BIO_read(bio, out.data() + before, static_cast<int>(pending));
    out.resize(before + static_cast<size_t>(got > 0 ? got : 0));
    if (got <= 0) return;
  }
}

StreamKey TlsSession::stream_key() const {
  StreamKey key{};
  const int done = SSL_export_keying_material(ssl_, key.data(), key.size(), kExporterLabel.data(),
                                              kExporterLabel.size(), nullptr, 0, 0);
  BATON_ASSERT(done == 1, "the exporter works after the handshake");
  return key;
}

TlsContext::~TlsContext() {
  OPENSSL_cleanse(key_.data(), key_.size());
  SSL_CTX_free(context_);
}

Result<std::unique_ptr<TlsContext>> TlsContext::create(const Secret& secret) {
  BATON_ASSERT(!secret.is_empty(), "TLS needs a secret");
  ERR_clear_error();
  SSL_CTX* raw = SSL_CTX_new(TLS_method());
  if (raw == nullptr) return Status(StatusCode::kUnavailable, tls_failure("set-up").message());
  std::unique_ptr<TlsContext> context(new TlsContext(raw));
  context->key_ =
      hmac_sha256(secret.bytes(),
                  std::span(reinterpret_cast<const uint8_t*>(kKeyLabel.data()), kKeyLabel.size()));
  SSL_CTX_set_app_data(raw, &context->key_);
  SSL_CTX_set_options(raw, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_psk_use_session_callback(raw, use_session);
  SSL_CTX_set_psk_find_session_callback(raw, find_session);
  // A server that asked for no certificate would still offer to take one.
  SSL_CTX_set_verify(raw, SSL_VERIFY_NONE, nullptr);
  if (SSL_CTX_set_min_proto_version(raw, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(raw, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(raw, kCipherSuite) != 1 || SSL_CTX_set_num_tickets(raw, 0) != 1 ||
      SSL_CTX_set_max_early_data(raw, 0) != 1 ||
      SSL_CTX_set1_groups_list(raw, "X25519:P-256") != 1) {
    return Status(StatusCode::kUnavailable, tls_failure("set-up").message());
  }
  return context;
}

Result<std::unique_ptr<TlsSession>> TlsContext::start(TlsRole role) const {
  SSL* ssl = SSL_new(context_);
  BIO* in = BIO_new(BIO_s_mem());
  BIO* out = BIO_new(BIO_s_mem());
  if (ssl == nullptr || in == nullptr || out == nullptr) {
    BIO_free(in);
    BIO_free(out);
    SSL_free(ssl);
    return Status(StatusCode::kExhausted, "TLS session: out of memory");
  }
  // An empty input means "more will come", not "end of file".
  BIO_set_mem_eof_return(in, -1);
  SSL_set_bio(ssl, in, out);
  if (role == TlsRole::kDialer) {
    SSL_set_connect_state(ssl);
  } else {
    SSL_set_accept_state(ssl);
  }
  return std::unique_ptr<TlsSession>(new TlsSession(ssl));
}

}  // namespace baton::control
