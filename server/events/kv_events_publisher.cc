#include "server/events/kv_events_publisher.h"

#include <array>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <unistd.h>

#include "server/events/kv_event_payload.h"

namespace latentd {
namespace {

// Messages that wait for one subscriber: some megabytes. A replay is as long as the stream's window, or has a message
// for each 64 blocks of a snapshot.
constexpr int kMostForSubscriber = 1 << 13, kMostForReplays = 1 << 15;
constexpr size_t kMostInARound = 256;  // then replays have their turn

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
  wake_->Raise();
  if (thread_.joinable()) thread_.join();
}

void KvEventsPublisher::Serve(KvEventSource source) {
  thread_ = std::thread([this, source = std::move(source)] { Run(source); });
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

void KvEventsPublisher::Run(const KvEventSource& source) {
  KvEventReader reader(source.stream, 1, [this] { wake_->Raise(); });
  std::optional<KvReplays> replays;
  if (router_) replays.emplace(*router_, source, wake_, metrics_);
  bool has_more = true;
  while (!is_over_) {
    const bool is_asked =
        PollMessages(router_ ? &*router_ : nullptr, *wake_, has_more ? Waiting::kNot : Waiting::kUntilSomething);
    wake_->Lower();
    has_more = Publish(reader);
    if (is_asked) replays->Answer();
    if (replays) replays->ServeWaiting();
  }
}

// Whether there may be more.
bool KvEventsPublisher::Publish(KvEventReader& reader) {
  const uint64_t num_missed = reader.num_missed();
  const std::vector<KvEvent> events = reader.Take(kMostInARound);
  if (events.empty()) return false;
  for (const KvEvent& event : events) {
    static_cast<void>(publisher_->Send({topic_, NumberBytes(event.number), PayloadNow({&event, 1})}));
  }
  metrics_.Update([&](MetricsData& data) {
    data.kv_events_published += events.size();
    data.kv_events_missed += reader.num_missed() - num_missed;
  });
  return true;
}

}  // namespace latentd
