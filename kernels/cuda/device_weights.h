// Packed weights in the device's memory: what the verbs of CudaOps take for a Matrix or for Experts. Immutable; must
// not outlive the device.
#pragma once

#include <memory>
#include <span>

#include <absl/status/statusor.h>

#include "kernels/cuda/key_value_up.h"
#include "kernels/cuda/packed.h"
#include "kernels/device.h"
#include "kernels/tensor.h"

namespace latentd::cuda {

class DeviceMatrix final : public Matrix {
 public:
  static absl::StatusOr<std::unique_ptr<const Matrix>> Pack(Device& device, const MatrixSource& source);
  DeviceMatrix(const PackedLayout& layout, DeviceBuffer memory)
      : Matrix(layout.outputs, layout.inputs), layout_(layout), memory_(std::move(memory)) {}

  MatrixView view() const { return ViewOf(layout_, memory_.As<std::byte>()); }

 private:
  PackedLayout layout_;
  DeviceBuffer memory_;
};

class DeviceKeyValueUp final : public Matrix {
 public:
  static absl::StatusOr<std::unique_ptr<const Matrix>> Pack(Device& device, const MatrixSource& source,
                                                            const AttentionShape& shape);
  DeviceKeyValueUp(const MatrixSource& source, const KeyValueUpMatrices& matrices, DeviceBuffer memory)
      : Matrix(source.outputs, source.inputs), matrices_(matrices), memory_(std::move(memory)) {}

  const KeyValueUpMatrices& matrices() const { return matrices_; }

 private:
  KeyValueUpMatrices matrices_;
  DeviceBuffer memory_;
};

class DeviceExperts final : public Experts {
 public:
  static absl::StatusOr<std::unique_ptr<const Experts>> Pack(Device& device, std::span<const ExpertSource> routed,
                                                             const ExpertSource* shared);
  DeviceExperts(const ExpertsLayout& layout, DeviceBuffer memory) : layout_(layout), memory_(std::move(memory)) {}

  ExpertsView view() const { return ViewOf(layout_, memory_.As<std::byte>()); }

 private:
  ExpertsLayout layout_;
  DeviceBuffer memory_;
};

}  // namespace latentd::cuda
