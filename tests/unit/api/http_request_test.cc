#include "src/api/http_request.h"

#include <gtest/gtest.h>

namespace baton::api {
namespace {

int status_of(const std::string& text) { return parse_http_request(text).status; }

TEST(HttpRequest, AGetIsItsPath) {
  const HttpRequest request =
      parse_http_request("GET /metrics?name[]=up HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n");
  EXPECT_EQ(request.status, 200);
  EXPECT_EQ(request.path, "/metrics");
  EXPECT_EQ(parse_http_request("GET /x HTTP/1.0\r\n\r\n").path, "/x");
}

TEST(HttpRequest, APartWaitsForTheRest) {
  const std::string whole = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
  for (size_t i = 0; i < whole.size(); ++i) EXPECT_EQ(status_of(whole.substr(0, i)), 0) << i;
  EXPECT_EQ(status_of(whole), 200);
  EXPECT_EQ(status_of(whole + "what follows is not looked at\x01"), 200);
}

TEST(HttpRequest, OtherMethodsAreRefused) {
  for (const char* method : {"POST", "HEAD", "PUT", "DELETE", "OPTIONS", "get"})
    EXPECT_EQ(status_of(std::string(method) + " /metrics HTTP/1.1\r\n\r\n"), 405) << method;
}

TEST(HttpRequest, NonsenseIsRefused) {
  for (const char* text :
       {"GET\r\n\r\n", "GET /metrics\r\n\r\n", " /metrics HTTP/1.1\r\n\r\n",
        "GET  HTTP/1.1\r\n\r\n", "GET metrics HTTP/1.1\r\n\r\n", "GET /a b HTTP/1.1\r\n\r\n",
        "\r\n\r\n", "G\"T / HTTP/1.1\r\n\r\n", "GET / SPDY/1\r\n\r\n", "CBATON\r\n\r\n"})
    EXPECT_EQ(status_of(text), 400) << text;
  EXPECT_EQ(status_of("GET / HTTP/2.0\r\n\r\n"), 505);
  EXPECT_EQ(status_of(std::string("\x16\x03\x01", 3)), 400) << "TLS, refused before it goes on";
  EXPECT_EQ(status_of(std::string("GET /\0 HTTP/1.1", 15)), 400);
}

TEST(HttpRequest, AnEndlessOneIsRefused) {
  const std::string start = "GET /metrics HTTP/1.1\r\nX: ";
  EXPECT_EQ(status_of(start + std::string(kMaxHttpRequestBytes - start.size() - 1, 'x')), 0);
  EXPECT_EQ(status_of(start + std::string(kMaxHttpRequestBytes, 'x')), 431);
}

TEST(HttpResponse, SaysItsLengthAndCloses) {
  const std::string text = http_response(200, "text/plain", "ab\n");
  EXPECT_EQ(text.find("HTTP/1.1 200 OK\r\n"), 0u);
  EXPECT_NE(text.find("\r\nContent-Length: 3\r\n"), std::string::npos);
  EXPECT_NE(text.find("\r\nConnection: close\r\n"), std::string::npos);
  EXPECT_TRUE(text.ends_with("\r\n\r\nab\n"));
  EXPECT_NE(http_refusal(405).find("\r\nAllow: GET\r\n"), std::string::npos);
}

}  // namespace
}  // namespace baton::api
