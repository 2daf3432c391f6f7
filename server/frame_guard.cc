#include "server/frame_guard.h"

#include <algorithm>

namespace latentd {
namespace {

// RFC 9113, 6.
constexpr uint8_t kData = 0, kHeaders = 1, kResetStream = 3, kSettings = 4, kPing = 6, kContinuation = 9;
constexpr uint8_t kEndStream = 0x1, kAck = 0x1;

// Clients answer what they are sent: gRPC's with two window updates for each message, and one token makes a message of
// 45 bytes with its framing; and with pings that measure. The answer to a ping has 17 bytes.
constexpr double kSentBytesPerControlFrame = 16.0;
constexpr double kSentBytesPerPing = 48.0;
// A client may cancel every second call for ever.
constexpr double kResetsPerStream = 0.5;
// A reset wastes what was uploaded for it.
constexpr size_t kUploadedBytesPerReset = 512 << 10;
constexpr size_t kMaxUploadResets = 8;
// Frames of data below this carry more framing than data.
constexpr size_t kSmallFrameBytes = 64;
// Settings and frames of unknown kinds take longer the longer they are.
constexpr double kControlBytesPerFrame = 64.0;
constexpr int kSettingsFrames = 4;  // each is acknowledged and looked through

uint32_t BigEndian(const uint8_t* bytes, int count) {
  uint32_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | bytes[i];
  return value;
}

}  // namespace

bool FrameGuard::Inspect(std::span<const uint8_t> bytes, uint64_t bytes_sent, TimePoint now) {
  Refill(bytes_sent, now);
  while (!bytes.empty() && !offence_) {
    if (payload_left_ > 0) {
      const size_t skipped = std::min(payload_left_, bytes.size());
      payload_left_ -= skipped;
      bytes = bytes.subspan(skipped);
    } else {
      header_[header_filled_++] = bytes.front();
      bytes = bytes.subspan(1);
      if (header_filled_ < kFrameHeaderBytes) continue;
      header_filled_ = 0;
      payload_left_ = BigEndian(header_.data(), 3);
      Begin({.num_bytes = payload_left_,
             .kind = header_[3],
             .flags = header_[4],
             .stream = BigEndian(&header_[5], 4) & 0x7fffffff});
    }
  }
  if (control_frames_.is_overdrawn()) Accuse(Offence::kControlFrames);
  if (pings_.is_overdrawn()) Accuse(Offence::kPings);
  if (resets_.is_overdrawn()) Accuse(Offence::kResets);
  return !offence_;
}

void FrameGuard::Refill(uint64_t bytes_sent, TimePoint now) {
  const double seconds = Seconds(now - refilled_);
  refilled_ = now;
  for (Allowance* allowance : {&header_bytes_, &control_frames_, &pings_, &resets_, &unasked_bytes_}) {
    allowance->Refill(seconds);
  }
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
      return CountHeaderBlock(frame);
    case kResetStream:
      return Reset(frame);
    default:
      if (frame.kind == kPing && (frame.flags & kAck) == 0) pings_.Take(1);
      const double frames = frame.kind == kSettings ? kSettingsFrames : 1;
      control_frames_.Take(frames + static_cast<double>(frame.num_bytes) / kControlBytesPerFrame);
  }
}

void FrameGuard::BeginHeaders(const Frame& frame) {
  block_bytes_ = 0;
  block_frames_ = 0;
  if (frame.stream > last_stream_) {
    last_stream_ = frame.stream;
    resets_.Add(kResetsPerStream);
    if ((frame.flags & kEndStream) == 0) uploads_[frame.stream] = 0;
    if (uploads_.size() > kMaxUploads) uploads_.erase(uploads_.begin());
  } else {
    control_frames_.Take(1);
    if ((frame.flags & kEndStream) != 0) uploads_.erase(frame.stream);
  }
  CountHeaderBlock(frame);
}

void FrameGuard::CountHeaderBlock(const Frame& frame) {
  block_bytes_ += frame.num_bytes;
  ++block_frames_;
  header_bytes_.Take(static_cast<double>(frame.num_bytes));
  if (block_bytes_ > kMaxHeaderBlockBytes || block_frames_ > kMaxHeaderBlockFrames) Accuse(Offence::kHeaderBlock);
  if (header_bytes_.is_overdrawn()) Accuse(Offence::kHeaderBytes);
}

void FrameGuard::BeginData(const Frame& frame) {
  const bool is_last = (frame.flags & kEndStream) != 0;
  if (frame.num_bytes < kSmallFrameBytes && !is_last) control_frames_.Take(1);
  bytes_since_reset_ += frame.num_bytes;
  const auto upload = uploads_.find(frame.stream);
  const bool is_asked = upload != uploads_.end() && upload->second + frame.num_bytes <= kMaxBodyBytes;
  if (is_asked) {
    upload->second += frame.num_bytes;
  } else {
    unasked_bytes_.Take(static_cast<double>(frame.num_bytes));
    control_frames_.Take(1);
    if (unasked_bytes_.is_overdrawn()) Accuse(Offence::kUnaskedBytes);
  }
  if (is_last && upload != uploads_.end()) uploads_.erase(upload);
}

void FrameGuard::Reset(const Frame& frame) {
  uploads_.erase(frame.stream);
  const size_t wasted = std::min(bytes_since_reset_ / kUploadedBytesPerReset, kMaxUploadResets);
  resets_.Take(1.0 + static_cast<double>(wasted));
  bytes_since_reset_ = 0;
}

}  // namespace latentd
