#include "kernels/packed_bytes.h"

#include <algorithm>

#include <absl/strings/str_format.h>

namespace latentd {

size_t PackedBytes::next() const {
  return std::min(bytes_.size(), (taken_ + kAlignment - 1) / kAlignment * kAlignment);
}

absl::StatusOr<DeviceBuffer> PackedBytes::Take(size_t num_bytes) {
  const size_t begin = next();
  if (num_bytes > bytes_.size() - begin) {
    return absl::InvalidArgumentError(
        absl::StrFormat("expected %d packed bytes, found %d; pack the source again with this version's latent-convert",
                        num_bytes, bytes_.size() - begin));
  }
  taken_ = begin + num_bytes;
  was_taken_ = true;
  // No device's, so nothing frees it; and nothing writes to a packed weight.
  return DeviceBuffer(nullptr, const_cast<std::byte*>(bytes_.data()) + begin, num_bytes);
}

absl::Status PackedBytes::EndTaking() {
  const size_t left = bytes_.size() - next();
  taken_ = 0;
  if (left == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("expected %d packed bytes, found %d; pack the source again with this version's latent-convert",
                      bytes_.size() - left, bytes_.size()));
}

absl::StatusOr<DeviceBuffer> MemoryOf(const MatrixSource& source, Device& device, size_t num_bytes) {
  return IsPacked(source) ? source.lender->packed()->Take(num_bytes) : device.Allocate(num_bytes);
}

}  // namespace latentd
