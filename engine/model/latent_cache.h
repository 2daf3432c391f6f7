// The paged latent cache: for every layer and slot the normed latent and the rotated shared key part
// (docs/spec/deepseek.md 3.3), in blocks of kBlockSlots slots; the layer that drafts, where there is one, stands behind
// the others. Memory only: which block belongs to whom is engine/schedule's business.
#pragma once

#include <vector>

#include <absl/status/statusor.h>

#include "base/check.h"
#include "engine/model/checkpoint/tensor_catalog.h"
#include "engine/model/config/model_config.h"
#include "kernels/device.h"
#include "kernels/tensor.h"

namespace latentd {

class LatentCache {
 public:
  // RESOURCE_EXHAUSTED with the numbers where the device has not the memory.
  static absl::StatusOr<LatentCache> Allocate(Device& device, const ModelConfig& config, MtpUse mtp,
                                              LatentFormat format, int num_blocks);
  static size_t BytesPerBlock(const ModelConfig& config, MtpUse mtp, LatentFormat format);

  LatentPages operator[](int layer) const {
    const auto index = static_cast<size_t>(layer);
    CHECK_LT(index, layers_.size());
    return layers_[index];
  }
  int num_layers() const { return static_cast<int>(layers_.size()); }
  size_t bytes() const { return memory_.bytes(); }

 private:
  LatentCache(DeviceBuffer memory, std::vector<LatentPages> layers)
      : memory_(std::move(memory)), layers_(std::move(layers)) {}

  DeviceBuffer memory_;
  std::vector<LatentPages> layers_;
};

}  // namespace latentd
