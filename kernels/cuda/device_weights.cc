#include "kernels/cuda/device_weights.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/row_lender.h"

namespace latentd::cuda {

absl::StatusOr<std::unique_ptr<const Matrix>> DeviceMatrix::Pack(Device& device, const MatrixSource& source) {
  const PackedLayout layout = LayoutOf(source.dtype, source.outputs, source.inputs);
  absl::StatusOr<DeviceBuffer> memory = device.Allocate(layout.bytes);
  if (!memory.ok()) return memory.status();
  std::vector<std::byte> packed(layout.bytes);
  cuda::Pack(source, layout, packed.data());
  device.Upload(packed.data(), packed.size(), memory->As<std::byte>());
  return std::make_unique<const DeviceMatrix>(layout, *std::move(memory));
}

absl::StatusOr<std::unique_ptr<const Matrix>> DeviceKeyValueUp::Pack(Device& device, const MatrixSource& source,
                                                                     const AttentionShape& shape) {
  KeyValueUpMatrices matrices = KeyValueUpSizes(source.dtype, shape);
  std::vector<uint16_t> tiles(matrices.num_values());
  {
    const BorrowedRows rows(source, 0, source.outputs);
    PackKeyValueUpTiles(source, shape, tiles);
  }
  absl::StatusOr<DeviceBuffer> memory = device.Allocate(tiles.size() * sizeof(uint16_t));
  if (!memory.ok()) return memory.status();
  device.Upload(tiles.data(), memory->bytes(), memory->As<uint16_t>());
  matrices.key.tiles = memory->As<uint16_t>();
  matrices.value.tiles = memory->As<uint16_t>() + matrices.key.num_values();
  return std::make_unique<const DeviceKeyValueUp>(source, matrices, *std::move(memory));
}

absl::StatusOr<std::unique_ptr<const Experts>> DeviceExperts::Pack(Device& device, std::span<const ExpertSource> routed,
                                                                   const ExpertSource* shared) {
  const ExpertsLayout layout = LayoutOf(routed, shared);
  absl::StatusOr<DeviceBuffer> memory = device.Allocate(layout.bytes());
  if (!memory.ok()) return memory.status();
  std::vector<std::byte> packed;
  for (const ExpertPart& part : PartsOf(layout, routed, shared)) {
    packed.assign(part.layout.bytes, std::byte{0});
    cuda::Pack(part.source, part.layout, packed.data());
    device.Upload(packed.data(), packed.size(), memory->As<std::byte>() + part.at);
  }
  return std::make_unique<const DeviceExperts>(layout, *std::move(memory));
}

}  // namespace latentd::cuda
