// With the library's own peers. What a router makes of it: tests/system/kv_events_test.py.
#include "server/events/kv_events_publisher.h"

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zmq.h>

#include "server/events/kv_event_payload.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int kPatienceMs = 60'000;
constexpr char kLoopback[] = "tcp://127.0.0.1:0";

// A subscriber, or one that asks for a replay.
class Peer {
 public:
  Peer(int kind, const Address& address, int patience_ms = kPatienceMs)
      : context_(zmq_ctx_new()), socket_(zmq_socket(context_, kind)) {
    EXPECT_EQ(zmq_setsockopt(socket_, ZMQ_RCVTIMEO, &patience_ms, sizeof(patience_ms)), 0);
    if (kind == ZMQ_SUB) {
      EXPECT_EQ(zmq_setsockopt(socket_, ZMQ_SUBSCRIBE, "", 0), 0);
    }
    EXPECT_EQ(zmq_connect(socket_, ("tcp://" + address.ToString()).c_str()), 0);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() {
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }

  void Send(const std::vector<std::string>& parts) const {
    for (size_t i = 0; i < parts.size(); ++i) {
      EXPECT_GE(zmq_send(socket_, parts[i].data(), parts[i].size(), i + 1 < parts.size() ? ZMQ_SNDMORE : 0), 0);
    }
  }
  // Empty: none came in time.
  std::vector<std::string> Receive() const {
    std::vector<std::string> parts;
    int more = 1;
    for (size_t size = sizeof(more); more != 0; zmq_getsockopt(socket_, ZMQ_RCVMORE, &more, &size)) {
      std::array<char, 4096> bytes;
      const int count = zmq_recv(socket_, bytes.data(), bytes.size(), 0);
      if (count < 0) return {};
      parts.emplace_back(bytes.data(), static_cast<size_t>(count));
    }
    return parts;
  }

 private:
  void* context_;
  void* socket_;
};

class KvEventsPublisherTest : public testing::Test {
 protected:
  // The engine's snapshot: a clearing, and what the test says.
  void Serve() {
    publisher_->Serve({.stream = stream_, .snapshot = [this](const KvSnapshotListener& listener) {
                         ++num_snapshots_;
                         std::vector<KvEvent> snapshot(3);
                         for (uint64_t i = 0; i < 3; ++i) snapshot[i].number = events_.next_number() - 3 + i;
                         listener(std::move(snapshot));
                       }});
  }
  void Record(int count) {
    for (int i = 0; i < count; ++i) events_.Removed({.low = events_.next_number()});
    stream_.Tell();
  }

  // Numbers of the answers, the end's, too. `envelope`: what stands before the number in what the peer sends.
  static std::vector<uint64_t> Replay(const Peer& peer, uint64_t from, std::vector<std::string> envelope) {
    envelope.push_back(NumberBytes(from));
    peer.Send(envelope);
    std::vector<uint64_t> numbers;
    while (numbers.empty() || numbers.back() != kEndOfReplay) {
      const std::vector<std::string> parts = peer.Receive();
      if (parts.size() != envelope.size() + 1) return numbers;
      uint64_t number = 0;
      for (const char byte : parts[envelope.size() - 1]) number = number << 8 | static_cast<unsigned char>(byte);
      EXPECT_EQ(parts.back().empty(), number == kEndOfReplay);
      numbers.push_back(number);
    }
    return numbers;
  }

  uint64_t NumReplays(KvReplay result) { return metrics_.Snapshot().kv_replays[static_cast<size_t>(result)]; }

  std::atomic<int> num_snapshots_ = 0;
  Metrics metrics_;
  KvEvents events_{4};
  KvEventStream stream_{events_};
  std::unique_ptr<KvEventsPublisher> publisher_ = OrDie(
      KvEventsPublisher::Bind({.listen = kLoopback, .replay_listen = kLoopback, .topic = "kv@pod@model"}, metrics_));
};

TEST_F(KvEventsPublisherTest, SubscriberGetsTopicNumberAndPayload) {
  Serve();
  const Peer subscriber(ZMQ_SUB, publisher_->address(), /*patience_ms=*/10);
  std::vector<std::string> message;
  while (message.empty()) {  // a subscription takes effect some time after it was made
    Record(1);
    message = subscriber.Receive();
  }
  ASSERT_EQ(message.size(), 3u);
  EXPECT_EQ(message[0], "kv@pod@model");
  EXPECT_EQ(message[1].size(), 8u);
  EXPECT_THAT(message[2], HasSubstr("BlockRemoved"));
  EXPECT_GE(metrics_.Snapshot().kv_events_published, 1u);
}

TEST_F(KvEventsPublisherTest, ReplayBeginsWithTheNumberAskedFor) {
  Serve();
  Record(3);
  const Peer dealer(ZMQ_DEALER, *publisher_->replay_address());
  EXPECT_THAT(Replay(dealer, 2, {""}), ElementsAre(2, 3, kEndOfReplay));
  EXPECT_THAT(Replay(dealer, 2, {}), ElementsAre(2, 3, kEndOfReplay)) << "without a delimiter";
  EXPECT_THAT(Replay(dealer, 4, {""}), ElementsAre(kEndOfReplay));
  EXPECT_THAT(Replay(dealer, 40, {""}), ElementsAre(1, 2, 3, kEndOfReplay)) << "of an earlier process";
  EXPECT_EQ(num_snapshots_, 0);
}

TEST_F(KvEventsPublisherTest, SnapshotStandsForWhatIsHeldNoLonger) {
  Serve();
  Record(7);
  const Peer dealer(ZMQ_DEALER, *publisher_->replay_address());
  EXPECT_THAT(Replay(dealer, 2, {""}), ElementsAre(7, kEndOfReplay)) << "its events are one message";
  EXPECT_THAT(Replay(dealer, 7, {""}), ElementsAre(7, kEndOfReplay));
  EXPECT_THAT(Replay(dealer, 8, {""}), ElementsAre(kEndOfReplay));
  Record(2);
  EXPECT_THAT(Replay(dealer, 0, {""}), ElementsAre(7, 8, 9, kEndOfReplay)) << "the same one, while it can go on";
  EXPECT_EQ(num_snapshots_, 1);
  Record(3);
  EXPECT_THAT(Replay(dealer, 0, {""}), ElementsAre(12, kEndOfReplay));
  EXPECT_EQ(num_snapshots_, 2);
  EXPECT_EQ(NumReplays(KvReplay::kSnapshot), 3u);
}

TEST_F(KvEventsPublisherTest, WishWithoutANumberIsCounted) {
  Serve();
  const Peer dealer(ZMQ_DEALER, *publisher_->replay_address());
  dealer.Send({"", "1"});
  dealer.Send({"a", "b", NumberBytes(1)});
  EXPECT_THAT(Replay(dealer, 1, {""}), ElementsAre(kEndOfReplay));
  EXPECT_EQ(NumReplays(KvReplay::kMalformed), 2u);
}

TEST_F(KvEventsPublisherTest, AddressInUseIsNamed) {
  const std::string taken = "tcp://" + publisher_->address().ToString();
  const auto second = KvEventsPublisher::Bind({.listen = taken, .replay_listen = "", .topic = ""}, metrics_);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("choose another with --kv-events-listen"));
}

TEST(KvEventsTopic, NamesTheHostAndTheModel) {
  EXPECT_THAT(KvEventsTopic("tiny-tales"), StartsWith("kv@"));
  EXPECT_THAT(KvEventsTopic("tiny-tales"), EndsWith("@tiny-tales"));
}

}  // namespace
}  // namespace latentd
