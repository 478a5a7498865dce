// RawClient and RawServer: one end of a control connection spoken by hand, to play strangers, fakes
// and peers that misbehave.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "src/base/unique_fd.h"
#include "src/control/secret.h"
#include "src/control/stream_proof.h"
#include "src/control/tls.h"
#include "src/wire/messages.h"

namespace baton_test {

// A Hello of protocol version 1, boot id 1 and incarnation 1.
baton::wire::Hello raw_hello(const std::string& name);
// The Welcome that answers it well.
baton::wire::Welcome raw_welcome(const std::string& name, const baton::wire::Hello& hello);

// A blocking TCP connection; each wait ends after 20 s.
class RawClient {
 public:
  // Connects to the port of `address`.
  explicit RawClient(const std::string& address);
  explicit RawClient(baton::base::UniqueFd fd);
  int fd() const { return fd_.get(); }
  baton::base::UniqueFd take_fd() { return std::move(fd_); }

  // Does the handshake. From then on all but send_raw goes through TLS.
  bool start_tls(const baton::control::Secret& secret, baton::control::TlsRole role);
  baton::control::StreamKey tls_stream_key() const { return tls_->stream_key(); }

  bool send(std::span<const uint8_t> bytes);
  bool send(const std::string& text);
  bool send(const baton::wire::Message& message);
  bool send_raw(std::span<const uint8_t> bytes);
  // The preface of a plain connection, then the message.
  bool send_hello(const baton::wire::Hello& hello);
  // With TLS: the record that says that no more comes. The socket stays as it is.
  bool end_tls();
  // No more bytes from this end.
  void end_output();
  // Closes so that the other side reads ECONNRESET.
  void reset();

  // Whether the other side has neither closed nor reset the connection, as far as is known now.
  bool is_open() const;
  // Whether nothing is there to be read now.
  bool is_quiet() const;
  // Whether the other side closes (or resets), whatever it says before.
  bool is_closed_by_peer();
  bool read_exactly(std::span<uint8_t> into);
  std::optional<baton::wire::Message> read_message();
  // The next message that is a T; what comes before it is passed over.
  template <typename T>
  std::optional<T> read_next() {
    while (auto message = read_message()) {
      if (auto* found = std::get_if<T>(&*message)) return std::move(*found);
    }
    return std::nullopt;
  }

  // The dialer's side of a hello, up to the other side's Confirm.
  std::optional<baton::wire::Welcome> become_peer(const baton::wire::Hello& hello);

 private:
  bool read_more();

  baton::base::UniqueFd fd_;
  std::unique_ptr<baton::control::TlsContext> context_;
  std::unique_ptr<baton::control::TlsSession> tls_;
  std::vector<uint8_t> plain_;  // read and not consumed
};

class RawServer {
 public:
  RawServer();
  // Where `name` would be dialled.
  std::string address(const std::string& name) const;
  // Nobody listens any more.
  void close() { fd_.reset(); }
  // The next connection.
  RawClient accept();
  // Accepts a plain control connection and reads its Hello.
  std::pair<RawClient, baton::wire::Hello> accept_hello();

 private:
  baton::base::UniqueFd fd_;
};

}  // namespace baton_test
