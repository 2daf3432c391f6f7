#include "server/metrics/http_server.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include <absl/strings/str_format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/now.h"

namespace latentd {
namespace {

// A client gets so long to take the last answer before its connection closes under it.
constexpr std::chrono::seconds kLinger{1};
constexpr std::chrono::milliseconds kWithoutPlaces{100};
constexpr std::chrono::milliseconds kBetweenRounds{1000 / HttpServer::kRoundsPerSecond};
// What one connection gets done before the others have their turn.
constexpr int kStepsPerTurn = 8;

}  // namespace

struct HttpServer::Connection {
  explicit Connection(int socket) : descriptor(socket) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { close(descriptor); }

  bool is_answering() const { return num_sent < output.size(); }
  bool has_request() const { return request.result != HttpParse::Result::kIncomplete; }
  bool is_silent() const { return !is_answering() && !has_request(); }
  void Parse();
  void Answer(HttpAnswer answer);

  const int descriptor;
  std::string input;
  HttpParse request;  // the first of the input, once all of it is there: then no more is read until it is answered
  int num_requests = 0;
  std::string output;
  size_t num_sent = 0;
  bool is_last = false;     // the answer under way ends the connection
  bool is_leaving = false;  // all was sent; what still comes in is read so that closing does not destroy it
  bool is_over = false;
  bool wants_turn = false;  // there is more to be done at once
  TimePoint deadline = Now() + kHeadPatience;
};

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(ListeningSocket socket, Handler handler) {
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake < 0) {
    return absl::ResourceExhaustedError(absl::StrFormat("metrics: expected a descriptor to be woken by, found: %s",
                                                        std::generic_category().message(errno)));
  }
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(socket), std::move(handler), wake));
}

HttpServer::HttpServer(ListeningSocket socket, Handler handler, int wake)
    : socket_(std::move(socket)), handler_(std::move(handler)), wake_(wake), thread_([this] { Run(); }) {}

