// A checkpoint of random weights for any supported configuration, for benchmarks. The same seed gives the same bytes.
#pragma once

#include <cstdint>
#include <filesystem>

#include <absl/status/status.h>

#include "kernels/tensor.h"
#include "tools/convert/int4_groups.h"
#include "tools/convert/output_directory.h"

namespace latentd {

struct RandomCheckpoint {
  std::filesystem::path config_json;
  DType dtype = DType::kBf16;  // of the projections: kBf16, kF32, or kE4M3 or kInt4 and everything else BF16
  Int4Tensors int4_tensors = Int4Tensors::kRoutedExperts;
  uint64_t seed = 1;
  std::filesystem::path to;
  Existing existing = Existing::kRefuse;
};

absl::Status WriteRandomCheckpoint(const RandomCheckpoint& options);

}  // namespace latentd
