#include "server/net/connection_table.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <span>
#include <utility>

#include <absl/strings/str_format.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/now.h"
#include "server/net/peer.h"

namespace latentd {
namespace {

// A sweep looks at each open connection for less than a microsecond: it may take a tenth of the time.
constexpr std::chrono::microseconds kBetweenSweepsEach{10};
constexpr std::chrono::seconds kBetweenLogLines{10};

// 0: no socket.
uint64_t CookieOf(int descriptor) {
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  return getsockopt(descriptor, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

sockaddr_storage PeerOf(int descriptor) {
  sockaddr_storage peer{};
  socklen_t size = sizeof(peer);
  if (getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &size) != 0) peer.ss_family = AF_UNSPEC;
  return peer;
}

// The first `num_bytes` of what a message's buffers hold.
template <typename Function>
void ForEachPiece(const msghdr& message, size_t num_bytes, const Function& use) {
  for (size_t i = 0; i < message.msg_iovlen && num_bytes > 0; ++i) {
    const size_t size = std::min(message.msg_iov[i].iov_len, num_bytes);
    num_bytes -= size;
    use(std::span<const uint8_t>(static_cast<const uint8_t*>(message.msg_iov[i].iov_base), size));
  }
}

const char* Describe(Offence offence) {
  static constexpr const char* kTexts[kNumOffences] = {
      "a header block that is too long", "too many bytes of headers", "too many control frames", "too many pings",
      "streams opened in vain",          "data without a request",    "unfinished messages"};
  return kTexts[static_cast<size_t>(offence)];
}

}  // namespace

ConnectionTable& ConnectionTable::OfProcess() {
  static auto* const table = new ConnectionTable;  // gRPC's threads may read to the very end
  return *table;
}

ConnectionTable::Slot* ConnectionTable::Find(int descriptor) const {
  const auto index = static_cast<size_t>(descriptor);
  if (descriptor < 0 || index >= kMaxChunks * kSlotsPerChunk) return nullptr;
  Chunk* chunk = chunks_[index / kSlotsPerChunk].load(std::memory_order_acquire);
  return chunk == nullptr ? nullptr : &(*chunk)[index % kSlotsPerChunk];
}

ConnectionTable::Slot* ConnectionTable::FindOrMake(int descriptor) {
  const auto index = static_cast<size_t>(descriptor);
  if (index >= kMaxChunks * kSlotsPerChunk) return nullptr;
  std::atomic<Chunk*>& chunk = chunks_[index / kSlotsPerChunk];
  if (chunk.load(std::memory_order_acquire) == nullptr) chunk.store(new Chunk, std::memory_order_release);
  return Find(descriptor);
}

ConnectionTable::Slot* ConnectionTable::FindWatched(int descriptor, Framing framing) const {
  Slot* slot = Find(descriptor);
  if (slot == nullptr || !slot->is_watched.load(std::memory_order_acquire)) return nullptr;
  return slot->framing.load(std::memory_order_relaxed) == framing ? slot : nullptr;
}

std::optional<ConnectionRefusal> ConnectionTable::Add(int descriptor, const Listening& listening,
                                                      const ConnectionLimits& limits) {
  const ListenerKind kind = listening.kind;
  const TimePoint now = Now();
  const sockaddr_storage socket_peer = PeerOf(descriptor);
  const std::string address = AddressOfPeer(socket_peer);
  const std::string peer = absl::StrFormat("%d %s", static_cast<int>(kind), address);
  std::lock_guard lock(mutex_);
  Slot* slot = FindOrMake(descriptor);
  if (slot != nullptr && slot->is_watched) {  // the number was free, so that connection is over
    Forget(*slot);
    std::erase(open_, descriptor);
  }
  const auto is_full = [&]() -> std::optional<ConnectionRefusal> {
    if (slot == nullptr || counts_.open[static_cast<size_t>(kind)] >= limits.connections) {
      return ConnectionRefusal::kProcessLimit;
    }
    const auto of_peer = connections_of_peer_.find(peer);
    const bool is_many = of_peer != connections_of_peer_.end() && of_peer->second >= limits.per_peer;
    return is_many && !address.empty() ? std::optional(ConnectionRefusal::kPeerLimit) : std::nullopt;
  };
  std::optional<ConnectionRefusal> refusal = is_full();
  if (refusal) {
    SweepIfDue(now);
    refusal = is_full();
  }
  if (refusal) {
    ++counts_.refused[static_cast<size_t>(*refusal)];
    return refusal;
  }
  slot->cookie = CookieOf(descriptor);
  slot->kind = kind;
  slot->framing.store(listening.framing, std::memory_order_relaxed);
  slot->descriptor = descriptor;
  slot->peer = peer;
  const std::string of_others = address.empty() ? "" : peer;
  slot->name = address.empty() ? "" : NameOfPeer(socket_peer);
  slot->num_uses.load(std::memory_order_acquire);
  slot->traffic.emplace(now, debts_.Connect(of_others, now), uploads_.Connect(of_others, descriptor));
  slot->is_watched.store(true, std::memory_order_release);
  open_.push_back(descriptor);
  if (!address.empty()) named_[slot->name] = slot;
  ++counts_.open[static_cast<size_t>(kind)];
  ++connections_of_peer_[peer];
  return std::nullopt;
}

void ConnectionTable::Forget(Slot& slot) {
  slot.is_watched.store(false, std::memory_order_release);
  uploads_.Close(*slot.traffic->uploads);
  --counts_.open[static_cast<size_t>(slot.kind)];
  if (const auto of_peer = connections_of_peer_.find(slot.peer); --of_peer->second == 0) {
    connections_of_peer_.erase(of_peer);
  }
  if (const auto named = named_.find(slot.name); named != named_.end() && named->second == &slot) named_.erase(named);
}

void ConnectionTable::CountRefusal(ConnectionRefusal reason) {
  std::lock_guard lock(mutex_);
  ++counts_.refused[static_cast<size_t>(reason)];
}

void ConnectionTable::Sweep() {
  const TimePoint now = Now();
  std::lock_guard lock(mutex_);
  SweepIfDue(now);
}

void ConnectionTable::SweepIfDue(TimePoint now) {
  if (now - swept_ < open_.size() * kBetweenSweepsEach) return;
  swept_ = now;
  std::erase_if(open_, [this](int descriptor) {
    Slot& slot = *Find(descriptor);
    if (CookieOf(descriptor) == slot.cookie) return false;
    Forget(slot);
    return true;
  });
}

void ConnectionTable::ShutDownAll(ListenerKind kind) {
  std::lock_guard lock(mutex_);
  for (const int descriptor : open_) {
    const Slot& slot = *Find(descriptor);
    if (slot.kind != kind || CookieOf(descriptor) != slot.cookie) continue;
    shutdown(descriptor, SHUT_RDWR);
    has_lost_any_ = true;
  }
}

ConnectionCounts ConnectionTable::counts() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

std::optional<Sending> ConnectionTable::SendingOf(const std::string& name) const {
  std::lock_guard lock(mutex_);
  const auto named = named_.find(name);
  if (named == named_.end()) return std::nullopt;
  const Slot& slot = *named->second;
  if (CookieOf(slot.descriptor) != slot.cookie) return Sending::kOver;
  const Sending sending = slot.traffic->sending.load(std::memory_order_relaxed);
  if (sending == Sending::kWhole || sending == Sending::kOver) return sending;
  int num_unread = 0;
  return ioctl(slot.descriptor, FIONREAD, &num_unread) == 0 && num_unread > 0 ? Sending::kUnread : sending;
}

void ConnectionTable::NoteEnd(int descriptor) {
  Slot* slot = Find(descriptor);
  if (slot == nullptr || !slot->is_watched.load(std::memory_order_acquire)) return;
  slot->traffic->sending.store(Sending::kOver, std::memory_order_relaxed);
  slot->num_uses.fetch_add(1, std::memory_order_release);
}

bool ConnectionTable::Inspect(int descriptor, const msghdr& message, size_t num_bytes, Framing framing) {
  Slot* slot = FindWatched(descriptor, framing);
  if (slot == nullptr) return true;
  const Verdict verdict = Judge(descriptor, *slot->traffic, message, num_bytes);
  slot->num_uses.fetch_add(1, std::memory_order_release);
  if (verdict.makes_room) CutOff(*verdict.makes_room, *Find(*verdict.makes_room), Offence::kUploads);
  return !verdict.offence || !CutOff(descriptor, *slot, *verdict.offence);
}

ConnectionTable::Verdict ConnectionTable::Judge(int descriptor, Traffic& traffic, const msghdr& message,
                                                size_t num_bytes) {
  const TimePoint now = Now();
  Verdict verdict;
  std::lock_guard lock(traffic.mutex);
  ForEachPiece(message, num_bytes, [&](std::span<const uint8_t> bytes) {
    if (!verdict.offence) verdict.offence = traffic.in.Inspect(bytes, traffic.sent.num_bytes(), now);
  });
  verdict.makes_room = Settle(traffic);
  if (verdict.makes_room == descriptor) {
    verdict.makes_room.reset();
    if (!verdict.offence) verdict.offence = Offence::kUploads;
  }
  const uint64_t answers = traffic.sent.num_answered();
  const StreamDebts::Streams streams = {.opened = traffic.in.TakeOpenedStreams(),
                                        .answered = static_cast<double>(answers - traffic.answers_seen)};
  traffic.answers_seen = answers;
  const bool is_news = streams.opened > 0.0 || streams.answered > 0.0;
  if (is_news && !debts_.Add(*traffic.debts, streams, now) && !verdict.offence) verdict.offence = Offence::kStreams;
  return verdict;
}

// A stream that the server ended is no upload any more, though its client may stay silent for as long as it likes.
std::optional<int> ConnectionTable::Settle(Traffic& traffic) {
  for (const uint32_t stream : traffic.sent.TakeEnded()) traffic.in.EndStream(stream);
  if (traffic.sending != Sending::kOver) traffic.sending = traffic.in.sending();
  const size_t uploading = traffic.in.upload_bytes();
  const bool has_changed = std::exchange(traffic.uploading, uploading) != uploading;
  return has_changed ? uploads_.Hold(*traffic.uploads, uploading) : std::nullopt;
}

void ConnectionTable::CountSent(int descriptor, const msghdr& message, size_t num_bytes, Framing framing) {
  Slot* slot = FindWatched(descriptor, framing);
  if (slot == nullptr) return;
  Traffic& traffic = *slot->traffic;
  ForEachPiece(message, num_bytes, [&traffic](std::span<const uint8_t> bytes) { traffic.sent.Add(bytes); });
  {
    std::lock_guard lock(traffic.mutex);
    Settle(traffic);
  }
  slot->num_uses.fetch_add(1, std::memory_order_release);
}

// A descriptor that is being read can't be closed and given anew meanwhile, but it may have been before, to a socket
// that has nothing to do with us; another one's may be at any moment, so the shutdown follows the look at once.
bool ConnectionTable::CutOff(int descriptor, Slot& slot, Offence offence) {
  const std::string address = AddressOfPeer(PeerOf(descriptor));
  {
    std::lock_guard lock(mutex_);
    if (!slot.is_watched || CookieOf(descriptor) != slot.cookie) return false;
    shutdown(descriptor, SHUT_RDWR);
    ++counts_.cut[static_cast<size_t>(offence)];
  }
  LogCut(address, offence);
  return true;
}

void ConnectionTable::LogCut(const std::string& address, Offence offence) {
  std::lock_guard lock(log_mutex_);
  ++cut_since_logged_;
  const TimePoint now = Now();
  if (logged_ != TimePoint{} && now - logged_ < kBetweenLogLines) return;
  logged_ = now;
  spdlog::warn("connections: cut off {} for {}; {} since the last such line", address, Describe(offence),
               cut_since_logged_);
  cut_since_logged_ = 0;
}

}  // namespace latentd

// In place of the C library's, for the whole process. The loader gives gRPC's library the program's own.
extern "C" ssize_t recvmsg(int descriptor, msghdr* message, int flags) {
  const auto received = static_cast<ssize_t>(syscall(SYS_recvmsg, descriptor, message, flags));
  if (received <= 0) {
    const int error = errno;
    const bool has_failed = received < 0 && error != EAGAIN && error != EINTR;
    if (has_failed) latentd::ConnectionTable::OfProcess().NoteError();
    if (received == 0 || has_failed) latentd::ConnectionTable::OfProcess().NoteEnd(descriptor);
    errno = error;
    return received;
  }
  if ((flags & MSG_PEEK) != 0) return received;
  if (latentd::ConnectionTable::OfProcess().Inspect(descriptor, *message, static_cast<size_t>(received),
                                                    latentd::Framing::kHttp2)) {
    return received;
  }
  errno = ECONNRESET;
  return -1;
}

extern "C" ssize_t sendmsg(int descriptor, const msghdr* message, int flags) {
  const auto sent = static_cast<ssize_t>(syscall(SYS_sendmsg, descriptor, message, flags));
  if (sent > 0) {
    latentd::ConnectionTable::OfProcess().CountSent(descriptor, *message, static_cast<size_t>(sent),
                                                    latentd::Framing::kHttp2);
  } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
    const int error = errno;
    latentd::ConnectionTable::OfProcess().NoteError();
    errno = error;
  }
  return sent;
}
