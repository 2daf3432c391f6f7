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

// The projections of BF16 or F32 become FP8 with scales; everything else stays as it is.
absl::Status Quantize(const Route& route, ScaleFormat format);
// The projections of FP8 become BF16; everything else stays as it is.
absl::Status Dequantize(const Route& route);
// Files of at most so many bytes of tensors, but for a tensor that is larger.
absl::Status Reshard(const Route& route, uint64_t max_shard_bytes);

}  // namespace latentd
