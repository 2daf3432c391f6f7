// Watches the frames that one HTTP/2 connection sends, and tells when its client abuses the protocol: gRPC 1.51
// parses a header block again with each of its frames, answers every ping and forgets no reset, so one connection can
// keep one of its few threads busy for as long as it likes. Sees headers of frames, and of header blocks where a field
// ends; costs some nanoseconds a frame. What it allows is far beyond what gRPC's clients do; the bounds stand below,
// and docs/hostile-clients.md tells operators of them. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "base/allowance.h"
#include "base/clock.h"
#include "server/net/header_block.h"
#include "server/net/http2_frames.h"
#include "server/net/message_limit.h"
#include "server/net/sending.h"

namespace latentd {

// Reasons to close a connection, in the order of the metric's label.
enum class Offence : uint8_t {
  kHeaderBlock,    // one that is too large, or in too many frames, or has too many fields
  kHeaderBytes,    // too much of them in all
  kControlFrames,  // settings, window updates, empty frames: more than what it was sent explains
  kPings,          // the same; gRPC needs some KiB for each that it thinks is one too many
  kStreams,        // opened in vain, by its peer as a whole: StreamDebts
  kUnaskedBytes,   // data beyond the largest message, or of no stream
  kUploads,        // unfinished messages, of which it holds more than others: UploadLedger
};
inline constexpr int kNumOffences = 7;

class FrameGuard {
 public:
  static constexpr size_t kMaxHeaderBlockBytes = 64 << 10;  // gRPC itself refuses an RPC with more than 16 KiB
  static constexpr int kMaxHeaderBlockFrames = 32;
  static constexpr int kMaxHeaderFields = 256;
  static constexpr size_t kMaxBodyBytes =
      kMaxMessageBytes + (64 << 10);                   // the largest message, with room for its framing
  static constexpr size_t kMaxUnaskedBytes = 8 << 20;  // in flight before a client hears of a refusal
  static_assert(kMaxUnaskedBytes >= kMaxBodyBytes);    // a whole message may be
  static constexpr size_t kMaxUploads = 4096;          // streams can't be more; a reset may be on its way

  explicit FrameGuard(TimePoint now)
      : header_bytes_(4 << 20, 8 << 20, now),
        control_frames_(10'000, 1'000, now),
        pings_(500, 50, now),
        unasked_bytes_(static_cast<double>(kMaxUnaskedBytes), 1 << 20, now) {}

  // The next bytes that arrived, and how many were sent on the connection so far. Gives a reason to close it, or none.
  std::optional<Offence> Inspect(std::span<const uint8_t> bytes, uint64_t bytes_sent, TimePoint now);
  // The server ended a stream.
  void EndStream(uint32_t stream);
  // Bytes of unfinished messages.
  size_t upload_bytes() const { return upload_bytes_; }
  // How all requests that are wanted are being sent.
  Sending sending() const;
  // The weight of the streams that were opened since the last call: 1 each, more where a reset wasted an upload or
  // headers are large.
  double TakeOpenedStreams() { return std::exchange(opened_streams_, 0.0); }

 private:
  using Frame = http2::FrameHeader;

  void Refill(uint64_t bytes_sent, TimePoint now);
  void Begin(const Frame& frame);
  void BeginHeaders(const Frame& frame);
  void BeginData(const Frame& frame);
  void Reset(const Frame& frame);
  void EraseUpload(uint32_t stream);
  void BeginHeaderFrame(const Frame& frame);
  void WeighHeaderBlock();
  void Accuse(Offence offence);

  http2::FrameSplitter frames_{http2::kClientPrefaceBytes};
  bool is_in_headers_ = false;
  HeaderBlock block_;
  size_t block_weight_ = 0;  // of it, in streams
  uint32_t last_stream_ = 0;
  struct Upload {
    size_t num_bytes = 0;
    bool is_wanted = true;  // until the server ends the stream
  };
  std::map<uint32_t, Upload> uploads_;  // of each stream whose client has not ended it
  size_t upload_bytes_ = 0;             // of those that are wanted
  size_t num_wanted_ = 0;
  size_t bytes_since_reset_ = 0;
  double opened_streams_ = 0.0;

  Allowance header_bytes_;
  Allowance control_frames_;
  Allowance pings_;
  Allowance unasked_bytes_;
  uint64_t bytes_sent_ = 0;

  std::optional<Offence> offence_;
};

}  // namespace latentd
