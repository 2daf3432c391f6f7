#include "server/metrics/http_request.h"

#include <algorithm>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>

namespace latentd {
namespace {

std::string_view ReasonOf(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Error";
  }
}

// What the status wants to be said, RFC 9110.
std::string_view FieldOf(int status) {
  if (status == 405) return "Allow: GET, HEAD\r\n";
  return status == 401 ? "WWW-Authenticate: Bearer\r\n" : "";
}

// Takes the next line off `head`, without its end.
std::string_view TakeLine(std::string_view& head) {
  const size_t end = std::min(head.find('\n'), head.size());
  std::string_view line = head.substr(0, end);
  head.remove_prefix(std::min(end + 1, head.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// Behind the empty line that ends the head; npos where there is none yet. Lone line feeds are taken, as by most
// servers.
size_t EndOfHead(std::string_view input) {
  for (size_t at = input.find('\n'); at != std::string_view::npos; at = input.find('\n', at + 1)) {
    const std::string_view rest = input.substr(at + 1);
    if (rest.starts_with('\n')) return at + 2;
    if (rest.starts_with("\r\n")) return at + 3;
  }
  return std::string_view::npos;
}

constexpr std::string_view kTokenMarks = "!#$%&'*+-.^_`|~";  // RFC 9110, 5.6.2

bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || kTokenMarks.find(c) != std::string_view::npos;
  });
}

// "/metrics?a=b", or the same behind "http://host", as proxies are asked.
std::string PathOf(std::string_view target) {
  constexpr std::string_view kScheme = "http://";
  if (absl::StartsWithIgnoreCase({target.data(), target.size()}, {kScheme.data(), kScheme.size()})) {
    target.remove_prefix(std::min(target.find('/', kScheme.size()), target.size()));
  }
  return std::string(target.substr(0, target.find_first_of("?#")));
}

// 0, or the status with which the line is refused.
int ParseRequestLine(std::string_view line, HttpRequest& request) {
  const size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return 400;
  const std::string_view version = line.substr(last + 1);
  if (!version.starts_with("HTTP/")) return 400;
  if (version != "HTTP/1.0" && version != "HTTP/1.1") return 505;
  request.method = std::string(line.substr(0, first));
  request.path = PathOf(line.substr(first + 1, last - first - 1));
  request.keeps_alive = version == "HTTP/1.1";
  return IsToken(request.method) ? 0 : 400;
}

// A list of options, in one field or in several. Closing wins.
void TakeConnectionOptions(const std::string& list, HttpRequest& request) {
  for (const auto option : absl::StrSplit(list, ',')) {
    const auto name = absl::StripAsciiWhitespace(option);
    if (name == "close") request.closes = true;
    if (name == "keep-alive") request.keeps_alive = true;
  }
  if (request.closes) request.keeps_alive = false;
}

int ParseField(std::string_view line, HttpRequest& request) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !IsToken(line.substr(0, colon))) return 400;
  const std::string name = absl::AsciiStrToLower(std::string(line.substr(0, colon)));
  const std::string text(absl::StripAsciiWhitespace({line.data() + colon + 1, line.size() - colon - 1}));
  if (name == "authorization") request.authorization.push_back(text);
  const std::string value = absl::AsciiStrToLower(text);
  if (name == "connection") TakeConnectionOptions(value, request);
  const bool has_body = name == "transfer-encoding" || (name == "content-length" && value != "0");
  return has_body ? 413 : 0;
}

}  // namespace

HttpParse ParseHttpRequest(std::string_view input) {
  HttpParse parse;
  // Empty lines before a request are left over from the one before.
  const size_t begin = std::min(input.find_first_not_of("\r\n"), input.size());
  const size_t end = EndOfHead(input.substr(begin));
  if (begin > kMaxHttpHeadBytes || (end == std::string_view::npos ? input.size() - begin : end) > kMaxHttpHeadBytes) {
    return {.result = HttpParse::Result::kRefused, .num_bytes = input.size(), .status = 431};
  }
  if (end == std::string_view::npos) return parse;
  parse.num_bytes = begin + end;
  std::string_view head = input.substr(begin, end);
  parse.status = ParseRequestLine(TakeLine(head), parse.request);
  for (std::string_view line = TakeLine(head); parse.status == 0 && !line.empty(); line = TakeLine(head)) {
    parse.status = ParseField(line, parse.request);
  }
  parse.result = parse.status == 0 ? HttpParse::Result::kRequest : HttpParse::Result::kRefused;
  return parse;
}

HttpAnswer HttpRefusal(int status) {
  return {.status = status, .body = absl::StrFormat("%d %s\n", status, ReasonOf(status))};
}

std::string SerializeHttpAnswer(const HttpAnswer& answer, const HttpRequest& request) {
  return absl::StrFormat("HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%sConnection: %s\r\n\r\n%s",
                         answer.status, ReasonOf(answer.status), answer.content_type, answer.body.size(),
                         FieldOf(answer.status), request.keeps_alive ? "keep-alive" : "close",
                         request.method == "HEAD" ? "" : answer.body);
}

}  // namespace latentd
