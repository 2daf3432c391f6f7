// The weights' format in config.json, changed in place; every other key keeps its value and its order. The
// type is said once, in the spelling that the file has: torch_dtype of older files, dtype of newer ones.
#pragma once

#include <filesystem>

#include <absl/status/status.h>

#include "kernels/tensor.h"
#include "tools/convert/int4_groups.h"
#include "tools/convert/planned_tensor.h"

namespace latentd {

// Types are kBf16 or kF32: of what is not quantised, or of everything.
absl::Status DeclareFp8(const std::filesystem::path& config_json, ScaleFormat format, DType others);
absl::Status DeclareUnquantized(const std::filesystem::path& config_json, DType dtype);
// The scheme and the ignore list as compressed-tensors writes them, whatever says which weights are INT4.
absl::Status DeclareInt4(const std::filesystem::path& config_json, Int4Tensors tensors, DType others);
// A file that already says so keeps its bytes, and one that says nothing goes on to.
absl::Status CorrectType(const std::filesystem::path& config_json, DType dtype);

}  // namespace latentd
