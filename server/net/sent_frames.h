// Frames sent on one HTTP/2 connection: one thread at a time sends, any thread may ask.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "server/net/http2_frames.h"

namespace latentd {

class SentFrames {
 public:
  void Add(std::span<const uint8_t> bytes) {
    num_bytes_.fetch_add(bytes.size(), std::memory_order_relaxed);
    while (!bytes.empty()) {
      const http2::FrameSplitter::Piece piece = frames_.Next(bytes);
      if (piece.begun) Begin(*piece.begun);
    }
  }

  uint64_t num_bytes() const { return num_bytes_.load(std::memory_order_relaxed); }
  // Streams that were sent headers: an RPC is when it is admitted, or at its end.
  uint64_t num_answered() const { return num_answered_.load(std::memory_order_relaxed); }
  // Streams that were ended since the last call, some of them twice.
  std::vector<uint32_t> TakeEnded() {
    std::lock_guard lock(mutex_);
    return std::exchange(ended_, {});
  }

 private:
  static constexpr size_t kMaxAnswering = 4096;  // streams can't be more

  void Begin(const http2::FrameHeader& frame) {
    const bool is_headers = frame.kind == http2::kHeaders;
    const bool is_end = frame.kind == http2::kResetStream || (is_headers && (frame.flags & http2::kEndStream) != 0);
    if (is_headers && answering_.insert(frame.stream).second) num_answered_.fetch_add(1, std::memory_order_relaxed);
    if (answering_.size() > kMaxAnswering) answering_.erase(answering_.begin());
    if (!is_end) return;
    answering_.erase(frame.stream);
    std::lock_guard lock(mutex_);
    ended_.push_back(frame.stream);
  }

  http2::FrameSplitter frames_;
  std::set<uint32_t> answering_;  // were sent headers and no end
  std::atomic<uint64_t> num_bytes_{0};
  std::atomic<uint64_t> num_answered_{0};

  std::mutex mutex_;
  std::vector<uint32_t> ended_;  // guarded by mutex_
};

}  // namespace latentd
