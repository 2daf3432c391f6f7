// The index of a packed file, read from its JSON.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "kernels/tensor.h"

namespace latentd {

// One weight or vector; places are those in the file.
struct PackedTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // [outputs, inputs], or [width] of fp32 values
  uint64_t begin = 0;          // its packed buffers, each filled up to PackedBytes::kAlignment
  uint64_t scales = 0;         // then the fp32 scales of its blocks, up to its end
  uint64_t end = 0;
  uint64_t digest = 0;  // PackedDigest of [begin, end)
};

struct PackedIndex {
  uint64_t config_digest = 0;  // of config.json
  uint64_t source_digest = 0;  // Checkpoint::Digest of what was packed
  int num_mtp_layers = 0;
  std::vector<PackedTensor> tensors;
};

// The format's word for a type, such as "BF16"; safetensors' where that has one.
std::string_view PackedTypeName(DType dtype);

std::string PackedIndexText(const PackedIndex& index);
// What is no such text is INVALID_ARGUMENT. Places and shapes are as the text has them.
absl::StatusOr<PackedIndex> ParsePackedIndex(std::string_view text);

}  // namespace latentd
