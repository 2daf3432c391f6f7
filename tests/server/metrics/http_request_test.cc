#include "server/metrics/http_request.h"

#include <gtest/gtest.h>

namespace latentd {
namespace {

using Result = HttpParse::Result;

int StatusOf(std::string_view input) { return ParseHttpRequest(input).status; }

TEST(HttpRequest, RequestIsReadUpToItsEmptyLine) {
  const HttpParse parse = ParseHttpRequest("GET /metrics?a=b HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\nGET /");
  EXPECT_EQ(parse.result, Result::kRequest);
  EXPECT_EQ(parse.num_bytes, 51u);
  EXPECT_EQ(parse.request.method, "GET");
  EXPECT_EQ(parse.request.path, "/metrics");
  EXPECT_TRUE(parse.request.keeps_alive);
}

TEST(HttpRequest, EveryPrefixIsIncomplete) {
  const std::string_view whole = "\r\nGET / HTTP/1.0\r\nA: b\r\n\r\n";
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(ParseHttpRequest(whole.substr(0, i)).result, Result::kIncomplete) << i;
  }
  EXPECT_EQ(ParseHttpRequest(whole).num_bytes, whole.size());
}

TEST(HttpRequest, LoneLineFeedsEndLines) {
  const HttpParse parse = ParseHttpRequest("HEAD /ready HTTP/1.0\n\n");
  EXPECT_EQ(parse.result, Result::kRequest);
  EXPECT_EQ(parse.request.method, "HEAD");
}

TEST(HttpRequest, ConnectionIsKeptAsTheVersionAndTheFieldSay) {
  const auto keeps = [](std::string_view text) { return ParseHttpRequest(text).request.keeps_alive; };
  EXPECT_TRUE(keeps("GET / HTTP/1.1\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(keeps("GET / HTTP/1.0\r\nCONNECTION:  keep-alive \r\n\r\n"));
  for (const std::string list : {"close, TE", "TE, close", "TE ,\tClose,", ",close", "keep-alive, close",
                                 "close,keep-alive", "close\r\nConnection: keep-alive", "TE\r\nConnection: x, close"}) {
    EXPECT_FALSE(keeps("GET / HTTP/1.1\r\nConnection: " + list + "\r\n\r\n")) << list;
  }
  EXPECT_TRUE(keeps("GET / HTTP/1.1\r\nConnection: closed, x-close, TE\r\n\r\n"));
  EXPECT_TRUE(keeps("GET / HTTP/1.0\r\nConnection: TE, Keep-Alive\r\n\r\n"));
}

TEST(HttpRequest, TargetOfAProxyIsItsPath) {
  EXPECT_EQ(ParseHttpRequest("GET http://a:1/ready HTTP/1.1\r\n\r\n").request.path, "/ready");
  EXPECT_EQ(ParseHttpRequest("GET http://a HTTP/1.1\r\n\r\n").request.path, "");
}

TEST(HttpRequest, NamesAreTokens) {
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nX.Trace!Id: a\r\n!#$%&'*+-.^_`|~09azAZ: b\r\n\r\n"), 0);
  for (const char c : std::string_view("\0\x1f\x7f\x80 \t\"(),/;<=>?@[\\]{}", 22)) {
    EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nA" + std::string(1, c) + "B: c\r\n\r\n"), 400) << static_cast<int>(c);
  }
}

TEST(HttpRequest, WhatIsMalformedIsRefused) {
  EXPECT_EQ(StatusOf("GET\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET /\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf(" / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("G T / HTTP/1.1\r\nno colon\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\n: empty\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/2.0\r\n\r\n"), 505);
  EXPECT_EQ(StatusOf("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
}

TEST(HttpRequest, BodiesAreRefused) {
  EXPECT_EQ(StatusOf("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde"), 413);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 413);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), 0);
}

TEST(HttpRequest, HeadHasABound) {
  const std::string begin = "GET / HTTP/1.1\r\nA: ";
  const std::string longest = begin + std::string(kMaxHttpHeadBytes - begin.size() - 4, 'a');
  EXPECT_EQ(ParseHttpRequest(longest + "\r\n\r\n").result, Result::kRequest);
  EXPECT_EQ(StatusOf(longest + "a\r\n\r\n"), 431);
  EXPECT_EQ(StatusOf(longest + "aaaaa"), 431) << "whether or not it ends";
  EXPECT_EQ(StatusOf(std::string(kMaxHttpHeadBytes + 1, '\n')), 431);
}

TEST(HttpAnswer, HeadHasTheLengthAndNoBody) {
  const HttpAnswer answer{.body = "ready\n"};
  EXPECT_EQ(SerializeHttpAnswer(answer, {.method = "HEAD", .path = "", .keeps_alive = true}),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 6\r\n"
            "Connection: keep-alive\r\n\r\n");
  const std::string refusal = SerializeHttpAnswer(HttpRefusal(405), {.method = "PUT", .path = ""});
  EXPECT_NE(refusal.find("Allow: GET, HEAD\r\n"), std::string::npos);
  EXPECT_TRUE(refusal.ends_with("Connection: close\r\n\r\n405 Method Not Allowed\n"));
}

}  // namespace
}  // namespace latentd
