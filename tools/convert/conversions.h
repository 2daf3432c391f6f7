// The subcommands that turn one checkpoint directory into another. Errors are one line.
#pragma once

#include <cstdint>
#include <filesystem>

#include <absl/status/status.h>

#include "tools/convert/output_directory.h"
#include "tools/convert/planned_tensor.h"

namespace latentd {

struct Route {
  std::filesystem::path from;
  std::filesystem::path to;
  Existing existing = Existing::kRefuse;
};

struct Quantization {
  DType dtype = DType::kE4M3;                    // or kInt4
  ScaleFormat scale_format = ScaleFormat::kF32;  // of FP8
  Int4Tensors int4_tensors = Int4Tensors::kRoutedExperts;
  Int4Scales int4_scales = Int4Scales::kSearched;
};

// Projections of BF16 or F32 become FP8, all of them, or INT4; everything else stays as it is.
absl::Status Quantize(const Route& route, const Quantization& quantization);
// Projections of FP8 or INT4 become BF16; everything else stays as it is.
absl::Status Dequantize(const Route& route);
// Files of at most so many bytes of tensors, but for a tensor that is larger.
absl::Status Reshard(const Route& route, uint64_t max_shard_bytes);

}  // namespace latentd
