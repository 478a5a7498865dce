// The endpoint over real sockets: what it answers, and whom it does not wait for.
#include "src/api/http_server.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <deque>
#include <mutex>

#include "src/control/socket.h"
#include "tests/support/wait_until.h"

namespace baton::api {
namespace {

class Client {
 public:
  explicit Client(const HttpServer& server) {
    const std::string& address = server.address();
    const size_t colon = address.rfind(':');
    const auto where = control::numeric_address(
        address.substr(0, colon), static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
    fd_ = std::move(control::begin_connect(*where)).value();
    wait(POLLOUT);
  }

  void say(const std::string& text) {
    EXPECT_EQ(send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  // Everything up to the server's end; "" when it was reset or nothing came in 20 s.
  std::string read_all() {
    std::string out;
    char bytes[65536];
    while (wait(POLLIN)) {
      const ssize_t got = recv(fd_.get(), bytes, sizeof(bytes), 0);
      if (got <= 0) return got == 0 ? out : "";
      out.append(bytes, static_cast<size_t>(got));
    }
    return "";
  }
  bool is_closed() {
    char byte = 0;
    return recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
  }
  void set_small_buffer() {
    const int bytes = 4096;
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
  }

 private:
  bool wait(short events) {
    pollfd entry{fd_.get(), events, 0};
    return poll(&entry, 1, 20000) == 1;
  }
  base::UniqueFd fd_;
};

class HttpServerTest : public ::testing::Test {
 protected:
  std::unique_ptr<HttpServer> start(uint32_t timeout_ms = 20000, uint32_t max_connections = 16) {
    HttpServer::Options options;
    options.timeout_ms = timeout_ms;
    options.max_connections = max_connections;
    auto server = HttpServer::start(
        options,
        [this](const std::string& path) -> std::optional<HttpServer::Content> {
          if (path != "/metrics") return std::nullopt;
          return HttpServer::Content{"text/plain", body()};
        },
        &meters_, logger_);
    EXPECT_TRUE(server.is_ok()) << server.status().to_string();
    return std::move(server).value();
  }
  static std::string get(const HttpServer& server, const std::string& request) {
    Client client(server);
    client.say(request);
    return client.read_all();
  }

  // Read by the server's thread.
  std::string body() {
    const std::lock_guard<std::mutex> lock(body_mutex_);
    return body_;
  }
  void set_body(std::string body) {
    const std::lock_guard<std::mutex> lock(body_mutex_);
    body_ = std::move(body);
  }

  std::mutex body_mutex_;
  std::string body_ = "up 1\n";
  base::ContextMeters meters_;
  base::Logger logger_{LogLevel::kOff};
};

constexpr const char* kGet = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

TEST_F(HttpServerTest, AnswersAndCounts) {
  const auto server = start();
  const std::string answer = get(*server, kGet);
  EXPECT_EQ(answer.find("HTTP/1.1 200 OK\r\n"), 0u) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\nup 1\n")) << answer;
  EXPECT_EQ(meters_.http_requests.value(), 1u);
  EXPECT_EQ(meters_.http_refused.value(), 0u);
}

TEST_F(HttpServerTest, RefusesWhatItDoesNotHave) {
  const auto server = start();
  EXPECT_EQ(get(*server, "GET / HTTP/1.1\r\n\r\n").find("HTTP/1.1 404 "), 0u);
  EXPECT_EQ(get(*server, "POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello")
                .find("HTTP/1.1 405 "),
            0u);
  EXPECT_EQ(get(*server, "\x16\x03\x01\x02").find("HTTP/1.1 400 "), 0u);
  EXPECT_EQ(
      get(*server, "GET /metrics HTTP/1.1\r\nX: " + std::string(8192, 'x')).find("HTTP/1.1 431 "),
      0u);
  EXPECT_EQ(meters_.http_requests.value(), 0u);
  EXPECT_EQ(meters_.http_refused.value(), 4u);
}

TEST_F(HttpServerTest, ARequestMayComeInPieces) {
  const auto server = start();
  Client client(*server);
  for (const char* c = kGet; *c != '\0'; ++c) client.say(std::string(1, *c));
  EXPECT_EQ(client.read_all().find("HTTP/1.1 200 "), 0u);
}

TEST_F(HttpServerTest, WhoSaysNothingIsToldAndClosed) {
  const auto server = start(100);
  Client silent(*server);
  EXPECT_EQ(silent.read_all().find("HTTP/1.1 408 "), 0u);
  Client half(*server);
  half.say("GET /metr");
  EXPECT_EQ(half.read_all().find("HTTP/1.1 408 "), 0u);
}

TEST_F(HttpServerTest, AClientThatDoesNotReadHoldsUpNobody) {
  set_body(std::string(32u << 20, 'x'));
  const auto server = start(500);
  Client slow(*server);
  slow.set_small_buffer();
  slow.say(kGet);
  ASSERT_TRUE(baton_test::wait_until([&] { return meters_.http_requests.value() == 1; }));
  set_body("up 1\n");
  EXPECT_TRUE(get(*server, kGet).ends_with("up 1\n"));
  // Its time is over: the rest of its answer never comes.
  EXPECT_LT(slow.read_all().size(), 32u << 20);
}

TEST_F(HttpServerTest, OneMoreTakesThePlaceOfTheOldest) {
  const auto server = start(20000, 4);
  std::deque<Client> idle;
  for (int i = 0; i < 4; ++i) idle.emplace_back(*server);
  // Accepted in the order of their dials, so the first is the oldest.
  EXPECT_TRUE(get(*server, kGet).ends_with("up 1\n"));
  EXPECT_TRUE(baton_test::wait_until([&] { return idle[0].is_closed(); }));
  EXPECT_FALSE(idle[3].is_closed());
  EXPECT_EQ(meters_.http_refused.value(), 1u);
}

TEST_F(HttpServerTest, ATakenPortIsSaid) {
  const auto server = start();
  HttpServer::Options options;
  options.port =
      static_cast<uint16_t>(std::stoi(server->address().substr(server->address().rfind(':') + 1)));
  const auto second = HttpServer::start(options, nullptr, &meters_, logger_);
  EXPECT_EQ(second.code(), StatusCode::kAddressInUse) << second.status().to_string();
  options.host = "no.such.name.invalid";
  EXPECT_EQ(HttpServer::start(options, nullptr, &meters_, logger_).code(),
            StatusCode::kInvalidArgument);
}

TEST_F(HttpServerTest, EndsWhileClientsWait) {
  Client* waiting = nullptr;
  {
    const auto server = start();
    static std::deque<Client> clients;
    waiting = &clients.emplace_back(*server);
  }
  EXPECT_EQ(waiting->read_all(), "");
}

}  // namespace
}  // namespace baton::api
