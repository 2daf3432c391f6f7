// Bytes that may be held at once, for all peers together and for each: what is taken beyond is refused, not waited for.
// Owned by Serve(); every method may be called by any thread. Shares must not outlive it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace latentd {

class ByteBudget {
 public:
  // `held`, if any, follows what is taken, for the metrics.
  explicit ByteBudget(size_t max_bytes, std::atomic<int64_t>* held = nullptr) : max_bytes_(max_bytes), held_(held) {}

  // A part of the budget, given back when it goes.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept { *this = std::move(other); }
    Share& operator=(Share&& other) noexcept;
    ~Share() { Resize(0); }

    // To what turned out to be needed: never refused, so a share that grows may take the budget over its bound.
    void Resize(size_t num_bytes);
    size_t num_bytes() const { return num_bytes_; }

   private:
    friend class ByteBudget;
    Share(ByteBudget* budget, std::string peer, size_t num_bytes)
        : budget_(budget), peer_(std::move(peer)), num_bytes_(num_bytes) {}

    ByteBudget* budget_ = nullptr;
    std::string peer_;
    size_t num_bytes_ = 0;
  };

  // False where HasRoom is; then `share` is as it was.
  bool TryTake(const std::string& peer, size_t num_bytes, Share* share);
  // Whether the budget, and the peer's half of it, have so much left.
  bool HasRoom(const std::string& peer, size_t num_bytes) const;
  // Whether the budget has, for a peer that has nothing.
  bool HasRoom(size_t num_bytes) const;

  size_t max_bytes() const { return max_bytes_; }
  size_t max_bytes_of_peer() const { return max_bytes_ / 2; }
  size_t taken_bytes() const;

 private:
  // Under mutex_.
  bool Fits(const std::string& peer, size_t num_bytes) const;
  void Change(const std::string& peer, size_t from, size_t to);

  const size_t max_bytes_;
  std::atomic<int64_t>* const held_;

  mutable std::mutex mutex_;  // guards all below
  size_t taken_ = 0;
  std::map<std::string, size_t> taken_by_;  // of peers that have some
};

}  // namespace latentd
