#include "server/events/zmq_socket.h"

#include <array>
#include <cerrno>

#include <absl/strings/str_format.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include "base/check.h"

namespace latentd {
namespace {

constexpr int kMostReceivedBytes = 1024;  // of a message; who sends more is cut off
constexpr int kHeartbeatMs = 10'000;      // a peer that is gone without a word
constexpr int kHeartbeatTimeoutMs = 30'000;

void Set(void* socket, int option, int value) { CHECK_EQ(zmq_setsockopt(socket, option, &value, sizeof(value)), 0); }

}  // namespace

ZmqContext::ZmqContext() : context_(zmq_ctx_new()) { CHECK(context_ != nullptr); }

void ZmqContext::End::operator()(void* context) const {
  while (zmq_ctx_term(context) != 0 && errno == EINTR) continue;
}

absl::StatusOr<ZmqSocket> ZmqSocket::Bind(const ZmqContext& context, ZmqKind kind, const ListeningSocket& listening,
                                          int most_waiting) {
  ZmqSocket socket(zmq_socket(context.get(), kind == ZmqKind::kPublisher ? ZMQ_PUB : ZMQ_ROUTER));
  const std::string name = "tcp://" + listening.address().ToString();
  const auto refuse = [&name] {
    return absl::UnavailableError(
        absl::StrFormat("expected ZeroMQ to listen on %s, found: %s", name, zmq_strerror(zmq_errno())));
  };
  if (socket.get() == nullptr) return refuse();
  const int descriptor = fcntl(listening.descriptor(), F_DUPFD_CLOEXEC, 0);
  if (descriptor < 0) return refuse();
  Set(socket.get(), ZMQ_USE_FD, descriptor);  // the library closes it
  Set(socket.get(), ZMQ_IPV6, 1);
  Set(socket.get(), ZMQ_LINGER, 0);
  Set(socket.get(), ZMQ_SNDHWM, most_waiting);
  Set(socket.get(), ZMQ_HEARTBEAT_IVL, kHeartbeatMs);
  Set(socket.get(), ZMQ_HEARTBEAT_TIMEOUT, kHeartbeatTimeoutMs);
  const int64_t most_bytes = kMostReceivedBytes;
  CHECK_EQ(zmq_setsockopt(socket.get(), ZMQ_MAXMSGSIZE, &most_bytes, sizeof(most_bytes)), 0);
  if (kind == ZmqKind::kRouter) Set(socket.get(), ZMQ_ROUTER_MANDATORY, 1);
  if (zmq_bind(socket.get(), name.c_str()) != 0) return refuse();
  return socket;
}

void ZmqSocket::Close::operator()(void* socket) const { zmq_close(socket); }

bool ZmqSocket::Send(const std::vector<std::string>& parts) const {
  for (size_t i = 0; i < parts.size(); ++i) {
    const int more = i + 1 < parts.size() ? ZMQ_SNDMORE : 0;
    if (zmq_send(get(), parts[i].data(), parts[i].size(), ZMQ_DONTWAIT | more) < 0) return false;
  }
  return true;
}

std::vector<std::string> ZmqSocket::Receive() const {
  std::vector<std::string> parts;
  bool has_more = true;
  while (has_more) {
    zmq_msg_t part;
    zmq_msg_init(&part);
    if (zmq_msg_recv(&part, get(), ZMQ_DONTWAIT) < 0) return {};
    parts.emplace_back(static_cast<const char*>(zmq_msg_data(&part)), zmq_msg_size(&part));
    has_more = zmq_msg_more(&part) != 0;
    zmq_msg_close(&part);
  }
  return parts;
}

WakeFlag::WakeFlag() : descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { CHECK_GE(descriptor_, 0); }

WakeFlag::~WakeFlag() { close(descriptor_); }

void WakeFlag::Raise() const { eventfd_write(descriptor_, 1); }

void WakeFlag::Lower() const {
  eventfd_t count = 0;
  eventfd_read(descriptor_, &count);
}

bool PollMessages(const ZmqSocket* socket, const WakeFlag& flag, Waiting waiting) {
  std::array<zmq_pollitem_t, 2> items = {
      zmq_pollitem_t{.socket = nullptr, .fd = flag.descriptor(), .events = ZMQ_POLLIN, .revents = 0},
      zmq_pollitem_t{
          .socket = socket == nullptr ? nullptr : socket->get(), .fd = 0, .events = ZMQ_POLLIN, .revents = 0}};
  const int count = socket == nullptr ? 1 : 2;
  zmq_poll(items.data(), count, waiting == Waiting::kNot ? 0 : -1);
  return count == 2 && (items[1].revents & ZMQ_POLLIN) != 0;
}

}  // namespace latentd
