// The little of HTTP/1.1 that the metrics endpoint speaks: one GET a connection, no body.
//
// Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace baton::api {

inline constexpr size_t kMaxHttpRequestBytes = 4096;  // request line and headers

struct HttpRequest {
  int status = 0;    // 0: more bytes are needed; 200: a GET of `path`; else the refusal
  std::string path;  // without what follows '?'
};

// What has arrived so far.
HttpRequest parse_http_request(std::string_view bytes);

// Status line, headers and body; the connection is to be closed after it.
std::string http_response(int status, std::string_view content_type, std::string_view body);
// A refusal, with its reason as the body.
std::string http_refusal(int status);

}  // namespace baton::api
