// How large the header block is that a client sends: its bytes, its frames and its fields. A field can be a single byte
// that stands for 4 KiB of the client's table, and gRPC 1.51 holds some 60 bytes for each of them; it bounds what they
// are worth only once the client has acknowledged its settings. Nothing is decoded: RFC 7541, 5 and 6.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "server/net/http2_frames.h"

namespace latentd {

// One block's fields, in whatever pieces its bytes come.
class HeaderFieldCounter {
 public:
  void Read(std::span<const uint8_t> bytes);
  int num_fields() const { return num_fields_; }

 private:
  enum class Part : uint8_t { kField, kNameLength, kValueLength };

  void BeginField(uint8_t byte);
  void BeginInteger(uint8_t byte, int prefix_bits, Part next);
  void ContinueInteger(uint8_t byte);
  void EndInteger();

  int num_fields_ = 0;
  Part part_ = Part::kField;  // begins with the next byte
  Part next_ = Part::kField;  // follows the current integer
  bool is_in_integer_ = false;
  bool is_length_ = false;  // the integer at hand is: so many bytes follow it
  int shift_ = 0;
  uint64_t integer_ = 0;
  uint64_t skipped_ = 0;  // bytes of a string that are still to come
};

// The block at hand of one connection; blocks are never interleaved.
class HeaderBlock {
 public:
  void BeginFrame(const http2::FrameHeader& frame);  // HEADERS begins a block, CONTINUATION goes on with it
  void Read(std::span<const uint8_t> payload);

  size_t num_bytes() const { return num_bytes_; }
  int num_frames() const { return num_frames_; }
  int num_fields() const { return fields_.num_fields(); }

 private:
  size_t num_bytes_ = 0;
  int num_frames_ = 0;
  HeaderFieldCounter fields_;

  // State within the current frame.
  bool is_pad_length_next_ = false;
  size_t before_fields_ = 0;  // bytes of priority that are still to come
  size_t left_ = 0;           // bytes of fields that are still to come
};

}  // namespace latentd
