#include "src/control/observer.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "src/base/clock.h"
#include "src/base/random.h"
#include "src/control/address.h"
#include "src/control/control_options.h"
#include "src/control/hello.h"
#include "src/control/socket.h"
#include "src/control/stream_proof.h"
#include "src/control/tls.h"
#include "src/wire/frame.h"

namespace baton::control {

namespace {

constexpr int64_t kMillisecond = 1'000'000;
constexpr size_t kReadBytes = size_t{64} << 10;

// One connection, read and written by whoever waits for it.
class Connection {
 public:
  Connection(const ControlAddress& target, int64_t deadline_ns)
      : target_(target), deadline_ns_(deadline_ns) {}

  Status connect() {
    auto candidates = resolve_address(target_.host, target_.port);
    if (!candidates.is_ok()) return candidates.status();
    Status last(StatusCode::kUnavailable, "no address");
    for (const SocketAddress& candidate : *candidates) {
      last = connect_to(candidate);
      if (last.is_ok() || last.code() == StatusCode::kDeadlineExceeded) return last;
    }
    return Status(last.code(), "cannot reach \"" + target_.name + "\": " + last.message() +
                                   "; is it running, and is this its present address?");
  }

  // Proves the secret, or opens in clear.
  Status begin(const Secret& secret) {
    if (secret.is_empty()) {
      out_.assign(kControlPreface.begin(), kControlPreface.end());
      return flush();
    }
    auto context = TlsContext::create(secret);
    if (!context.is_ok()) return context.status();
    context_ = std::move(context).value();
    auto session = context_->start(TlsRole::kDialer);
    if (!session.is_ok()) return session.status();
    tls_ = std::move(session).value();
    BATON_RETURN_IF_ERROR(tls_->feed({}, plain_));
    stage_ = "TLS handshake";
    while (!tls_->is_established()) {
      BATON_RETURN_IF_ERROR(flush());
      BATON_RETURN_IF_ERROR(read_more());
    }
    return Status::ok();
  }

  Status send(const wire::Message& message) {
    auto frame = wire::encode(message);
    if (!frame.is_ok()) return frame.status();
    if (tls_ == nullptr) {
      out_.insert(out_.end(), frame->begin(), frame->end());
    } else {
      BATON_RETURN_IF_ERROR(tls_->seal(*frame));
    }
    return flush();
  }

  // The next message; `stage` says in an error what was waited for.
  Result<wire::Message> receive(const char* stage) {
    stage_ = stage;
    for (;;) {
      auto frame = reader_.next();
      if (!frame.is_ok()) return frame.status();
      if (frame->has_value()) return wire::decode(**frame);
      const Status read = read_more();
      if (!read.is_ok()) return read;
    }
  }

  const std::string& remote() const { return remote_; }

 private:
  Status connect_to(const SocketAddress& address) {
    remote_ = address.text();
    stage_ = "connection";
    auto fd = begin_connect(address);
    if (!fd.is_ok()) return fd.status();
    fd_ = std::move(fd).value();
    BATON_RETURN_IF_ERROR(wait(POLLOUT));
    const int error = connect_error(fd_.get());
    if (error == 0) return Status::ok();
    return Status(StatusCode::kUnavailable, "connect " + remote_ + ": " + std::strerror(error));
  }

  Status wait(short events) {
    for (;;) {
      const int64_t left_ns = deadline_ns_ - base::monotonic_now_ns();
      pollfd entry{fd_.get(), events, 0};
      const int ready =
          left_ns <= 0 ? 0 : poll(&entry, 1, static_cast<int>(left_ns / kMillisecond) + 1);
      if (ready > 0) return Status::ok();
      if (ready < 0 && errno == EINTR) continue;
      if (ready < 0)
        return Status(StatusCode::kIoError, std::string("poll: ") + std::strerror(errno));
      return Status(StatusCode::kDeadlineExceeded,
                    "\"" + target_.name + "\" at " + remote_ + " did not answer in time (" +
                        stage_ + "): is its process stopped, or its machine out of reach?");
    }
  }

  Status flush() {
    if (tls_ != nullptr) tls_->take_output(out_);
    size_t sent = 0;
    while (sent < out_.size()) {
      const ssize_t put = ::send(fd_.get(), out_.data() + sent, out_.size() - sent, MSG_NOSIGNAL);
      if (put > 0) {
        sent += static_cast<size_t>(put);
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        BATON_RETURN_IF_ERROR(wait(POLLOUT));
      } else if (errno != EINTR) {
        return lost(std::string("broke: send: ") + std::strerror(errno));
      }
    }
    out_.clear();
    return Status::ok();
  }

