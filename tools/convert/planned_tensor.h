// A tensor of the checkpoint to be written: its header's facts now, its bytes when the file's turn comes, in pieces
// of at most one block of rows, so that no tensor is ever whole in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>

#include "kernels/tensor.h"
#include "tools/convert/int4_groups.h"
#include "tools/convert/value_rows.h"

namespace latentd {

using ByteSink = std::function<absl::Status(std::span<const std::byte>)>;

struct PlannedTensor {
  std::string name;
  std::string dtype;  // the format's own word, such as "BF16"
  std::vector<int64_t> shape;
  uint64_t num_bytes = 0;
  std::function<absl::Status(const ByteSink&)> write;  // hands over exactly num_bytes
};

// The stored bytes as they are, which must outlive the plan.
PlannedTensor PlanCopy(std::string name, std::string_view dtype, std::vector<int64_t> shape,
                       std::span<const std::byte> bytes);
// Values rounded to kF32 or kBf16.
PlannedTensor PlanValues(std::string name, DType dtype, ValueRows rows);
// The E4M3 weight and its scales, one per 128 x 128 (docs/spec/deepseek.md 4.2): largest magnitude / 448 or, for
// kUe8m0, the next power of two, stored as fp32 like the releases do.
std::vector<PlannedTensor> PlanQuantized(const std::string& name, const ValueRows& rows, ScaleFormat format);

// The words, the scales and the shape of an INT4 weight (docs/spec/deepseek.md 4.6).
std::vector<PlannedTensor> PlanInt4(const std::string& name, const ValueRows& rows, Int4Scales scales);

}  // namespace latentd
