#include "tests/unit/control/raw_client.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>

#include "src/control/address.h"
#include "src/control/control_options.h"
#include "src/control/socket.h"
#include "tests/unit/wire/sample_messages.h"

namespace baton_test {

using namespace baton;           // NOLINT(google-build-using-namespace)
using namespace baton::control;  // NOLINT(google-build-using-namespace)

namespace {

constexpr timeval kLimit{20, 0};

base::UniqueFd connect_to(const std::string& address) {
  const auto parsed = parse_address(address);
  EXPECT_TRUE(parsed.is_ok()) << address;
  const auto where = numeric_address(parsed->host, parsed->port);
  EXPECT_TRUE(where.is_ok()) << address;
  base::UniqueFd fd(socket(where->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&where->storage), where->length),
            0);
  return fd;
}

}  // namespace

wire::Hello raw_hello(const std::string& name) {
  wire::Hello hello;
  hello.protocol_min = kProtocolVersion;
  hello.protocol_max = kProtocolVersion;
  hello.name = name;
  hello.boot_id[0] = 1;
  hello.incarnation = 1;
  hello.address = "baton://127.0.0.1:1/" + name;
  return hello;
}

wire::Welcome raw_welcome(const std::string& name, const wire::Hello& hello) {
  wire::Welcome welcome;
  welcome.version = kProtocolVersion;
  welcome.name = name;
  welcome.boot_id[0] = 2;
  welcome.incarnation = 1;
  welcome.nonce = hello.nonce;
  welcome.session = 1234;
  return welcome;
}

RawClient::RawClient(const std::string& address) : RawClient(connect_to(address)) {}

RawClient::RawClient(base::UniqueFd fd) : fd_(std::move(fd)) {
  setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &kLimit, sizeof(kLimit));
  setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &kLimit, sizeof(kLimit));
  set_no_delay(fd_.get());
}

bool RawClient::start_tls(const Secret& secret, TlsRole role) {
  auto context = TlsContext::create(secret);
  EXPECT_TRUE(context.is_ok()) << context.status().to_string();
  context_ = std::move(context).value();
  auto session = context_->start(role);
  EXPECT_TRUE(session.is_ok()) << session.status().to_string();
  tls_ = std::move(session).value();
  if (role == TlsRole::kDialer && !tls_->feed({}, plain_).is_ok()) return false;
  std::vector<uint8_t> out;
  tls_->take_output(out);
  if (!out.empty() && !send_raw(out)) return false;
  while (!tls_->is_established()) {
    if (!read_more()) return false;
  }
  return true;
}

bool RawClient::read_more() {
  std::array<uint8_t, 4096> bytes;
  const ssize_t got = recv(fd_.get(), bytes.data(), bytes.size(), 0);
  if (got <= 0) return false;
  const auto taken = std::span(bytes).first(static_cast<size_t>(got));
  if (tls_ == nullptr) {
    plain_.insert(plain_.end(), taken.begin(), taken.end());
    return true;
  }
  const bool fed = tls_->feed(taken, plain_).is_ok();
  std::vector<uint8_t> out;
  tls_->take_output(out);
  return (out.empty() || send_raw(out)) && fed;
}

bool RawClient::send_raw(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(sent));
  }
  return true;
}

bool RawClient::send(std::span<const uint8_t> bytes) {
  if (tls_ == nullptr) return send_raw(bytes);
  std::vector<uint8_t> out;
  if (!tls_->seal(bytes).is_ok()) return false;
  tls_->take_output(out);
  return send_raw(out);
}

bool RawClient::send(const std::string& text) {
  return send(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

bool RawClient::send(const wire::Message& message) {
  const auto frame = wire::encode(message);
  EXPECT_TRUE(frame.is_ok()) << frame.status().to_string();
  return frame.is_ok() && send(std::span<const uint8_t>(*frame));
}

bool RawClient::send_hello(const wire::Hello& hello) {
  const bool begun = tls_ != nullptr || send(std::span<const uint8_t>(kControlPreface));
  return begun && send(wire::Message(hello));
}

bool RawClient::end_tls() {
  std::vector<uint8_t> out;
  tls_->close_notify();
  tls_->take_output(out);
  return send_raw(out);
}

void RawClient::end_output() { shutdown(fd_.get(), SHUT_WR); }

void RawClient::reset() {
  const linger at_once{1, 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  fd_.reset();
}

bool RawClient::is_open() const {
  uint8_t byte = 0;
  const ssize_t got = recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got > 0 || (got < 0 && errno == EAGAIN);
}

bool RawClient::is_quiet() const {
  uint8_t byte = 0;
  return plain_.empty() && recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
         errno == EAGAIN;
}

bool RawClient::is_closed_by_peer() {
  std::array<uint8_t, 4096> bytes;
  for (;;) {
    const ssize_t got = recv(fd_.get(), bytes.data(), bytes.size(), 0);
    if (got == 0) return true;
    if (got < 0) return errno == ECONNRESET;
  }
}

bool RawClient::read_exactly(std::span<uint8_t> into) {
  while (plain_.size() < into.size()) {
    if (!read_more()) return false;
  }
  std::copy_n(plain_.begin(), into.size(), into.begin());
  plain_.erase(plain_.begin(), plain_.begin() + static_cast<ptrdiff_t>(into.size()));
  return true;
}

std::optional<wire::Message> RawClient::read_message() {
  std::array<uint8_t, wire::kFramePrefixBytes> prefix{};
  if (!read_exactly(prefix)) return std::nullopt;
  std::vector<uint8_t> body(prefix[0] | size_t{prefix[1]} << 8 | size_t{prefix[2]} << 16 |
                            size_t{prefix[3]} << 24);
  if (!read_exactly(body)) return std::nullopt;
  auto message = wire::decode(body);
  EXPECT_TRUE(message.is_ok()) << message.status().to_string();
  return message.is_ok() ? std::optional(std::move(message).value()) : std::nullopt;
}

std::optional<wire::Welcome> RawClient::become_peer(const wire::Hello& hello) {
  if (!send_hello(hello)) return std::nullopt;
  auto welcome = read_next<wire::Welcome>();
  if (!welcome || welcome->code != StatusCode::kOk) return std::nullopt;
  if (!read_next<wire::Describe>() || !send(wire::Message(sample_describe()))) return std::nullopt;
  if (!read_next<wire::Confirm>()) return std::nullopt;
  return welcome;
}

RawServer::RawServer() {
  const auto where = numeric_address("127.0.0.1", 0);
  auto listener = listen_on(*where);
  EXPECT_TRUE(listener.is_ok()) << listener.status().to_string();
  fd_ = std::move(listener).value();
}

std::string RawServer::address(const std::string& name) const {
  return format_address({"127.0.0.1", local_address(fd_.get()).port(), name, AuthMode::kUnknown});
}

RawClient RawServer::accept() {
  pollfd ready{fd_.get(), POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, static_cast<int>(kLimit.tv_sec) * 1000), 1) << "nobody dialled";
  return RawClient(base::UniqueFd(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
}

std::pair<RawClient, wire::Hello> RawServer::accept_hello() {
  RawClient client = accept();
  std::array<uint8_t, 8> preface{};
  EXPECT_TRUE(client.read_exactly(preface));
  EXPECT_EQ(preface, kControlPreface);
  const auto hello = client.read_next<wire::Hello>();
  EXPECT_TRUE(hello.has_value());
  return {std::move(client), hello.value_or(wire::Hello{})};
}

}  // namespace baton_test
