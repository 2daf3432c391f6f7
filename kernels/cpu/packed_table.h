// The embedding table, row-major as the checkpoint stores it; only the rows asked for are decoded.
#pragma once

#include <cstddef>
#include <vector>

#include <absl/status/statusor.h>

#include "base/thread_pool.h"
#include "kernels/device.h"
#include "kernels/tensor.h"

namespace latentd::cpu {

class PackedTable final : public Matrix {
 public:
  static absl::StatusOr<PackedTable> Pack(Device& device, ThreadPool& pool, const MatrixSource& source);

  void DecodeRow(int row, float* out /* [inputs] */) const;

 private:
  explicit PackedTable(const MatrixSource& source);

  DType dtype_;
  DeviceBuffer rows_;          // [outputs][inputs]
  std::vector<float> scales_;  // [⌈outputs/128⌉][⌈inputs/128⌉] for E4M3
};

}  // namespace latentd::cpu
