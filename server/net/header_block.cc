#include "server/net/header_block.h"

#include <algorithm>

namespace latentd {
namespace {

constexpr size_t kPriorityBytes = 5;
constexpr int kMaxShift = 28;  // of an integer that gRPC takes

}  // namespace

void HeaderFieldCounter::Read(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    if (skipped_ > 0) {
      const auto skipped = std::min<uint64_t>(skipped_, bytes.size());
      skipped_ -= skipped;
      bytes = bytes.subspan(skipped);
      continue;
    }
    const uint8_t byte = bytes.front();
    bytes = bytes.subspan(1);
    if (is_in_integer_) {
      ContinueInteger(byte);
    } else if (part_ == Part::kField) {
      BeginField(byte);
    } else {
      is_length_ = true;
      BeginInteger(byte, 7, part_ == Part::kNameLength ? Part::kValueLength : Part::kField);
    }
  }
}

void HeaderFieldCounter::BeginField(uint8_t byte) {
  ++num_fields_;
  is_length_ = false;
  if ((byte & 0x80) != 0) return BeginInteger(byte, 7, Part::kField);  // indexed
  const bool is_resized = (byte & 0xe0) == 0x20;                       // the table
  if (is_resized) return BeginInteger(byte, 5, Part::kField);
  const int prefix_bits = (byte & 0x40) != 0 ? 6 : 4;  // literal: for the table or not
  const bool has_name = (byte & ((1 << prefix_bits) - 1)) == 0;
  if (has_name) {
    part_ = Part::kNameLength;
  } else {
    BeginInteger(byte, prefix_bits, Part::kValueLength);
  }
}

void HeaderFieldCounter::BeginInteger(uint8_t byte, int prefix_bits, Part next) {
  const int mask = (1 << prefix_bits) - 1;
  integer_ = static_cast<uint64_t>(byte & mask);
  next_ = next;
  shift_ = 0;
  is_in_integer_ = (byte & mask) == mask;
  if (!is_in_integer_) EndInteger();
}

void HeaderFieldCounter::ContinueInteger(uint8_t byte) {
  if (shift_ <= kMaxShift) integer_ += static_cast<uint64_t>(byte & 0x7f) << shift_;
  shift_ = std::min(shift_ + 7, kMaxShift + 7);
  is_in_integer_ = (byte & 0x80) != 0;
  if (!is_in_integer_) EndInteger();
}

void HeaderFieldCounter::EndInteger() {
  part_ = next_;
  if (is_length_) skipped_ = integer_;
}

void HeaderBlock::BeginFrame(const http2::FrameHeader& frame) {
  const bool is_first = frame.kind == http2::kHeaders;
  if (is_first) *this = {};
  num_bytes_ += frame.num_bytes;
  ++num_frames_;
  is_pad_length_next_ = is_first && (frame.flags & http2::kPadded) != 0;
  before_fields_ = is_first && (frame.flags & http2::kPriority) != 0 ? kPriorityBytes : 0;
  const size_t around = before_fields_ + (is_pad_length_next_ ? 1 : 0);
  left_ = frame.num_bytes - std::min(around, frame.num_bytes);
}

void HeaderBlock::Read(std::span<const uint8_t> payload) {
  if (is_pad_length_next_ && !payload.empty()) {
    left_ -= std::min<size_t>(payload.front(), left_);
    payload = payload.subspan(1);
    is_pad_length_next_ = false;
  }
  const size_t before = std::min(before_fields_, payload.size());
  before_fields_ -= before;
  payload = payload.subspan(before);
  const size_t of_fields = std::min(left_, payload.size());
  left_ -= of_fields;
  fields_.Read(payload.first(of_fields));
}

}  // namespace latentd
