#include "server/net/acceptor.h"

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <absl/strings/str_format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/net/tls_frames.h"

namespace latentd {
namespace {

constexpr int kMaxAcceptsPerTurn = 256;  // then a stop is looked for
constexpr int kSweepMs = 500;            // an end is seen so much later at most
constexpr int kBlockedMs = 100;

// SETTINGS, without any, then GOAWAY with ENHANCE_YOUR_CALM and a text: gRPC's clients show it.
constexpr char kTooMany[] =
    "\0\0\0\x4\0\0\0\0\0"
    "\0\0\x1c\x7\0\0\0\0\0"
    "\0\0\0\0"
    "\0\0\0\xb"
    "too many connections";

void Refuse(int descriptor) {
  [[maybe_unused]] const auto sent = send(descriptor, kTooMany, sizeof(kTooMany) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  close(descriptor);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Acceptor>> Acceptor::Start(ListeningSocket socket, Options options) {
  ReserveDescriptor reserve;
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (reserve.is_held() && wake >= 0) {
    return std::unique_ptr<Acceptor>(new Acceptor(std::move(socket), std::move(options), std::move(reserve), wake));
  }
  const std::string reason = std::generic_category().message(errno);
  if (wake >= 0) close(wake);
  return absl::ResourceExhaustedError(
      absl::StrFormat("expected file descriptors for connections, found none: %s; raise ulimit -n", reason));
}

Acceptor::Acceptor(ListeningSocket socket, Options options, ReserveDescriptor reserve, int wake)
    : address_(socket.address()),
      socket_(std::move(socket)),
      options_(std::move(options)),
      reserve_(std::move(reserve)),
      wake_(wake) {
  thread_ = std::thread([this] { Run(); });
}

Acceptor::~Acceptor() {
  Stop();
  close(wake_);
}

void Acceptor::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const auto written = write(wake_, &one, sizeof(one));
  thread_.join();
  socket_.reset();
}

void Acceptor::Run() {
  for (;;) {
    // A listener that can't be accepted from stays readable: not to be waited for.
    std::array<pollfd, 2> waits = {pollfd{.fd = wake_, .events = POLLIN, .revents = 0},
                                   pollfd{.fd = socket_->descriptor(), .events = POLLIN, .revents = 0}};
    const bool is_blocked = blocked_by_ != 0;
    poll(waits.data(), is_blocked ? 1 : 2, is_blocked ? kBlockedMs : kSweepMs);
    if ((waits[0].revents & POLLIN) != 0) return;
    ConnectionTable::OfProcess().Sweep();
    if (!is_blocked || HasRecovered()) {
      SetAccepting(AcceptAll());
    } else {
      RefuseFromReserve();
    }
  }
}

int Acceptor::AcceptAll() {
  for (int i = 0; i < kMaxAcceptsPerTurn; ++i) {
    const int descriptor = socket_->Accept();
    if (descriptor >= 0) {
      Take(descriptor);
    } else if (IsLackOfResources(errno)) {
      return errno;
    } else if (errno == EAGAIN) {
      return 0;
    }  // else it was of that connection alone
  }
  return 0;
}

void Acceptor::Take(int descriptor) {
  sockaddr_storage peer{};
  socklen_t size = sizeof(peer);
  if (getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &size) != 0) {  // reset by now
    close(descriptor);
    return;
  }
  if (ConnectionTable::OfProcess().Add(descriptor, options_.listening, options_.limits)) return Refuse(descriptor);
  const int on = 1;
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const TlsHandOver hand_over(descriptor);
  options_.hand_over(descriptor);
}

void Acceptor::RefuseFromReserve() {
  reserve_.GiveUp();
  for (int i = 0; i < kMaxAcceptsPerTurn; ++i) {
    const int descriptor = socket_->Accept();
    if (descriptor < 0) break;
    ConnectionTable::OfProcess().CountRefusal(ConnectionRefusal::kDescriptors);
    Refuse(descriptor);
  }
  reserve_.Take();
}

bool Acceptor::HasRecovered() { return reserve_.Take() && ReserveDescriptor().is_held(); }

void Acceptor::SetAccepting(int error) {
  if ((error == 0) == (blocked_by_ == 0)) return;
  blocked_by_ = error;
  if (error == 0) {
    spdlog::warn("connections: accepted on {} again", address().ToString());
  } else {
    spdlog::error("connections: none can be accepted on {}: {}; not serving until one can", address().ToString(),
                  std::generic_category().message(error));
  }
  if (options_.on_change) options_.on_change(error == 0);
}

}  // namespace latentd
