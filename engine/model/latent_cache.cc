#include "engine/model/latent_cache.h"

#include <cstddef>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_format.h>

namespace latentd {
namespace {

LatentPages LayerPages(const ModelConfig& config, LatentFormat format) {
  return {.format = format, .latent_width = config.attention.latent_width, .rope_width = config.attention.rope_width};
}

int NumLayers(const ModelConfig& config, MtpUse mtp) { return config.num_layers + (mtp == MtpUse::kDraft ? 1 : 0); }

}  // namespace

size_t LatentCache::BytesPerBlock(const ModelConfig& config, MtpUse mtp, LatentFormat format) {
  return LayerPages(config, format).block_bytes() * static_cast<size_t>(NumLayers(config, mtp));
}

absl::StatusOr<LatentCache> LatentCache::Allocate(Device& device, const ModelConfig& config, MtpUse mtp,
                                                  LatentFormat format, int num_blocks) {
  LatentPages pages = LayerPages(config, format);
  pages.num_blocks = num_blocks;
  const size_t layer_bytes = pages.block_bytes() * static_cast<size_t>(num_blocks);
  absl::StatusOr<DeviceBuffer> memory = device.Allocate(layer_bytes * static_cast<size_t>(NumLayers(config, mtp)));
  if (!memory.ok()) {
    return absl::Status(memory.status().code(),
                        absl::StrFormat("kv cache of %d blocks: %s; lower the number of kv blocks", num_blocks,
                                        std::string(memory.status().message())));
  }
  std::vector<LatentPages> layers;
  for (int layer = 0; layer < NumLayers(config, mtp); ++layer) {
    pages.bytes = memory->As<std::byte>() + layer_bytes * static_cast<size_t>(layer);
    layers.push_back(pages);
  }
  return LatentCache(*std::move(memory), std::move(layers));
}

}  // namespace latentd
