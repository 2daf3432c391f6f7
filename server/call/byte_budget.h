// Bytes that may be held at once, in all and by each connection: what is taken beyond is refused, not waited for. Small
// shares have a part of the budget that no others get, so they find room where large ones have taken all. A share that
// its owner offers makes room for holders of less: the oldest of the address that holds most, and of the connection
// that does, goes first, after `grace`; at once, where its address holds more than its part of the budget. Owned by
// Serve(); every method may be called by any thread. Shares must not outlive it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "server/net/peer.h"

namespace latentd {

struct ByteBudgetOptions {
  size_t max_bytes = 0;
  size_t small_bytes = 0;     // of a small share, at most
  size_t reserved_bytes = 0;  // of max_bytes: for small shares only
  Duration grace = std::chrono::seconds(1);
};

class ByteBudget {
 public:
  // `held`, if any, follows what is taken, for the metrics.
  explicit ByteBudget(const ByteBudgetOptions& options, std::atomic<int64_t>* held = nullptr)
      : options_(options), held_(held) {}
  explicit ByteBudget(size_t max_bytes, std::atomic<int64_t>* held = nullptr)
      : ByteBudget(ByteBudgetOptions{.max_bytes = max_bytes}, held) {}

 private:
  struct Offer {
    Peer peer;
    size_t num_bytes = 0;
    TimePoint since{};
    std::function<void()> make_room;
  };
  using Offers = std::list<Offer>;

 public:
  // A part of the budget, given back when it goes.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept { *this = std::move(other); }
    Share& operator=(Share&& other) noexcept;
    ~Share() { Resize(0); }

    // To what turned out to be needed: never refused, so a share that grows may take the budget over its bound.
    void Resize(size_t num_bytes);
    // From `now` on it goes where others need its room: `make_room` is called, once at most, by any thread and with the
    // budget's lock held, and the share's owner lets go of it soon. Once.
    void OfferTo(TimePoint now, std::function<void()> make_room);
    size_t num_bytes() const { return num_bytes_; }

   private:
    friend class ByteBudget;
    Share(ByteBudget* budget, Peer peer, size_t num_bytes)
        : budget_(budget), peer_(std::move(peer)), num_bytes_(num_bytes) {}

    ByteBudget* budget_ = nullptr;
    Peer peer_;
    size_t num_bytes_ = 0;
    std::optional<Offers::iterator> offer_;
  };

  // False where there is no room, nor can be made; then `share` is as it was.
  bool TryTake(const Peer& peer, size_t num_bytes, Share* share, TimePoint now = kNever);
  // Whether the budget, and the connection's half of it, have so much left.
  bool HasRoom(const Peer& peer, size_t num_bytes) const;
  // Whether the budget has, for a peer that has nothing.
  bool HasRoom(size_t num_bytes) const;

  size_t max_bytes() const { return options_.max_bytes; }
  size_t max_bytes_of_peer() const { return options_.max_bytes / 2; }
  size_t taken_bytes() const;

 private:
  // Under mutex_.
  using Held = std::map<std::string, size_t>;

  bool FitsInAll(size_t num_bytes) const;
  bool FitsInHalf(const Peer& peer, size_t num_bytes) const;
  static size_t Find(const Held& held, const std::string& name);
  void Change(const Peer& peer, size_t from, size_t to);
  bool MakeRoom(const Peer& peer, size_t num_bytes, TimePoint now);
  std::optional<Offers::iterator> FindOffer(const Peer& peer, size_t num_bytes);
  bool IsDue(const Offer& offer, const Peer& peer, TimePoint now) const;
  void Accept(Offers::iterator offer);

  const ByteBudgetOptions options_;
  std::atomic<int64_t>* const held_;

  mutable std::mutex mutex_;  // guards all below, and the shares' offers
  size_t taken_ = 0;
  Held by_address_;     // that has some
  Held by_connection_;  // the same
  Offers offers_;       // the oldest first
  Offers accepted_;     // whose owners have yet to let go
  size_t going_ = 0;    // bytes of these; no more counted
};

}  // namespace latentd
