// The metrics port's server: one thread, which never waits for a client. A client that sends its head slowly, reads
// slowly or says nothing costs a descriptor and a buffer, for a bounded time, and no more than kMaxConnections of them
// exist: a new connection takes the place of the one that has been silent the longest. Answers are given in rounds, one
// to each connection that asked, a path's made once for all of them; after kRoundsAtOnce there are kRoundsPerSecond.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include <absl/status/statusor.h>

#include "base/allowance.h"
#include "base/clock.h"
#include "server/metrics/http_request.h"
#include "server/net/listening_socket.h"
#include "server/net/reserve_descriptor.h"

namespace latentd {

class HttpServer {
 public:
  static constexpr size_t kMaxConnections = 64;
  static constexpr int kMaxRequests = 128;  // of one connection
  // More than scrapers, probes and people ask for; a page takes a millisecond.
  static constexpr int kRoundsAtOnce = 100;
  static constexpr int kRoundsPerSecond = 50;
  static constexpr std::chrono::seconds kHeadPatience{5};     // from a head's first byte to its last
  static constexpr std::chrono::seconds kAnswerPatience{30};  // for all of an answer to be taken
  static constexpr std::chrono::seconds kIdlePatience{120};   // between two requests: scrapers come once a minute

  // Both on the server's thread.
  struct Handler {
    std::function<HttpAnswer(std::string_view path)> answer;                    // what GET of a path gives
    std::function<int(const HttpRequest& request)> refuses = [](const auto&) {  // 0, or the status of a refusal
      return 0;
    };
  };

  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(ListeningSocket socket, Handler handler);
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer();  // closes whatever is open, within moments

  const Address& address() const { return socket_.address(); }

 private:
  struct Connection;

  HttpServer(ListeningSocket socket, Handler handler, int wake);

  void Run();
  // False once it is to end.
  bool AwaitEvents();
  void Accept();
  bool MakeRoom();
  void Advance(Connection& connection);
  bool Receive(Connection& connection);
  bool Send(Connection& connection);
  bool HasRequests() const;
  void AnswerRound();
  void CloseExpired();

  const ListeningSocket socket_;
  const Handler handler_;
  const int wake_;  // an eventfd: the end

  // Server thread only.
  std::list<Connection> connections_;  // in the order of their last sign of life
  bool takes_new_ = true;              // false for a moment after there was no place left
  Allowance rounds_{kRoundsAtOnce, kRoundsPerSecond};
  ReserveDescriptor reserve_;  // so that one client at a time is answered even then
  std::thread thread_;
};

}  // namespace latentd
