#include "engine/model/latent_cache.h"

#include <cstddef>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_format.h>

namespace latentd {
namespace {

// Slots are whole multiples of the 16 virtual lanes of a score, so that kernels need no tail.
constexpr int kSlotLanes = 16;

int SlotStride(const ModelConfig& config) {
  const int width = config.attention.latent_width + config.attention.rope_width;
  return (width + kSlotLanes - 1) / kSlotLanes * kSlotLanes;
}

size_t LayerBytesPerBlock(const ModelConfig& config, DType dtype) {
  return static_cast<size_t>(kBlockSlots) * static_cast<size_t>(SlotStride(config)) * SizeOf(dtype);
}

}  // namespace

size_t LatentCache::BytesPerBlock(const ModelConfig& config, DType dtype) {
  return LayerBytesPerBlock(config, dtype) * static_cast<size_t>(config.num_layers);
}

absl::StatusOr<LatentCache> LatentCache::Allocate(Device& device, const ModelConfig& config, DType dtype,
                                                  int num_blocks) {
  const size_t layer_bytes = LayerBytesPerBlock(config, dtype) * static_cast<size_t>(num_blocks);
  absl::StatusOr<DeviceBuffer> memory = device.Allocate(layer_bytes * static_cast<size_t>(config.num_layers));
  if (!memory.ok()) {
    return absl::Status(memory.status().code(),
                        absl::StrFormat("kv cache of %d blocks: %s; lower the number of kv blocks", num_blocks,
                                        std::string(memory.status().message())));
  }
  std::vector<LatentPages> layers;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    layers.push_back({.values = memory->As<std::byte>() + layer_bytes * static_cast<size_t>(layer),
                      .dtype = dtype,
                      .num_blocks = num_blocks,
                      .latent_width = config.attention.latent_width,
                      .rope_width = config.attention.rope_width,
                      .slot_stride = SlotStride(config)});
  }
  return LatentCache(*std::move(memory), std::move(layers));
}

}  // namespace latentd
