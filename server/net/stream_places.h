// How many RPCs of one kind may be open at a time: those that cost a client nothing to leave open. Where all places are
// taken, a newcomer gets the oldest place of the connection that has most of them, of the address that has most; it is
// refused where that has no more than its own would. Any thread.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <mutex>
#include <string>

#include "server/net/peer.h"

namespace latentd {

class StreamPlaces {
 public:
  class Holder {
   public:
    explicit Holder(Peer peer);
    virtual ~Holder() = default;

    // It lost its place and is to end. Any thread, with the places' lock held.
    virtual void MakeRoom() = 0;

   private:
    friend class StreamPlaces;
    const Peer peer_;
    // While it has a place: how many its address and its connection have.
    size_t* of_address_ = nullptr;
    size_t* of_connection_ = nullptr;
  };

  explicit StreamPlaces(size_t count) : count_(count) {}

  // False: there is none.
  bool Take(Holder& holder);
  // More than once, or without a place: no-op. Not called back after this.
  void GiveBack(Holder& holder);

 private:
  // Null where no holder has more than the newcomer would.
  Holder* FindVictim(const Holder& newcomer) const;
  void Remove(Holder& holder);

  const size_t count_;
  std::mutex mutex_;            // guards all below, and the holders' places
  std::list<Holder*> holders_;  // the oldest first
  std::map<std::string, size_t> of_addresses_;
  std::map<std::string, size_t> of_connections_;
};

}  // namespace latentd
