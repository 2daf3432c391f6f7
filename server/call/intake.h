// Requests on their way in: which RPC may receive its message now, so that all messages that are being received, or
// wait to be worked on, fit one budget of bytes. Owned by Serve(); every method may be called by any thread.
//
// gRPC takes a message whole into memory and tells its size only then. So a place for the largest message is taken
// before a message is read, and all but its real size is given back when it is there. An RPC that finds no place waits
// unread: HTTP/2 stops its client at 64 KiB. Peers take turns. A client that does not send what it began loses its
// place: after `patience`, and as soon as `grace` where others wait for it, or `silence` where not even its first byte
// came; then the one that has received for longest goes first, of the peer that has most places.
//
// What a connection sent is seen on its way to gRPC (ConnectionTable). A message that is whole before it is read has 64
// KiB at most, so it takes no more, of a part of the budget that no others get, and goes ahead of all that are not: a
// client that sends a request at once does not wait for one that doesn't.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>

#include "base/clock.h"
#include "server/call/byte_budget.h"
#include "server/call/fair_queue.h"
#include "server/net/peer.h"
#include "server/net/sending.h"

namespace latentd {

struct IntakeOptions {
  size_t max_bytes = size_t{64} << 20;     // of all messages; at least two of the largest fit in any case
  size_t message_bytes = size_t{4} << 20;  // of the largest message
  size_t max_waiting = 1024;               // RPCs that found no place; each may hold 64 KiB unread
  Duration patience = std::chrono::seconds(30);
  Duration grace = std::chrono::milliseconds(200);
  Duration silence = std::chrono::milliseconds(20);
  size_t unread_bytes = 64 << 10;  // that gRPC takes of a message before it is read
  size_t reserved_bytes = 0;       // of max_bytes: for messages that are whole
  // Nothing where that is not known of the peer.
  std::function<std::optional<Sending>(const Peer& peer)> look = [](const Peer&) { return std::nullopt; };
};

class Intake {
 public:
  enum class Standing : uint8_t {
    kOutside,    // not arrived, or left
    kWaiting,    // look again at next_look, or when woken
    kReceiving,  // its message may be read; look again at next_look
    kReceived,   // its bytes are counted until it leaves
    kOverdue,    // it has to go: its message took too long
    kNoRoom,     // it has to go: too many wait, or it waited for too long
    kClosed,     // it has to go: the server shuts down
  };

  // One RPC here. Its owner keeps it alive until Leave.
  class Place {
   public:
    Peer peer;
    std::function<void()> wake;  // its standing changed; must neither block nor call the Intake

   private:
    friend class Intake;
    Standing standing = Standing::kOutside;
    TimePoint since{};   // arrived, or began to receive
    TimePoint looked{};  // when its connection was
    std::optional<Sending> sending;
    ByteBudget::Share share;  // of its message
    bool makes_room = false;  // told to go for another one
  };

  // `held`, if any, follows the bytes that are counted, for the metrics.
  explicit Intake(const IntakeOptions& options, std::atomic<int64_t>* held = nullptr);

  // The first call of a place: kReceiving, kWaiting or kNoRoom.
  Standing Arrive(Place& place, TimePoint now);
  // Where it stands; one that waits makes room for itself if that is possible by now.
  Standing Look(Place& place, TimePoint now);
  TimePoint next_look(const Place& place, TimePoint now) const;
  // The message of a place that was receiving is there.
  void Received(Place& place, size_t num_bytes, TimePoint now);
  // The last call, in any standing; more than once does nothing.
  void Leave(Place& place, TimePoint now);

  // All RPCs that wait or receive now have to go.
  void Close();

  size_t max_bytes() const { return budget_.max_bytes(); }
  size_t num_waiting() const;

 private:
  // All under mutex_.
  bool HasRoomFor(const Place& place) const { return budget_.HasRoom(place.peer, BytesOf(place)); }
  size_t BytesOf(const Place& place) const;
  void LookAtConnection(Place& place, TimePoint now);
  void Begin(Place& place, TimePoint now);
  void BeginOutOfTurn(Place& place, TimePoint now);
  void EndReceiving(Place& place);
  void GrantTurns(TimePoint now);
  bool DisplaceFor(const Place& place);
  void MakeRoomFor(const Place& place, TimePoint now);
  Place* FindSlowest(const Place& place, TimePoint now);
  bool IsSlow(Place& place, TimePoint now);

  const IntakeOptions options_;
  ByteBudget budget_;  // a connection may have half of it, and one place in any case; taken from under mutex_

  mutable std::mutex mutex_;  // guards all below, and all places
  FairQueue<Place*> waiting_;
  std::list<Place*> receiving_;                            // the oldest first
  std::map<std::string, size_t> receiving_of_address_;     // how many
  std::map<std::string, size_t> receiving_of_connection_;  // the same
  size_t num_going_ = 0;                                   // make room and have not left
};

}  // namespace latentd
