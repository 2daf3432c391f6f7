// Watches what one HTTP/2 connection sends, frame by frame, and tells when its client takes without asking: gRPC 1.51
// parses a header block again with each of its frames, answers every ping and forgets no reset, so one connection can
// keep one of its few threads busy for as long as it likes. Sees headers of frames only, never their content, and
// costs some nanoseconds a frame. What it allows is far beyond what gRPC's clients do; the bounds stand below, and
// docs/hostile-clients.md tells operators of them. One thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>

#include "engine/clock.h"
#include "server/message_limit.h"

namespace latentd {

// What a connection is closed for; in the order of the metric's label.
enum class Offence : uint8_t {
  kHeaderBlock,    // one that is too large, or in too many frames
  kHeaderBytes,    // too much of them in all
  kControlFrames,  // settings, window updates, empty frames: more than what it was sent explains
  kPings,          // the same; gRPC needs some KiB for each that it thinks is one too many
  kResets,         // streams that are opened to be reset
  kUnaskedBytes,   // data beyond the largest message, or of no stream
};
inline constexpr int kNumOffences = 6;

// So many at once, then so many a second.
class Allowance {
 public:
  constexpr Allowance(double burst, double per_second) : burst_(burst), per_second_(per_second), left_(burst) {}

  void Refill(double seconds) { Add(seconds * per_second_); }
  void Add(double amount) { left_ = left_ + amount < burst_ ? left_ + amount : burst_; }
  void Take(double amount) { left_ -= amount; }
  bool is_overdrawn() const { return left_ < 0.0; }

 private:
  double burst_;
  double per_second_;
  double left_;
};

class FrameGuard {
 public:
  static constexpr size_t kMaxHeaderBlockBytes = 64 << 10;  // gRPC itself refuses an RPC with more than 16 KiB
  static constexpr int kMaxHeaderBlockFrames = 32;
  static constexpr size_t kMaxBodyBytes =
      kMaxMessageBytes + (64 << 10);                   // the largest message, with room for its framing
  static constexpr size_t kMaxUnaskedBytes = 8 << 20;  // in flight before a client hears of a refusal
  static constexpr size_t kMaxUploads = 4096;          // streams can't be more; a reset may be on its way

  explicit FrameGuard(TimePoint now) : refilled_(now) {}

  // The next bytes that arrived, and how many were sent on the connection so far. False: it is to be closed.
  bool Inspect(std::span<const uint8_t> bytes, uint64_t bytes_sent, TimePoint now);
  Offence offence() const { return *offence_; }  // once Inspect was false

 private:
  struct Frame {
    size_t num_bytes;
    uint8_t kind;
    uint8_t flags;
    uint32_t stream;
  };

  void Refill(uint64_t bytes_sent, TimePoint now);
  void Begin(const Frame& frame);
  void BeginHeaders(const Frame& frame);
  void BeginData(const Frame& frame);
  void Reset(const Frame& frame);
  void CountHeaderBlock(const Frame& frame);
  void Accuse(Offence offence);

  static constexpr size_t kPrefaceBytes = 24;
  static constexpr size_t kFrameHeaderBytes = 9;

  std::array<uint8_t, kFrameHeaderBytes> header_{};
  size_t header_filled_ = 0;
  size_t payload_left_ = kPrefaceBytes;  // which gRPC looks at itself

  size_t block_bytes_ = 0;
  int block_frames_ = 0;
  uint32_t last_stream_ = 0;
  std::map<uint32_t, size_t> uploads_;  // bytes of each stream whose client has not ended it
  size_t bytes_since_reset_ = 0;

  Allowance header_bytes_{4 << 20, 8 << 20};
  Allowance control_frames_{10'000, 1'000};
  Allowance pings_{500, 50};
  Allowance resets_{1'100, 100};  // all streams of a connection at once, and some
  Allowance unasked_bytes_{static_cast<double>(kMaxUnaskedBytes), 1 << 20};
  TimePoint refilled_;
  uint64_t bytes_sent_ = 0;

  std::optional<Offence> offence_;
};

}  // namespace latentd
