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

// Calls use(row, group, codes) for the groups of some rows.
template <class Use>
void ForEachInt4Group(const std::vector<float>& values, int64_t width, Int4Scales scales, const Use& use) {
  const auto row_values = static_cast<size_t>(width);
  for (size_t row = 0; row * row_values < values.size(); ++row) {
    const std::span<const float> all(values.data() + row * row_values, row_values);
    for (size_t begin = 0; begin < row_values; begin += kInt4Group) {
      const size_t count = std::min<size_t>(kInt4Group, row_values - begin);
      use(row, begin / kInt4Group, QuantizeGroup(all.subspan(begin, count), scales));
    }
  }
}

std::vector<uint8_t> Int4RowsOf(const std::vector<float>& values, int64_t width, Int4Scales scales) {
  const size_t row_bytes = RowBytes(DType::kInt4, static_cast<int>(width));
  std::vector<uint8_t> bytes(values.size() / static_cast<size_t>(width) * row_bytes);
  ForEachInt4Group(values, width, scales, [&](size_t row, size_t group, const Int4Codes& codes) {
    const size_t begin = group * kInt4Group / 2, end = std::min(row_bytes, begin + kInt4Group / 2);
    for (size_t at = begin; at < end; ++at) {
      const size_t pair = 2 * (at - begin);
      bytes[row * row_bytes + at] = static_cast<uint8_t>(codes.nibbles[pair] | codes.nibbles[pair + 1] << 4);
    }
  });
  return bytes;
}

std::vector<uint16_t> Int4ScalesOf(const std::vector<float>& values, int64_t width, Int4Scales scales) {
  std::vector<uint16_t> rounded;
  ForEachInt4Group(values, width, scales,
                   [&](size_t, size_t, const Int4Codes& codes) { rounded.push_back(EncodeBf16(codes.scale)); });
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

std::vector<PlannedTensor> PlanInt4(const std::string& name, const ValueRows& rows, Int4Scales scales) {
  const int64_t row_bytes = static_cast<int64_t>(RowBytes(DType::kInt4, static_cast<int>(rows.width())));
  const std::vector<int64_t> words = {rows.rows(), row_bytes / static_cast<int64_t>(sizeof(uint32_t))};
  PlannedTensor weight = {.name = name + tensor_names::kPacked,
                          .dtype = "I32",
                          .shape = words,
                          .num_bytes = Count(words) * sizeof(uint32_t),
                          .write = [rows, scales](const ByteSink& sink) {
                            return ForEachRowBlock(rows, [&](const std::vector<float>& values) {
                              return Send(Int4RowsOf(values, rows.width(), scales), sink);
                            });
                          }};
  const std::vector<int64_t> groups = {rows.rows(), (rows.width() + kInt4Group - 1) / kInt4Group};
  // Searches once more, as the scales of FP8 are read once more.
  PlannedTensor group_scales = {.name = name + tensor_names::kGroupScales,
                                .dtype = "BF16",
                                .shape = groups,
                                .num_bytes = Count(groups) * sizeof(uint16_t),
                                .write = [rows, scales](const ByteSink& sink) {
                                  return ForEachRowBlock(rows, [&](const std::vector<float>& values) {
                                    return Send(Int4ScalesOf(values, rows.width(), scales), sink);
                                  });
                                }};
  PlannedTensor shape = {.name = name + tensor_names::kPackedShape,
                         .dtype = "I64",
                         .shape = {2},
                         .num_bytes = 2 * sizeof(int64_t),
                         .write = [sizes = rows.shape](const ByteSink& sink) { return Send(sizes, sink); }};
  return {std::move(weight), std::move(group_scales), std::move(shape)};
}

}  // namespace latentd
