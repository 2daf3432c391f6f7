// A ZeroMQ socket that listens, and a flag that wakes who polls it. Nothing of it waits but Poll. A socket is of one
// thread at a time; the context outlives it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "server/net/listening_socket.h"

namespace latentd {

// Owns the library's threads.
class ZmqContext {
 public:
  ZmqContext();
  void* get() const { return context_.get(); }

 private:
  struct End {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, End> context_;
};

enum class ZmqKind : uint8_t { kPublisher, kRouter };

class ZmqSocket {
 public:
  // Takes connections from `listening`, which may go. At most `most_waiting` messages wait for one peer.
  static absl::StatusOr<ZmqSocket> Bind(const ZmqContext& context, ZmqKind kind, const ListeningSocket& listening,
                                        int most_waiting);

  // False where the message cannot wait for its peer, which then gets none of it. A publisher's always can: what a slow
  // subscriber has no room for is lost to it alone.
  [[nodiscard]] bool Send(const std::vector<std::string>& parts) const;
  // The parts of the next message; empty: there is none.
  std::vector<std::string> Receive() const;
  void* get() const { return socket_.get(); }

 private:
  struct Close {
    void operator()(void* socket) const;
  };
  explicit ZmqSocket(void* socket) : socket_(socket) {}

  std::unique_ptr<void, Close> socket_;
};

// Raised by any thread, lowered by the one that polls.
class WakeFlag {
 public:
  WakeFlag();
  ~WakeFlag();
  WakeFlag(const WakeFlag&) = delete;
  WakeFlag& operator=(const WakeFlag&) = delete;

  void Raise() const;
  void Lower() const;
  int descriptor() const { return descriptor_; }

 private:
  const int descriptor_;
};

enum class Waiting : uint8_t { kUntilSomething, kNot };
// Whether `socket`, which may be null, has a message, once it has or the flag is raised.
bool PollMessages(const ZmqSocket* socket, const WakeFlag& flag, Waiting waiting);

}  // namespace latentd
