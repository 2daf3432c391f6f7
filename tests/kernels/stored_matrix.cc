#include "tests/kernels/stored_matrix.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/fp8.h"
#include "kernels/rounding.h"
#include "kernels/stored_value.h"

namespace latentd {
namespace {

constexpr float kUntouched = -12345.0f;

}  // namespace

StoredMatrix StoredMatrix::Random(DType dtype, int outputs, int inputs, std::mt19937& random) {
  if (dtype == DType::kInt4) return RandomInt4(outputs, inputs, random);
  std::vector<float> values = RandomValues(static_cast<size_t>(outputs * inputs), random);
  if (dtype == DType::kE4M3) {
    std::uniform_int_distribution<int> any(0, 255);
    std::vector<uint8_t> codes;
    for (const float value : values) {
      const auto code = static_cast<uint8_t>(any(random));
      codes.push_back(code % 3 == 0 && !IsNanE4M3(code) ? code : EncodeE4M3(60.0f * value));
    }
    return FromCodes(outputs, inputs, codes, random);
  }
  StoredMatrix matrix;
  matrix.dtype_ = dtype;
  matrix.outputs_ = outputs;
  matrix.inputs_ = inputs;
  matrix.bytes_.resize(1 + values.size() * SizeOf(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = EncodeBf16(values[i]);
    const void* from = dtype == DType::kBf16 ? static_cast<const void*>(&half) : &values[i];
    std::memcpy(matrix.bytes_.data() + 1 + i * SizeOf(dtype), from, SizeOf(dtype));
  }
  return matrix;
}

StoredMatrix StoredMatrix::FromCodes(int outputs, int inputs, const std::vector<uint8_t>& codes, std::mt19937& random) {
  StoredMatrix matrix;
  matrix.dtype_ = DType::kE4M3;
  matrix.outputs_ = outputs;
  matrix.inputs_ = inputs;
  matrix.bytes_.resize(1 + codes.size());
  std::memcpy(matrix.bytes_.data() + 1, codes.data(), codes.size());
  matrix.AddScales(random);
  return matrix;
}

StoredMatrix StoredMatrix::RandomInt4(int outputs, int inputs, std::mt19937& random) {
  StoredMatrix matrix;
  matrix.dtype_ = DType::kInt4;
  matrix.outputs_ = outputs;
  matrix.inputs_ = inputs;
  matrix.bytes_.resize(1 + static_cast<size_t>(outputs) * RowBytes(DType::kInt4, inputs));
  std::uniform_int_distribution<int> any(0, 255);
  for (std::byte& byte : matrix.bytes_) byte = static_cast<std::byte>(any(random));
  const size_t num_scales = static_cast<size_t>(outputs * CeilDiv(inputs, kInt4Group));
  matrix.group_scales_.resize(1 + num_scales * sizeof(uint16_t));
  const std::vector<float> scales = RandomValues(num_scales, random);
  for (size_t i = 0; i < num_scales; ++i) {
    const uint16_t bits = EncodeBf16(i % 11 == 10 ? 0.0f : 0.01f * scales[i]);
    matrix.scales_.push_back(DecodeBf16(bits));
    std::memcpy(matrix.group_scales_.data() + 1 + i * sizeof(bits), &bits, sizeof(bits));
  }
  return matrix;
}

void StoredMatrix::AddScales(std::mt19937& random) {
  for (const float value : RandomValues(static_cast<size_t>(CeilDiv(outputs_, 128) * CeilDiv(inputs_, 128)), random))
    scales_.push_back(1e-4f + 1e-2f * std::fabs(value));
}

MatrixSource StoredMatrix::Source() const {
  const bool is_int4 = dtype_ == DType::kInt4;
  return {.dtype = dtype_,
          .outputs = outputs_,
          .inputs = inputs_,
          .bytes = bytes_.data() + 1,
          .scales = is_int4 ? std::span<const float>() : scales_,
          .group_scales = is_int4 ? group_scales_.data() + 1 : nullptr};
}

float StoredMatrix::Code(int n, int k) const {
  if (dtype_ == DType::kInt4) {
    const std::byte* row = bytes_.data() + 1 + static_cast<size_t>(n) * RowBytes(DType::kInt4, inputs_);
    return static_cast<float>(CodeInt4(row, k));
  }
  const std::byte* at = bytes_.data() + 1 + static_cast<size_t>(n * inputs_ + k) * SizeOf(dtype_);
  if (dtype_ == DType::kE4M3) return DecodeE4M3(static_cast<uint8_t>(*at));
  uint32_t bits = 0;
  std::memcpy(&bits, at, SizeOf(dtype_));
  return dtype_ == DType::kBf16 ? DecodeBf16(static_cast<uint16_t>(bits)) : std::bit_cast<float>(bits);
}

contract::Matrix StoredMatrix::ContractRows(int first, int count) const {
  const bool is_int4 = dtype_ == DType::kInt4;
  contract::Matrix matrix{.outputs = count,
                          .inputs = inputs_,
                          .codes = {},
                          .scaled = dtype_ == DType::kE4M3 || is_int4,
                          .scales = scales_,
                          .scale_outputs = is_int4 ? 1 : 128,
                          .scale_inputs = is_int4 ? kInt4Group : 128,
                          .scale_columns = CeilDiv(inputs_, is_int4 ? kInt4Group : 128),
                          .first_output = first,
                          .is_fp32 = dtype_ == DType::kF32};
  for (int n = 0; n < count; ++n)
    for (int k = 0; k < inputs_; ++k) matrix.codes.push_back(Code(first + n, k));
  return matrix;
}

contract::Matrix StoredMatrix::ContractColumns(int first, int count) const {
  contract::Matrix matrix{.outputs = inputs_,
                          .inputs = count,
                          .codes = {},
                          .scaled = dtype_ == DType::kE4M3,
                          .scales = scales_,
                          .scale_columns = CeilDiv(inputs_, 128),
                          .first_input = first,
                          .transposed = true,
                          .is_fp32 = dtype_ == DType::kF32};
  for (int n = 0; n < inputs_; ++n)
    for (int k = 0; k < count; ++k) matrix.codes.push_back(Code(first + k, n));
  return matrix;
}

contract::Matrix StoredMatrix::Contract() const { return ContractRows(0, outputs_); }

reference::Rows StoredMatrix::Reference() const {
  const contract::Matrix matrix = Contract();
  reference::Rows rows(static_cast<size_t>(outputs_));
  for (int n = 0; n < outputs_; ++n)
    for (int k = 0; k < inputs_; ++k)
      rows[static_cast<size_t>(n)].push_back(static_cast<double>(matrix.Code(n, k)) *
                                             static_cast<double>(matrix.Scale(n, k)));
  return rows;
}

std::vector<float> RandomValues(size_t count, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

OwnedTensor::OwnedTensor(int rows, int width, int gap)
    : values_(static_cast<size_t>(rows * (width + gap)), kUntouched),
      tensor_{values_.data(), rows, width, width + gap} {}

OwnedTensor::OwnedTensor(int rows, int width, std::mt19937& random) : OwnedTensor(rows, width) {
  std::normal_distribution<float> normal(0.0f, 1.0f);
  for (int r = 0; r < rows; ++r)
    for (int i = 0; i < width; ++i) tensor_.Row(r)[i] = normal(random);
}

bool OwnedTensor::GapsUntouched() const {
  for (int r = 0; r < tensor_.rows; ++r)
    for (int i = tensor_.width; i < tensor_.stride; ++i)
      if (tensor_.Row(r)[i] != kUntouched) return false;
  return true;
}

double RelativeError(const std::vector<float>& a, const reference::Vector& b) {
  double difference = 0.0, norm = 0.0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(difference / norm);
}

reference::Vector ToDouble(const std::vector<float>& values) { return {values.begin(), values.end()}; }

}  // namespace latentd
