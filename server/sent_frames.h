// What is sent on one HTTP/2 connection: one thread at a time sends, any thread may ask.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "server/http2_frames.h"

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
  uint64_t num_headers() const { return num_headers_.load(std::memory_order_relaxed); }
  // Streams that were ended since the last call, some of them twice.
  std::vector<uint32_t> TakeEnded() {
    std::lock_guard lock(mutex_);
    return std::exchange(ended_, {});
  }

 private:
  void Begin(const http2::FrameHeader& frame) {
    const bool is_headers = frame.kind == http2::kHeaders;
    if (is_headers) num_headers_.fetch_add(1, std::memory_order_relaxed);
    if (frame.kind != http2::kResetStream && (!is_headers || (frame.flags & http2::kEndStream) == 0)) return;
    std::lock_guard lock(mutex_);
    ended_.push_back(frame.stream);
  }

  http2::FrameSplitter frames_;
  std::atomic<uint64_t> num_bytes_{0};
  std::atomic<uint64_t> num_headers_{0};

  std::mutex mutex_;
  std::vector<uint32_t> ended_;  // guarded by mutex_
};

}  // namespace latentd
