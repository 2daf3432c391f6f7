#include "server/metrics/http_server.h"

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace latentd {
namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\n\r\n";
constexpr std::string_view kAnswer = "HTTP/1.1 200 OK";

std::string Repeated(std::string_view text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

class HttpServerTest : public ::testing::Test {
 protected:
  // A client that has sent `text`.
  int Connect(std::string_view text) {
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(server_->address().port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(send(client, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
    return client;
  }

  // How many answers the client gets, up to `most` or the end of the connection.
  static int CountAnswers(int client, int most) {
    std::string text;
    int count = 0;
    std::array<char, 4096> buffer;
    for (size_t from = 0; count < most;) {
      const size_t at = text.find(kAnswer, from);
      if (at != std::string::npos) {
        ++count;
        from = at + kAnswer.size();
        continue;
      }
      const ssize_t size = recv(client, buffer.data(), buffer.size(), 0);
      if (size <= 0) break;
      text.append(buffer.data(), static_cast<size_t>(size));
    }
    return count;
  }

  std::atomic<int> num_made_ = 0;
  std::unique_ptr<HttpServer> server_ = *HttpServer::Start(
      *ListeningSocket::Open(*ParseAddress("127.0.0.1:0", AddressUse::kHttpListener), "--metrics-listen"),
      {.answer = [this](std::string_view) {
        ++num_made_;
        return HttpAnswer{.body = "page\n"};
      }});
};

TEST_F(HttpServerTest, AnswersAreSharedAndMadeAtABoundedRate) {
  constexpr int kClients = 40;
  constexpr int kAnswers = HttpServer::kRoundsAtOnce + 10;
  const TimePoint begun = std::chrono::steady_clock::now();
  std::vector<int> clients;
  for (int i = 0; i < kClients; ++i) clients.push_back(Connect(Repeated(kGet, kAnswers)));
  for (const int client : clients) {
    EXPECT_EQ(CountAnswers(client, kAnswers), kAnswers);
    close(client);
  }
  const double seconds = Seconds(std::chrono::steady_clock::now() - begun);
  EXPECT_LE(num_made_, HttpServer::kRoundsAtOnce + 2 + HttpServer::kRoundsPerSecond * seconds);
}

TEST_F(HttpServerTest, ConnectionEndsAfterSoManyRequests) {
  const int client = Connect(Repeated(kGet, HttpServer::kMaxRequests + 10));
  EXPECT_EQ(CountAnswers(client, HttpServer::kMaxRequests + 10), HttpServer::kMaxRequests);
  close(client);
}

TEST_F(HttpServerTest, WhoHadAnswersMakesRoomForWhoHadNone) {
  std::vector<int> greedy;
  for (size_t i = 0; i < HttpServer::kMaxConnections; ++i) greedy.push_back(Connect(Repeated(kGet, 100)));
  for (int i = 0; i < 60; ++i) {
    const int client = Connect(kGet);
    ASSERT_EQ(CountAnswers(client, 1), 1) << i;
    close(client);
  }
  for (const int client : greedy) close(client);
}

}  // namespace
}  // namespace latentd
