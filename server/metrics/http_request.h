// One HTTP/1 request as the metrics port takes it: GET or HEAD, without a body, its head within a bound. Pure
// functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace latentd {

inline constexpr size_t kMaxHttpHeadBytes = 8 << 10;

struct HttpRequest {
  std::string method;
  std::string path;  // without its query
  bool keeps_alive = false;
  bool closes = false;                          // a field says so
  std::vector<std::string> authorization = {};  // the values of the fields of that name, as they stand
};

struct HttpParse {
  enum class Result { kIncomplete, kRequest, kRefused };

  Result result = Result::kIncomplete;
  size_t num_bytes = 0;  // of the head that was read
  HttpRequest request = {};
  int status = 0;  // of a refusal; nothing that follows it can be read
};

// The first request in `input`, which may hold more of them.
HttpParse ParseHttpRequest(std::string_view input);

struct HttpAnswer {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body = {};
};

// "404 Not Found" as the body of what was refused.
HttpAnswer HttpRefusal(int status);
// Head and body as they are sent; no body in answer to HEAD, but its length.
std::string SerializeHttpAnswer(const HttpAnswer& answer, const HttpRequest& request);

}  // namespace latentd
