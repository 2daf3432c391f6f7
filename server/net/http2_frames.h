// HTTP/2 as it passes by on one connection in one direction, cut into its frames. RFC 9113, 4.1 and 6.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace latentd::http2 {

inline constexpr uint8_t kData = 0, kHeaders = 1, kResetStream = 3, kSettings = 4, kPing = 6, kContinuation = 9;
inline constexpr uint8_t kEndStream = 0x1, kAck = 0x1, kPadded = 0x8, kPriority = 0x20;
inline constexpr size_t kClientPrefaceBytes = 24;

struct FrameHeader {
  size_t num_bytes;  // of the payload
  uint8_t kind;
  uint8_t flags;
  uint32_t stream;
};

class FrameSplitter {
 public:
  // The client's direction begins with a preface, which is passed over.
  explicit FrameSplitter(size_t preface_bytes = 0) : payload_left_(preface_bytes) {}

  struct Piece {
    std::optional<FrameHeader> begun;  // a frame, whose header is complete now
    std::span<const uint8_t> payload;  // of the frame that began last
  };
  // Takes the next piece off the front of `bytes`, which are not empty: a header's end, or the payload that is there.
  Piece Next(std::span<const uint8_t>& bytes) {
    if (payload_left_ > 0) {
      const std::span<const uint8_t> payload = bytes.first(std::min(payload_left_, bytes.size()));
      payload_left_ -= payload.size();
      bytes = bytes.subspan(payload.size());
      return {.begun = {}, .payload = payload};
    }
    const size_t taken = std::min(header_.size() - header_filled_, bytes.size());
    std::copy_n(bytes.begin(), taken, header_.begin() + static_cast<ptrdiff_t>(header_filled_));
    header_filled_ += taken;
    bytes = bytes.subspan(taken);
    if (header_filled_ < header_.size()) return {};
    header_filled_ = 0;
    payload_left_ = BigEndian(0, 3);
    return {.begun = FrameHeader{.num_bytes = payload_left_,
                                 .kind = header_[3],
                                 .flags = header_[4],
                                 .stream = BigEndian(5, 4) & 0x7fffffff},
            .payload = {}};
  }

  // Some of the payload of the frame that began last is missing.
  bool is_within_frame() const { return payload_left_ > 0; }

 private:
  uint32_t BigEndian(size_t begin, size_t count) const {
    uint32_t value = 0;
    for (size_t i = begin; i < begin + count; ++i) value = value << 8 | header_[i];
    return value;
  }

  std::array<uint8_t, 9> header_{};
  size_t header_filled_ = 0;
  size_t payload_left_;
};

}  // namespace latentd::http2
