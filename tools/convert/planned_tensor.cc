#include "tools/convert/planned_tensor.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "engine/model/checkpoint/tensor_names.h"
#include "kernels/fp8.h"

namespace latentd {
namespace {

constexpr int64_t kScaleBlock = 128;
constexpr float kLargestE4M3 = 448.0f;
constexpr size_t kCopyBytes = size_t{1} << 22;  // between two looks at the interrupt

uint64_t Count(const std::vector<int64_t>& shape) {
  uint64_t count = 1;
  for (const int64_t size : shape) count *= static_cast<uint64_t>(size);
  return count;
}

size_t NumBlocks(int64_t size) { return static_cast<size_t>((size + kScaleBlock - 1) / kScaleBlock); }

template <class T>
absl::Status Send(const std::vector<T>& values, const ByteSink& sink) {
  return sink(std::as_bytes(std::span(values)));
}

// Calls use(values) for one block of rows after the other.
template <class Use>
absl::Status ForEachRowBlock(const ValueRows& rows, const Use& use) {
  std::vector<float> values;
  for (int64_t row = 0; row < rows.rows(); row += kScaleBlock) {
    values.resize(static_cast<size_t>(std::min(kScaleBlock, rows.rows() - row) * rows.width()));
    rows.read(row, values);
    if (absl::Status status = use(std::as_const(values)); !status.ok()) return status;
  }
  return absl::OkStatus();
}

float ScaleOf(float largest, ScaleFormat format) {
  if (largest == 0.0f) return 1.0f;
  // A subnormal quotient would round to 0, or so coarsely that the largest value no longer fits.
  const float scale = std::max(largest / kLargestE4M3, 0x1p-126f);
  if (format == ScaleFormat::kF32) return scale;
  int exponent = 0;
  const bool is_power_of_two = std::frexp(scale, &exponent) == 0.5f;
  return std::ldexp(1.0f, is_power_of_two ? exponent - 1 : exponent);
}

// One scale per block of columns of a block of rows.
std::vector<float> ScalesOf(const std::vector<float>& values, int64_t width, ScaleFormat format) {
  std::vector<float> scales(NumBlocks(width));
  for (size_t i = 0; i < values.size(); ++i) {
    float& largest = scales[i % static_cast<size_t>(width) / kScaleBlock];
    largest = std::max(largest, std::fabs(values[i]));
  }
  for (float& scale : scales) scale = ScaleOf(scale, format);
  return scales;
}

std::vector<uint8_t> CodesOf(const std::vector<float>& values, int64_t width, ScaleFormat format) {
  const std::vector<float> scales = ScalesOf(values, width, format);
  std::vector<uint8_t> codes(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    codes[i] = EncodeE4M3(values[i] / scales[i % static_cast<size_t>(width) / kScaleBlock]);
  }
  return codes;
}

std::vector<uint16_t> RoundToBf16(const std::vector<float>& values) {
  std::vector<uint16_t> rounded(values.size());
  std::transform(values.begin(), values.end(), rounded.begin(), EncodeBf16);
  return rounded;
}

}  // namespace

PlannedTensor PlanCopy(std::string name, std::string_view dtype, std::vector<int64_t> shape,
                       std::span<const std::byte> bytes) {
  return {.name = std::move(name),
          .dtype = std::string(dtype),
          .shape = std::move(shape),
          .num_bytes = bytes.size(),
          .write = [bytes](const ByteSink& sink) {
            for (size_t at = 0; at < bytes.size(); at += kCopyBytes) {
              const absl::Status status = sink(bytes.subspan(at, std::min(kCopyBytes, bytes.size() - at)));
              if (!status.ok()) return status;
            }
            return absl::OkStatus();
          }};
}

PlannedTensor PlanValues(std::string name, DType dtype, ValueRows rows) {
  CHECK(dtype == DType::kF32 || dtype == DType::kBf16);
  const std::vector<int64_t> shape = rows.shape;
  return {.name = std::move(name),
          .dtype = dtype == DType::kF32 ? "F32" : "BF16",
          .shape = shape,
          .num_bytes = Count(shape) * SizeOf(dtype),
          .write = [dtype, rows = std::move(rows)](const ByteSink& sink) {
            return ForEachRowBlock(rows, [&](const std::vector<float>& values) {
              return dtype == DType::kF32 ? Send(values, sink) : Send(RoundToBf16(values), sink);
            });
          }};
}

std::vector<PlannedTensor> PlanQuantized(const std::string& name, const ValueRows& rows, ScaleFormat format) {
  PlannedTensor weight = {.name = name,
                          .dtype = "F8_E4M3",
                          .shape = rows.shape,
                          .num_bytes = Count(rows.shape),
                          .write = [rows, format](const ByteSink& sink) {
                            return ForEachRowBlock(rows, [&](const std::vector<float>& values) {
                              return Send(CodesOf(values, rows.width(), format), sink);
                            });
                          }};
  const std::vector<int64_t> blocks = {static_cast<int64_t>(NumBlocks(rows.rows())),
                                       static_cast<int64_t>(NumBlocks(rows.width()))};
  // Reads the values once more: scales lie behind the weight in the file, and may be in the next one.
  PlannedTensor scales = {.name = name + tensor_names::kScales,
                          .dtype = "F32",
                          .shape = blocks,
                          .num_bytes = Count(blocks) * sizeof(float),
                          .write = [rows, format](const ByteSink& sink) {
                            return ForEachRowBlock(rows, [&](const std::vector<float>& values) {
                              return Send(ScalesOf(values, rows.width(), format), sink);
                            });
                          }};
  return {std::move(weight), std::move(scales)};
}

}  // namespace latentd