HttpServer::~HttpServer() {
  const uint64_t one = 1;
  CHECK_EQ(write(wake_, &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
  thread_.join();
  connections_.clear();
  close(wake_);
}

void HttpServer::Run() {
  while (AwaitEvents()) {
    CloseExpired();
    reserve_.Take();
  }
}

bool HttpServer::AwaitEvents() {
  std::vector<pollfd> polled = {{.fd = wake_, .events = POLLIN, .revents = 0},
                                {.fd = takes_new_ ? socket_.descriptor() : -1, .events = POLLIN, .revents = 0}};
  std::vector<Connection*> owners;
  TimePoint until = takes_new_ ? kNever : Now() + kWithoutPlaces;
  if (HasRequests()) until = std::min(until, rounds_.is_overdrawn() ? rounds_.refilled() + kBetweenRounds : Now());
  for (Connection& connection : connections_) {
    const int16_t events = connection.is_answering() ? POLLOUT : POLLIN;
    const int descriptor = connection.has_request() ? -1 : connection.descriptor;
    polled.push_back({.fd = descriptor, .events = events, .revents = 0});
    owners.push_back(&connection);
    until = std::min(until, connection.wants_turn ? Now() : connection.deadline);
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Now()).count();
  constexpr int64_t kLongest = 60'000;
  poll(polled.data(), polled.size(), static_cast<int>(std::clamp<int64_t>(left, 0, kLongest)));
  if (polled[0].revents != 0) return false;
  for (size_t i = 0; i < owners.size(); ++i) {
    if (polled[i + 2].revents != 0 || owners[i]->wants_turn) Advance(*owners[i]);
  }
  takes_new_ = true;
  if (polled[1].revents != 0) Accept();
  rounds_.Refill(Now());
  if (HasRequests() && !rounds_.is_overdrawn()) AnswerRound();
  return true;
}

// What has come in by then is answered in the round to come: it makes no difference how many come behind it.
void HttpServer::Accept() {
  if (connections_.size() == kMaxConnections && !MakeRoom()) {
    takes_new_ = false;
    return;
  }
  int descriptor = socket_.Accept();
  if (descriptor < 0 && IsLackOfResources(errno) && reserve_.is_held()) {
    reserve_.GiveUp();
    descriptor = socket_.Accept();
  }
  if (descriptor < 0) {
    if (!IsLackOfResources(errno)) return;
    takes_new_ = false;
    MakeRoom();
    return;
  }
  Advance(connections_.emplace_back(descriptor));
}

// A silent client goes first, then one that had answers before and wants more, then one that does not take its first
// answer. None goes while some wait for their first answer: the round that brings it comes soon.
bool HttpServer::MakeRoom() {
  const auto erase_first = [this](const auto& is_to_go) {
    const auto found = std::find_if(connections_.begin(), connections_.end(), is_to_go);
    if (found == connections_.end()) return false;
    connections_.erase(found);
    return true;
  };
  if (erase_first([](const Connection& connection) { return connection.is_silent(); })) return true;
  if (erase_first([](const Connection& connection) { return connection.num_requests > 1; })) return true;
  return !HasRequests() && erase_first([](const Connection&) { return true; });
}

void HttpServer::Advance(Connection& connection) {
  connection.wants_turn = false;
  for (int step = 0; step < kStepsPerTurn; ++step) {
    if (connection.has_request()) return;
    if (!(connection.is_answering() ? Send(connection) : Receive(connection))) return;
  }
  connection.wants_turn = true;
}

// False where there is nothing to be done but to wait.
bool HttpServer::Receive(Connection& connection) {
  std::array<char, 4096> buffer;
  const ssize_t count = recv(connection.descriptor, buffer.data(), buffer.size(), 0);
  if (count < 0 && errno == EINTR) return true;
  if (count < 0 && errno == EAGAIN) return false;
  if (count <= 0) {
    connection.is_over = true;
    return false;
  }
  if (connection.is_leaving) return true;
  if (connection.input.empty()) connection.deadline = std::min(connection.deadline, Now() + kHeadPatience);
  connection.input.append(buffer.data(), static_cast<size_t>(count));
  connection.Parse();
  return true;
}

void HttpServer::Connection::Parse() {
  request = ParseHttpRequest(input);
  if (!has_request()) return;
  input.erase(0, request.num_bytes);
  deadline = Now() + kAnswerPatience;
  ++num_requests;
}

void HttpServer::Connection::Answer(HttpAnswer answer) {
  is_last = !request.request.keeps_alive;
  output = SerializeHttpAnswer(answer, request.request);
  num_sent = 0;
  request = {};
}

bool HttpServer::HasRequests() const {
  return std::any_of(connections_.begin(), connections_.end(),
                     [](const Connection& connection) { return connection.has_request(); });
}

void HttpServer::AnswerRound() {
  rounds_.Take(1.0);
  std::map<std::string, HttpAnswer> made;
  std::vector<Connection*> asking;  // in the order of their last sign of life, which sending changes
  for (Connection& connection : connections_) {
    if (connection.has_request()) asking.push_back(&connection);
  }
  for (Connection* connection : asking) {
    HttpParse& parse = connection->request;
    HttpRequest& request = parse.request;
    if (parse.result == HttpParse::Result::kRefused || connection->num_requests == kMaxRequests) {
      request.keeps_alive = false;
    }
    if (parse.result == HttpParse::Result::kRefused) {
      connection->Answer(HttpRefusal(parse.status));
    } else if (request.method != "GET" && request.method != "HEAD") {
      connection->Answer(HttpRefusal(405));
    } else if (const int refusal = handler_.refuses(request); refusal != 0) {
      connection->Answer(HttpRefusal(refusal));
    } else {
      const auto [answer, is_new] = made.try_emplace(request.path);
      if (is_new) answer->second = handler_.answer(request.path);
      connection->Answer(answer->second);
    }
    Advance(*connection);
  }
}

bool HttpServer::Send(Connection& connection) {
  const std::string_view rest = std::string_view(connection.output).substr(connection.num_sent);
  const ssize_t count = send(connection.descriptor, rest.data(), rest.size(), MSG_NOSIGNAL);
  if (count < 0 && errno == EINTR) return true;
  if (count < 0 && errno == EAGAIN) return false;
  if (count < 0) {
    connection.is_over = true;
    return false;
  }
  connection.num_sent += static_cast<size_t>(count);
  if (connection.is_answering()) return true;
  connection.output.clear();
  connection.num_sent = 0;
  connection.is_leaving = connection.is_last;
  const Duration patience = connection.is_leaving      ? Duration(kLinger)
                            : connection.input.empty() ? Duration(kIdlePatience)
                                                       : Duration(kHeadPatience);
  connection.deadline = Now() + patience;
  if (connection.is_leaving) {
    shutdown(connection.descriptor, SHUT_WR);
  } else if (!connection.input.empty()) {
    connection.Parse();
  }
  const auto is_this = [&connection](const Connection& other) { return &other == &connection; };
  connections_.splice(connections_.end(), connections_,
                      std::find_if(connections_.begin(), connections_.end(), is_this));
  return true;
}

void HttpServer::CloseExpired() {
  const TimePoint now = Now();
  connections_.remove_if(
      [now](const Connection& connection) { return connection.is_over || connection.deadline <= now; });
}

}  // namespace latentd
