#include "server/events/kv_events_publisher.h"

#include <array>
#include <chrono>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <unistd.h>

#include "server/events/kv_event_payload.h"

namespace latentd {
namespace {

// Messages that wait for one subscriber: some megabytes. One replay is as long as the stream's window.
constexpr int kMostForSubscriber = 1 << 13, kMostForReplays = 1 << 14;
constexpr size_t kMostInARound = 256;  // then replays have their turn

double UnixSeconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

std::string KvEventsTopic(const std::string& model) {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return absl::StrCat("kv@", host.data(), "@", model);
}

absl::StatusOr<std::unique_ptr<KvEventsPublisher>> KvEventsPublisher::Bind(const Options& options, Metrics& metrics) {
  std::unique_ptr<KvEventsPublisher> made(new KvEventsPublisher(options.topic, metrics));
  absl::StatusOr<ZmqSocket> publisher =
      made->Open(ZmqKind::kPublisher, options.listen, "--kv-events-listen", made->address_);
  if (!publisher.ok()) return publisher.status();
  made->publisher_ = *std::move(publisher);
  if (options.replay_listen.empty()) return made;
  absl::StatusOr<ZmqSocket> router =
      made->Open(ZmqKind::kRouter, options.replay_listen, "--kv-events-replay-listen", made->replay_address_.emplace());
  if (!router.ok()) return router.status();
  made->router_ = *std::move(router);
  return made;
}

KvEventsPublisher::~KvEventsPublisher() {
  is_over_ = true;
  wake_.Raise();
  if (thread_.joinable()) thread_.join();
}

void KvEventsPublisher::Serve(KvEventStream& stream) {
  thread_ = std::thread([this, &stream] { Run(stream); });
}

absl::StatusOr<ZmqSocket> KvEventsPublisher::Open(ZmqKind kind, const std::string& listen, const char* flag,
                                                  Address& address) {
  const absl::StatusOr<Address> parsed = ParseTcpListener(listen);
  if (!parsed.ok()) return parsed.status();
  const absl::StatusOr<ListeningSocket> listening = ListeningSocket::Open(*parsed, flag);
  if (!listening.ok()) return listening.status();
  address = listening->address();
  return ZmqSocket::Bind(context_, kind, *listening,
                         kind == ZmqKind::kPublisher ? kMostForSubscriber : kMostForReplays);
}

void KvEventsPublisher::Run(KvEventStream& stream) {
  KvEventReader reader(stream, 1, [this] { wake_.Raise(); });
  bool has_more = true;
  while (!is_over_) {
    const bool is_asked =
        PollMessages(router_ ? &*router_ : nullptr, wake_, has_more ? Waiting::kNot : Waiting::kUntilSomething);
    wake_.Lower();
    has_more = Publish(reader);
    if (is_asked) Answer(stream);
  }
}

// Whether there may be more.
bool KvEventsPublisher::Publish(KvEventReader& reader) {
  const uint64_t num_missed = reader.num_missed();
  const std::vector<KvEvent> events = reader.Take(kMostInARound);
  if (events.empty()) return false;
  const double now = UnixSeconds();
  for (const KvEvent& event : events) {
    static_cast<void>(publisher_->Send({topic_, NumberBytes(event.number), PayloadOf(event, now)}));
  }
  metrics_.Update([&](MetricsData& data) {
    data.kv_events_published += events.size();
    data.kv_events_missed += reader.num_missed() - num_missed;
  });
  return true;
}

void KvEventsPublisher::Answer(KvEventStream& stream) {
  std::vector<std::string> request = router_->Receive();
  if (request.empty()) return;
  const KvReplay outcome = Replay(stream, std::move(request));
  metrics_.Update([outcome](MetricsData& data) { ++data.kv_replays[static_cast<size_t>(outcome)]; });
}

// [the peer, perhaps an empty part, the first number]; the answers begin with what stands before the number.
KvReplay KvEventsPublisher::Replay(KvEventStream& stream, std::vector<std::string> request) {
  const std::string asked = std::move(request.back());
  request.pop_back();
  const bool is_envelope = request.size() == 1 || (request.size() == 2 && request[1].empty());
  if (!is_envelope || asked.size() != sizeof(uint64_t)) return KvReplay::kMalformed;
  uint64_t first = 0;
  for (const char byte : asked) first = first << 8 | static_cast<unsigned char>(byte);
  const auto send = [&](uint64_t number, std::string payload) {
    std::vector<std::string> parts = request;
    parts.push_back(NumberBytes(number));
    parts.push_back(std::move(payload));
    return router_->Send(parts);
  };
  KvEventReader reader(stream, first, [] {});
  const double now = UnixSeconds();
  for (std::vector<KvEvent> events = reader.Take(kMostInARound); !events.empty(); events = reader.Take(kMostInARound)) {
    for (const KvEvent& event : events) {
      if (!send(event.number, PayloadOf(event, now))) return KvReplay::kUnread;
    }
  }
  if (!send(kEndOfReplay, "")) return KvReplay::kUnread;
  return reader.num_missed() == 0 ? KvReplay::kWhole : KvReplay::kCut;
}

}  // namespace latentd
