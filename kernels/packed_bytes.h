// A weight that lies in a mapped file in the CPU backend's own layout. Where a Pack verb would allocate memory and copy
// to it, it takes views of this instead.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "kernels/device.h"
#include "kernels/row_lender.h"
#include "kernels/tensor.h"

namespace latentd {

// The version of the bytes that the CPU's Pack verbs write, and of the order in which they allocate.
inline constexpr uint32_t kPackedLayout = 2;

// Engine thread only. The bytes must outlive what is packed of them.
class PackedBytes final : public RowLender {
 public:
  static constexpr size_t kAlignment = 256;  // of each buffer, and of the first

  explicit PackedBytes(std::span<const std::byte> bytes) : bytes_(bytes) {}

  // A view of the next buffer, in the order in which packing allocated them.
  absl::StatusOr<DeviceBuffer> Take(size_t num_bytes);
  // That the last buffer was taken. The next one is the first again: a weight may be loaded more than once.
  absl::Status EndTaking();
  bool was_taken() const { return was_taken_; }  // as far as it was

  void Lend(int, int) override {}
  void TakeBack(int, int) override {}
  PackedBytes* packed() override { return this; }

 private:
  size_t next() const;  // where the next buffer begins

  const std::span<const std::byte> bytes_;
  size_t taken_ = 0;
  bool was_taken_ = false;
};

inline bool IsPacked(const MatrixSource& source) {
  return source.lender != nullptr && source.lender->packed() != nullptr;
}

// Memory for a packed weight: fresh, to be filled, or a view of what IsPacked.
absl::StatusOr<DeviceBuffer> MemoryOf(const MatrixSource& source, Device& device, size_t num_bytes);

}  // namespace latentd
