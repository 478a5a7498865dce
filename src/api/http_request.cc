#include "src/api/http_request.h"

#include <algorithm>

namespace baton::api {

namespace {

std::string_view reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 431:
      return "Request Header Fields Too Large";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Error";
  }
}

bool is_text(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte == '\r' || byte == '\n' || byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}

HttpRequest refused(int status) { return {status, ""}; }

HttpRequest parse_line(std::string_view line) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last || first == 0) return refused(400);
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  const bool is_name = std::all_of(method.begin(), method.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-';
  });
  if (!is_name || target.empty() || target.front() != '/' || target.find(' ') != target.npos ||
      !version.starts_with("HTTP/"))
    return refused(400);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return refused(505);
  if (method != "GET") return refused(405);
  return {200, std::string(target.substr(0, target.find('?')))};
}

}  // namespace

HttpRequest parse_http_request(std::string_view bytes) {
  const std::string_view head = bytes.substr(0, kMaxHttpRequestBytes);
  const size_t end = head.find("\r\n\r\n");
  const std::string_view seen = head.substr(0, end);
  if (!std::all_of(seen.begin(), seen.end(), is_text)) return refused(400);
  if (end == std::string_view::npos)
    return bytes.size() >= kMaxHttpRequestBytes ? refused(431) : HttpRequest{};
  return parse_line(head.substr(0, head.find("\r\n")));
}

std::string http_response(int status, std::string_view content_type, std::string_view body) {
  std::string out = "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason_of(status)) +
                    "\r\nContent-Type: " + std::string(content_type) +
                    "\r\nContent-Length: " + std::to_string(body.size()) +
                    "\r\nConnection: close\r\nCache-Control: no-store\r\n";
  if (status == 405) out += "Allow: GET\r\n";
  out += "\r\n";
  return out.append(body);
}

std::string http_refusal(int status) {
  std::string body = std::to_string(status) + " " + std::string(reason_of(status)) + "\n";
  if (status == 404) body += "There are /metrics and /handoffs.\n";
  return http_response(status, "text/plain; charset=utf-8", body);
}

}  // namespace baton::api
