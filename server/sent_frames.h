// What is sent on one HTTP/2 connection: one thread at a time sends, any thread may ask.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "server/http2_frames.h"

namespace latentd {

class SentFrames {
 public:
  void Add(std::span<const uint8_t> bytes) {
    num_bytes_.fetch_add(bytes.size(), std::memory_order_relaxed);
    while (!bytes.empty()) {
      const http2::FrameSplitter::Piece piece = frames_.Next(bytes);
      if (piece.begun && piece.begun->kind == http2::kHeaders) num_headers_.fetch_add(1, std::memory_order_relaxed);
    }
  }

  uint64_t num_bytes() const { return num_bytes_.load(std::memory_order_relaxed); }
  uint64_t num_headers() const { return num_headers_.load(std::memory_order_relaxed); }

 private:
  http2::FrameSplitter frames_;
  std::atomic<uint64_t> num_bytes_{0};
  std::atomic<uint64_t> num_headers_{0};
};

}  // namespace latentd
