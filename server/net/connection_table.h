// Every connection that the acceptors of this process handed to gRPC, by its descriptor: whose it is, how many there
// are and, through FrameGuard, what it sends. gRPC owns the descriptors and closes them without a word; a socket's
// cookie tells whether a number still means the connection that it was given for.
//
// gRPC reads and writes through the C library, so the program's own recvmsg and sendmsg, defined beside this, see all
// bytes on their way, in the thread that asked for them; a connection that a guard accuses is shut down there, before
// gRPC parses what it sent. That makes this the process's: there is one, and it stays to the end. Under TLS they see
// records, and what is in them passes through tls_frames.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/socket.h>

#include "base/clock.h"
#include "server/net/frame_guard.h"
#include "server/net/sending.h"
#include "server/net/sent_frames.h"
#include "server/net/stream_debts.h"
#include "server/net/upload_ledger.h"

namespace latentd {

// Which server took a connection; in the order of the metric's label.
enum class ListenerKind : uint8_t { kApi, kAdmin };
inline constexpr int kNumListenerKinds = 2;

// What travels on its socket.
enum class Framing : uint8_t { kHttp2, kTls };

// Why a connection was refused; in the order of the metric's label.
enum class ConnectionRefusal : uint8_t {
  kProcessLimit,
  kPeerLimit,
  kDescriptors,  // the system has none left, or no memory for one
};
inline constexpr int kNumConnectionRefusals = 3;

struct Listening {
  ListenerKind kind = ListenerKind::kApi;
  Framing framing = Framing::kHttp2;
};

// Limits of one listener.
struct ConnectionLimits {
  int64_t connections = 1024;
  int64_t per_peer = 1024;  // of one IPv4 address, of one /64 of IPv6; a unix socket is no peer
};

struct ConnectionCounts {
  std::array<int64_t, kNumListenerKinds> open{};
  std::array<uint64_t, kNumConnectionRefusals> refused{};
  std::array<uint64_t, kNumOffences> cut{};  // by a guard
};

class ConnectionTable {
 public:
  static ConnectionTable& OfProcess();
  ConnectionTable(const ConnectionTable&) = delete;
  ConnectionTable& operator=(const ConnectionTable&) = delete;

  // From an acceptor's thread, for a descriptor that it has just accepted and hands to gRPC next. A reason: it is not
  // taken, and the caller's to close; counted.
  std::optional<ConnectionRefusal> Add(int descriptor, const Listening& listening, const ConnectionLimits& limits);
  void CountRefusal(ConnectionRefusal reason);
  // Bytes of unfinished messages on all connections: beyond this those that hold most are cut off.
  void SetUploadLimit(size_t num_bytes) { uploads_.SetLimit(num_bytes); }
  // Looks which connections are over.
  void Sweep();
  // Shuts down connections that gRPC still has and will not close: the writes that it waits for are over then.
  void ShutDownAll(ListenerKind kind);
  // Any connection was shut down here or ended by an error: gRPC's library may wait for it at its end.
  bool has_lost_any() const { return has_lost_any_; }
  ConnectionCounts counts() const;
  // What the connection of that name (Peer::connection) was seen to send; nothing where none of that name is known.
  std::optional<Sending> SendingOf(const std::string& name) const;

  // Called by the hooks, with what travels in that framing. False: the connection is accused, and the bytes read are
  // not to be parsed.
  bool Inspect(int descriptor, const msghdr& message, size_t num_bytes, Framing framing);
  void NoteEnd(int descriptor);
  void NoteError() { has_lost_any_ = true; }  // of reading or writing
  void CountSent(int descriptor, const msghdr& message, size_t num_bytes, Framing framing);

 private:
  // The hooks' record of one connection: `sent` is of the thread that writes, the rest of both, one at a time.
  struct Traffic {
    Traffic(TimePoint now, std::unique_ptr<StreamDebts::Connection> owed,
            std::unique_ptr<UploadLedger::Connection> held)
        : in(now), debts(std::move(owed)), uploads(std::move(held)) {}

    std::atomic<Sending> sending{Sending::kWhole};
    SentFrames sent;

    std::mutex mutex;  // guards all below
    FrameGuard in;
    uint64_t answers_seen = 0;
    size_t uploading = 0;  // as the ledger was told
    std::unique_ptr<StreamDebts::Connection> debts;
    std::unique_ptr<UploadLedger::Connection> uploads;
  };
  // Stays where it is once made: a hook may hold it whenever its descriptor is read.
  struct Slot {
    std::atomic<bool> is_watched{false};
    std::atomic<Framing> framing{Framing::kHttp2};
    std::atomic<uint64_t> num_uses{0};  // what a hook did comes before what the next connection's hooks do
    std::optional<Traffic> traffic;     // until the descriptor is given anew

    // Guarded by mutex_.
    uint64_t cookie = 0;
    ListenerKind kind{};
    int descriptor = -1;
    std::string peer;  // by listener and address
    std::string name;
  };
  static constexpr size_t kSlotsPerChunk = 1024;
  static constexpr size_t kMaxChunks = 1024;
  using Chunk = std::array<Slot, kSlotsPerChunk>;

  ConnectionTable() = default;
  Slot* Find(int descriptor) const;
  // Null unless it is watched, and its HTTP/2 travels in that framing as the hook sees it.
  Slot* FindWatched(int descriptor, Framing framing) const;
  Slot* FindOrMake(int descriptor);
  void Forget(Slot& slot);
  void SweepIfDue(TimePoint now);  // with mutex_ held
  // With the traffic's lock held. A descriptor: too much is being uploaded, and that connection has to go.
  std::optional<int> Settle(Traffic& traffic);
  struct Verdict {
    std::optional<Offence> offence;  // of the connection itself
    std::optional<int> makes_room;   // another one that has to go
  };
  Verdict Judge(int descriptor, Traffic& traffic, const msghdr& message, size_t num_bytes);
  bool CutOff(int descriptor, Slot& slot, Offence offence);
  void LogCut(const std::string& address, Offence offence);

  std::array<std::atomic<Chunk*>, kMaxChunks> chunks_{};  // never freed
  StreamDebts debts_;
  std::atomic<bool> has_lost_any_ = false;
  UploadLedger uploads_;

  mutable std::mutex mutex_;
  std::vector<int> open_;                               // descriptors
  std::map<std::string, int64_t> connections_of_peer_;  // by listener and address
  std::map<std::string, const Slot*> named_;            // by name; not of unix sockets, which have none of their own
  ConnectionCounts counts_;
  TimePoint swept_{};

  std::mutex log_mutex_;
  TimePoint logged_{};
  uint64_t cut_since_logged_ = 0;
};

}  // namespace latentd
