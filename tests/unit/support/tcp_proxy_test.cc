#include "tests/support/tcp_proxy.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace baton_test {
namespace {

using Cut = TcpProxy::Cut;
using Kind = TcpProxy::Kind;
using Way = TcpProxy::Way;

// A listener and a dialer with a proxy between them.
class TcpProxyTest : public testing::Test {
 protected:
  TcpProxyTest() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = on(0);
    socklen_t length = sizeof(address);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(::listen(listener_, 8), 0);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    proxy_ = std::make_unique<TcpProxy>(
        "baton://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/x?auth=none");
  }
  ~TcpProxyTest() override {
    for (const int fd : {dialer_, acceptor_, listener_}) ::close(fd);
  }

  static sockaddr_in on(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }

  void dial() {
    dialer_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const uint16_t port = TcpProxy::port_of(proxy_->address_of("baton://h:1/x?auth=none"));
    const sockaddr_in address = on(port);
    ASSERT_EQ(::connect(dialer_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    acceptor_ = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    ASSERT_GE(acceptor_, 0);
  }

  static void send_text(int fd, const std::string& text) {
    ASSERT_EQ(::send(fd, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  // Reads to the end of the stream or `want` bytes; then "$" for an end, "!" for a reset.
  static std::string receive(int fd, size_t want) {
    std::string text;
    while (text.size() < want) {
      pollfd readable{fd, POLLIN, 0};
      if (::poll(&readable, 1, 20000) <= 0) return text + "?";
      char bytes[256];
      const ssize_t got = ::recv(fd, bytes, std::min(sizeof(bytes), want - text.size()), 0);
      if (got == 0) return text + "$";
      if (got < 0) return text + (errno == ECONNRESET ? "!" : std::strerror(errno));
      text.append(bytes, static_cast<size_t>(got));
    }
    return text;
  }
  static bool is_silent(int fd) {
    pollfd readable{fd, POLLIN, 0};
    return ::poll(&readable, 1, 0) == 0;
  }

  int listener_;
  int dialer_ = -1;
  int acceptor_ = -1;
  std::unique_ptr<TcpProxy> proxy_;
};

TEST_F(TcpProxyTest, PassesBytesBothWaysAndTellsKindsApart) {
  dial();
  send_text(dialer_, "Shello");
  EXPECT_EQ(receive(acceptor_, 6), "Shello");
  send_text(acceptor_, "answer");
  EXPECT_EQ(receive(dialer_, 6), "answer");
  EXPECT_EQ(proxy_->count(Kind::kData), 1u);
  EXPECT_EQ(proxy_->count(Kind::kControl), 0u);
  EXPECT_TRUE(proxy_->wait_forwarded({Kind::kData, 0}, Way::kToDialer, 6));
  ::shutdown(dialer_, SHUT_WR);
  EXPECT_EQ(receive(acceptor_, 1), "$");
  send_text(acceptor_, "half open");
  EXPECT_EQ(receive(dialer_, 9), "half open");
  ::shutdown(acceptor_, SHUT_WR);
  EXPECT_EQ(receive(dialer_, 1), "$");
  EXPECT_TRUE(proxy_->wait_over({Kind::kData, 0}));
}

TEST_F(TcpProxyTest, CutsAfterExactlySoManyBytes) {
  proxy_->cut_after({Kind::kControl, 0}, Way::kToAcceptor, 4, Cut::kReset);
  dial();
  send_text(dialer_, "C23456789");
  EXPECT_EQ(receive(acceptor_, 9), "C234!");
  EXPECT_TRUE(proxy_->wait_over({Kind::kControl, 0}));
  EXPECT_EQ(proxy_->forwarded({Kind::kControl, 0}, Way::kToAcceptor), 4u);
}

TEST_F(TcpProxyTest, CutsByEndOfStream) {
  proxy_->cut_after({Kind::kControl, 0}, Way::kToAcceptor, 4, Cut::kFinish);
  dial();
  send_text(dialer_, "C23456789");
  EXPECT_EQ(receive(acceptor_, 9), "C234$");
  EXPECT_EQ(receive(dialer_, 1), "$");
}

TEST_F(TcpProxyTest, CutsAtOnce) {
  dial();
  send_text(dialer_, "C");
  EXPECT_EQ(receive(acceptor_, 1), "C");
  proxy_->cut({Kind::kControl, 0}, Cut::kReset);
  EXPECT_EQ(receive(acceptor_, 1), "!");
  EXPECT_EQ(receive(dialer_, 1), "!");
}

TEST_F(TcpProxyTest, StallsOneWayAndResumes) {
  proxy_->stall_after({Kind::kData, 0}, Way::kToAcceptor, 2);
  dial();
  send_text(dialer_, "S2345");
  EXPECT_EQ(receive(acceptor_, 2), "S2");
  send_text(acceptor_, "other way");
  EXPECT_EQ(receive(dialer_, 9), "other way");
  EXPECT_TRUE(is_silent(acceptor_));
  proxy_->resume({Kind::kData, 0}, Way::kToAcceptor);
  EXPECT_EQ(receive(acceptor_, 3), "345");
}

TEST_F(TcpProxyTest, Delays) {
  proxy_->delay({Kind::kData, 0}, Way::kToAcceptor, std::chrono::milliseconds(50));
  dial();
  const auto start = std::chrono::steady_clock::now();
  send_text(dialer_, "S2345");
  EXPECT_EQ(receive(acceptor_, 5), "S2345");
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(50));
}

TEST_F(TcpProxyTest, RefusesDials) {
  proxy_->refuse(true);
  dialer_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = on(TcpProxy::port_of(proxy_->address_of("baton://h:1/x")));
  ASSERT_EQ(::connect(dialer_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(receive(dialer_, 1), "!");
}

}  // namespace
}  // namespace baton_test
