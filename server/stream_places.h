// How many RPCs of one kind may be open at a time: those that cost a client nothing to leave open. Where all places are
// taken, a newcomer gets the oldest place of the address that has most of them, and of its connections the one that has
// most; it is refused only where that is its own. Any thread.
#pragma once

#include <list>
#include <mutex>
#include <utility>

#include "server/peer.h"

namespace latentd {

class StreamPlaces {
 public:
  class Holder {
   public:
    explicit Holder(Peer peer) : peer_(std::move(peer)) {}
    virtual ~Holder() = default;

    // It lost its place and is to end. Any thread, with the places' lock held.
    virtual void MakeRoom() = 0;

   private:
    friend class StreamPlaces;
    const Peer peer_;
  };

  explicit StreamPlaces(size_t count) : count_(count) {}

  // False: there is none.
  bool Take(Holder& holder);
  // More than once, or without a place: no-op. Not called back after this.
  void GiveBack(Holder& holder);

 private:
  struct Standing {
    size_t of_address = 0;
    size_t of_connection = 0;
    auto operator<=>(const Standing&) const = default;
  };

  Standing StandingOf(const Holder& holder) const;
  // Nothing where nobody has more than the newcomer would.
  Holder* FindVictim(const Holder& newcomer) const;

  const size_t count_;
  std::mutex mutex_;            // guards what is below
  std::list<Holder*> holders_;  // the oldest first
};

}  // namespace latentd
