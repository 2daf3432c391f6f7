#include "server/net/frame_guard.h"

#include <algorithm>

namespace latentd {
namespace {

// Clients answer what they are sent: gRPC's with two window updates for each message, and one token makes a message of
// 45 bytes with its framing; and with pings that measure. The answer to a ping has 17 bytes.
constexpr double kSentBytesPerControlFrame = 16.0;
constexpr double kSentBytesPerPing = 48.0;
// A reset wastes what was uploaded for it: it weighs as much as so many streams more.
constexpr size_t kUploadedBytesPerStream = 512 << 10;
constexpr size_t kMaxWastedUploads = 8;
// Headers that gRPC holds count as well, where they are large.
constexpr size_t kHeaderBytesPerStream = 8 << 10;
constexpr int kFieldsPerStream = 64;
// Frames of data below this carry more framing than data.
constexpr size_t kSmallFrameBytes = 64;
// Settings and frames of unknown kinds take longer the longer they are.
constexpr double kControlBytesPerFrame = 64.0;
constexpr int kSettingsFrames = 4;  // each is acknowledged and looked through

}  // namespace

using namespace http2;

std::optional<Offence> FrameGuard::Inspect(std::span<const uint8_t> bytes, uint64_t bytes_sent, TimePoint now) {
  Refill(bytes_sent, now);
  while (!bytes.empty() && !offence_) {
    const FrameSplitter::Piece piece = frames_.Next(bytes);
    if (piece.begun) {
      is_in_headers_ = piece.begun->kind == kHeaders || piece.begun->kind == kContinuation;
      Begin(*piece.begun);
    } else if (is_in_headers_) {
      block_.Read(piece.payload);
      WeighHeaderBlock();
    }
  }
  if (control_frames_.is_overdrawn()) Accuse(Offence::kControlFrames);
  if (pings_.is_overdrawn()) Accuse(Offence::kPings);
  return offence_;
}

Sending FrameGuard::sending() const {
  if (frames_.is_within_frame()) return Sending::kPart;  // it may be the last one of a request
  if (num_wanted_ == 0) return Sending::kWhole;
  return upload_bytes_ > 0 ? Sending::kPart : Sending::kNothing;
}

void FrameGuard::Refill(uint64_t bytes_sent, TimePoint now) {
  for (Allowance* allowance : {&header_bytes_, &control_frames_, &pings_, &unasked_bytes_}) allowance->Refill(now);
  const auto sent = static_cast<double>(bytes_sent - bytes_sent_);
  control_frames_.Add(sent / kSentBytesPerControlFrame);
  pings_.Add(sent / kSentBytesPerPing);
  bytes_sent_ = bytes_sent;
}

void FrameGuard::Accuse(Offence offence) {
  if (!offence_) offence_ = offence;
}

void FrameGuard::Begin(const Frame& frame) {
  switch (frame.kind) {
    case kData:
      return BeginData(frame);
    case kHeaders:
      return BeginHeaders(frame);
    case kContinuation:
      return BeginHeaderFrame(frame);
    case kResetStream:
      return Reset(frame);
    default:
      if (frame.kind == kPing && (frame.flags & kAck) == 0) pings_.Take(1);
      const double frames = frame.kind == kSettings ? kSettingsFrames : 1;
      control_frames_.Take(frames + static_cast<double>(frame.num_bytes) / kControlBytesPerFrame);
  }
}

void FrameGuard::BeginHeaders(const Frame& frame) {
  if (frame.stream > last_stream_) {
    last_stream_ = frame.stream;
    opened_streams_ += 1.0;
    if ((frame.flags & kEndStream) == 0) {
      uploads_[frame.stream] = {};
      ++num_wanted_;
    }
    if (uploads_.size() > kMaxUploads) EraseUpload(uploads_.begin()->first);
  } else {
    control_frames_.Take(1);
    if ((frame.flags & kEndStream) != 0) EraseUpload(frame.stream);
  }
  BeginHeaderFrame(frame);
}

void FrameGuard::BeginHeaderFrame(const Frame& frame) {
  if (frame.kind == kHeaders) block_weight_ = 0;
  block_.BeginFrame(frame);
  header_bytes_.Take(static_cast<double>(frame.num_bytes));
  WeighHeaderBlock();
  if (header_bytes_.is_overdrawn()) Accuse(Offence::kHeaderBytes);
}

void FrameGuard::WeighHeaderBlock() {
  if (block_.num_bytes() > kMaxHeaderBlockBytes || block_.num_frames() > kMaxHeaderBlockFrames ||
      block_.num_fields() > kMaxHeaderFields) {
    Accuse(Offence::kHeaderBlock);
  }
  const size_t weight =
      block_.num_bytes() / kHeaderBytesPerStream + static_cast<size_t>(block_.num_fields() / kFieldsPerStream);
  opened_streams_ += static_cast<double>(weight - block_weight_);
  block_weight_ = weight;
}

void FrameGuard::BeginData(const Frame& frame) {
  const bool is_last = (frame.flags & kEndStream) != 0;
  if (frame.num_bytes < kSmallFrameBytes && !is_last) control_frames_.Take(1);
  bytes_since_reset_ += frame.num_bytes;
  const auto upload = uploads_.find(frame.stream);
  const bool is_asked = upload != uploads_.end() && upload->second.num_bytes + frame.num_bytes <= kMaxBodyBytes;
  if (is_asked) {
    upload->second.num_bytes += frame.num_bytes;
    if (upload->second.is_wanted) upload_bytes_ += frame.num_bytes;
  } else {
    unasked_bytes_.Take(static_cast<double>(frame.num_bytes));
    control_frames_.Take(1);
    if (unasked_bytes_.is_overdrawn()) Accuse(Offence::kUnaskedBytes);
  }
  if (is_last) EraseUpload(frame.stream);
}

void FrameGuard::Reset(const Frame& frame) {
  control_frames_.Take(1);
  EraseUpload(frame.stream);
  opened_streams_ += static_cast<double>(std::min(bytes_since_reset_ / kUploadedBytesPerStream, kMaxWastedUploads));
  bytes_since_reset_ = 0;
}

void FrameGuard::EndStream(uint32_t stream) {
  const auto upload = uploads_.find(stream);
  if (upload == uploads_.end() || !upload->second.is_wanted) return;
  upload->second.is_wanted = false;
  --num_wanted_;
  upload_bytes_ -= upload->second.num_bytes;
}

void FrameGuard::EraseUpload(uint32_t stream) {
  EndStream(stream);
  uploads_.erase(stream);
}

}  // namespace latentd
