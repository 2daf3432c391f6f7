#include "server/net/acceptor.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/or_die.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;

constexpr auto kPatience = std::chrono::seconds(60);

class Client {
 public:
  explicit Client(int family = AF_INET) : descriptor_(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { close(descriptor_); }

  bool Connect(const Address& address) const {
    sockaddr_storage storage{};
    if (address.kind == Address::Kind::kUnix) {
      auto& local = reinterpret_cast<sockaddr_un&>(storage);
      local.sun_family = AF_UNIX;
      address.host.copy(local.sun_path, sizeof(local.sun_path) - 1);
    } else {
      auto& ipv4 = reinterpret_cast<sockaddr_in&>(storage);
      ipv4.sin_family = AF_INET;
      ipv4.sin_port = htons(static_cast<uint16_t>(address.port));
      inet_pton(AF_INET, address.host.c_str(), &ipv4.sin_addr);
    }
    return connect(descriptor_, reinterpret_cast<const sockaddr*>(&storage), sizeof(sockaddr_un)) == 0;
  }
  // All that arrives until the other side closes.
  std::string ReadToEnd() const {
    std::string all;
    char bytes[256];
    pollfd readable{.fd = descriptor_, .events = POLLIN, .revents = 0};
    while (poll(&readable, 1, 60'000) == 1) {
      const ssize_t size = read(descriptor_, bytes, sizeof(bytes));
      if (size <= 0) return all;
      all.append(bytes, static_cast<size_t>(size));
    }
    return all + " and then nothing for a minute";
  }

 private:
  const int descriptor_;
};

// A server that keeps what it is handed.
class AcceptorTest : public testing::Test {
 protected:
  ~AcceptorTest() override {
    acceptor_.reset();
    CloseAll();
    ConnectionTable::OfProcess().Sweep();
  }

  void Start(const ConnectionLimits& limits, const std::string& listen = "127.0.0.1:0") {
    auto socket = OrDie(ListeningSocket::Open(OrDie(ParseAddress(listen, AddressUse::kGrpcListener)), "--listen"));
    acceptor_ = OrDie(Acceptor::Start(std::move(socket), {.limits = limits,
                                                          .hand_over = [this](int descriptor) { Keep(descriptor); },
                                                          .on_change = [this](bool can) { NoteChange(can); }}));
  }
  std::unique_ptr<Client> Connect() const {
    const Address& address = acceptor_->address();
    auto client = std::make_unique<Client>(address.kind == Address::Kind::kUnix ? AF_UNIX : AF_INET);
    EXPECT_TRUE(client->Connect(address));
    return client;
  }
  bool Await(const std::function<bool()>& condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, condition);
  }
  bool AwaitKept(size_t count) {
    return Await([&] { return kept_.size() == count; });
  }
  void CloseAll() {
    std::lock_guard lock(mutex_);
    for (const int descriptor : kept_) close(descriptor);
    kept_.clear();
  }
  static uint64_t Refused(ConnectionRefusal reason) {
    return ConnectionTable::OfProcess().counts().refused[static_cast<size_t>(reason)];
  }

  std::unique_ptr<Acceptor> acceptor_;
  std::vector<bool> changes_;

 private:
  void Keep(int descriptor) {
    std::lock_guard lock(mutex_);
    kept_.push_back(descriptor);
    changed_.notify_all();
  }
  void NoteChange(bool can_accept) {
    std::lock_guard lock(mutex_);
    changes_.push_back(can_accept);
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int> kept_;
};

TEST_F(AcceptorTest, WhatIsBeyondTheLimitIsToldAndClosedAtOnce) {
  Start({.connections = 2, .per_peer = 2});
  const uint64_t refused = Refused(ConnectionRefusal::kProcessLimit);
  const auto first = Connect(), second = Connect();
  ASSERT_TRUE(AwaitKept(2));
  EXPECT_THAT(Connect()->ReadToEnd(), HasSubstr("too many connections"));
  EXPECT_EQ(Refused(ConnectionRefusal::kProcessLimit), refused + 1);
  EXPECT_EQ(ConnectionTable::OfProcess().counts().open[0], 2);
}

TEST_F(AcceptorTest, APlaceIsFreeOnceTheServerHasClosedAConnection) {
  Start({.connections = 1, .per_peer = 1});
  for (int i = 0; i < 5; ++i) {
    const auto client = Connect();
    ASSERT_TRUE(AwaitKept(1)) << "after " << i;
    CloseAll();
  }
}

TEST_F(AcceptorTest, OnePeerLeavesPlacesToOthers) {
  Start({.connections = 10, .per_peer = 2});
  const uint64_t refused = Refused(ConnectionRefusal::kPeerLimit);
  const auto first = Connect(), second = Connect();
  ASSERT_TRUE(AwaitKept(2));
  EXPECT_THAT(Connect()->ReadToEnd(), HasSubstr("too many connections"));
  EXPECT_EQ(Refused(ConnectionRefusal::kPeerLimit), refused + 1);
}

TEST_F(AcceptorTest, AUnixSocketHasNoPeers) {
  const TemporaryDirectory folder;
  Start({.connections = 3, .per_peer = 1}, "unix:" + (folder.path() / "s").string());
  const auto first = Connect(), second = Connect(), third = Connect();
  EXPECT_TRUE(AwaitKept(3));
  EXPECT_THAT(Connect()->ReadToEnd(), HasSubstr("too many connections"));
  acceptor_->Stop();
  EXPECT_FALSE(Client(AF_UNIX).Connect(acceptor_->address()));
}

TEST_F(AcceptorTest, WithoutDescriptorsItRefusesAndRecoversByItself) {
  Start({});
  const auto waiting = Connect();
  ASSERT_TRUE(AwaitKept(1));
  Client client;
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const int lowest_free = dup(STDERR_FILENO);
  close(lowest_free);
  const rlimit low{.rlim_cur = static_cast<rlim_t>(lowest_free), .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &low);
  client.Connect(acceptor_->address());
  EXPECT_TRUE(Await([this] { return changes_ == std::vector{false}; }));
  EXPECT_THAT(client.ReadToEnd(), HasSubstr("too many connections"));
  EXPECT_GT(Refused(ConnectionRefusal::kDescriptors), 0u) << "what it can't serve it closes all the same";
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(Await([this] { return changes_ == std::vector{false, true}; }));
  const auto late = Connect();
  EXPECT_TRUE(AwaitKept(2));
}

}  // namespace
}  // namespace latentd