  Status read_more() {
    BATON_RETURN_IF_ERROR(wait(POLLIN));
    bytes_.resize(kReadBytes);
    const ssize_t got = recv(fd_.get(), bytes_.data(), bytes_.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return Status::ok();
    if (got < 0) return lost(std::string("broke: recv: ") + std::strerror(errno));
    if (got == 0) return lost("was closed by the other end");
    const auto bytes = std::span(bytes_).first(static_cast<size_t>(got));
    if (tls_ == nullptr) {
      reader_.feed(bytes);
      return Status::ok();
    }
    plain_.clear();
    const Status fed = tls_->feed(bytes, plain_);
    reader_.feed(plain_);
    return fed;
  }

  Status lost(const std::string& how) const {
    return Status(StatusCode::kPeerLost, "the connection to \"" + target_.name + "\" at " +
                                             remote_ + " " + how + " (" + stage_ + ")");
  }

  const ControlAddress target_;
  const int64_t deadline_ns_;
  std::string remote_;
  std::string stage_;
  base::UniqueFd fd_;
  std::unique_ptr<TlsContext> context_;
  std::unique_ptr<TlsSession> tls_;
  std::vector<uint8_t> out_;
  std::vector<uint8_t> plain_;
  std::vector<uint8_t> bytes_;
  wire::FrameReader reader_{wire::kMaxMessageBytes};
};

wire::Hello hello_of(const ControlOptions& own) {
  wire::Hello hello;
  hello.protocol_min = own.protocol_min;
  hello.protocol_max = own.protocol_max;
  hello.features = own.features;
  hello.required_features = own.required_features;
  hello.name = own.name;
  hello.boot_id = own.boot_id;
  hello.incarnation = 1;
  base::secure_random_bytes(hello.nonce);
  hello.role = wire::HelloRole::kObserver;
  return hello;
}

Status different_secrets(const std::string& who, const std::string& where, const Status& why) {
  return Status(StatusCode::kPermissionDenied,
                "\"" + who + "\" at " + where +
                    " has another secret than the one given: use its secret file (" +
                    why.message() + ")");
}

Status check_auth(const ControlAddress& target, bool has_secret) {
  if (target.auth == AuthMode::kPsk && !has_secret) {
    return Status(StatusCode::kPermissionDenied,
                  "\"" + target.name + "\" has a secret: give its secret file");
  }
  if (target.auth == AuthMode::kNone && has_secret) {
    return Status(StatusCode::kPermissionDenied,
                  "\"" + target.name + "\" has no secret: give no secret file");
  }
  return Status::ok();
}

}  // namespace

Result<std::string> observe(std::string_view address, const ObserverOptions& options) {
  auto target = parse_address(address);
  if (!target.is_ok()) return target.status();
  BATON_RETURN_IF_ERROR(check_auth(*target, !options.secret.is_empty()));
  ControlOptions own;
  own.name = options.name;
  own.features = kFeatureObservers;
  own.required_features = kFeatureObservers;
  base::secure_random_bytes(own.boot_id);
  if (!is_valid_context_name(own.name)) {
    return Status(StatusCode::kInvalidArgument,
                  "name \"" + own.name + "\" is not 1 to 128 of [A-Za-z0-9._~-]");
  }
  Connection connection(*target,
                        base::monotonic_now_ns() + int64_t{options.timeout_ms} * kMillisecond);
  BATON_RETURN_IF_ERROR(connection.connect());
  const Status begun = connection.begin(options.secret);
  if (begun.code() == StatusCode::kPermissionDenied)
    return different_secrets(target->name, connection.remote(), begun);
  if (!begun.is_ok()) return begun;
  const wire::Hello hello = hello_of(own);
  BATON_RETURN_IF_ERROR(connection.send(hello));
  auto answer = connection.receive("Welcome");
  // In TLS 1.3 the dialer may have finished before the acceptor says that the secrets differ.
  if (answer.code() == StatusCode::kPermissionDenied)
    return different_secrets(target->name, connection.remote(), answer.status());
  if (!answer.is_ok()) return answer.status();
  const auto* welcome = std::get_if<wire::Welcome>(&*answer);
  if (welcome == nullptr) {
    return Status(StatusCode::kProtocolError,
                  std::string(wire::message_name(*answer)) + " where Welcome is due");
  }
  const auto agreed = check_welcome(own, own.boot_id, hello, target->name, *welcome);
  if (!agreed.is_ok()) return agreed.status();
  BATON_RETURN_IF_ERROR(connection.send(wire::StateRequest{options.format}));
  auto reply = connection.receive("StateReply");
  if (!reply.is_ok()) return reply.status();
  auto* state = std::get_if<wire::StateReply>(&*reply);
  if (state == nullptr) {
    return Status(StatusCode::kProtocolError,
                  std::string(wire::message_name(*reply)) + " where StateReply is due");
  }
  return std::move(state->text);
}

}  // namespace baton::control
