// Random matrices as a checkpoint stores them, with their values for the references.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "kernels/tensor.h"
#include "tests/reference/contract.h"
#include "tests/reference/linear.h"

namespace latentd {

class StoredMatrix {
 public:
  // Normal values; a third of the FP8 codes are uniform, so that subnormals, zeros and ±448 are common. INT4 codes all
  // are, and their scales have either sign, or are 0.
  static StoredMatrix Random(DType dtype, int outputs, int inputs, std::mt19937& random);
  // E4M3 with the given codes [outputs][inputs] and random scales.
  static StoredMatrix FromCodes(int outputs, int inputs, const std::vector<uint8_t>& codes, std::mt19937& random);

  MatrixSource Source() const;
  contract::Matrix Contract() const;
  reference::Rows Reference() const;  // dequantised

  // Rows [first, first + count), as they are or as columns.
  contract::Matrix ContractRows(int first, int count) const;
  contract::Matrix ContractColumns(int first, int count) const;

 private:
  float Code(int n, int k) const;
  static StoredMatrix RandomInt4(int outputs, int inputs, std::mt19937& random);
  void AddScales(std::mt19937& random);

  DType dtype_ = DType::kF32;
  int outputs_ = 0;
  int inputs_ = 0;
  std::vector<std::byte> bytes_;         // starts one byte late: a mapped file promises no alignment
  std::vector<float> scales_;            // of INT4, too, one for each row and group
  std::vector<std::byte> group_scales_;  // those of INT4 as they are stored, one byte late, too
};

std::vector<float> RandomValues(size_t count, std::mt19937& random);

// Values with their own memory as a tensor whose rows are `gap` floats further apart than they are wide.
class OwnedTensor {
 public:
  OwnedTensor(int rows, int width, int gap = 3);
  OwnedTensor(int rows, int width, std::mt19937& random);
  OwnedTensor(OwnedTensor&&) = default;

  const Tensor& tensor() const { return tensor_; }
  std::vector<float> Row(int row) const { return {tensor_.Row(row), tensor_.Row(row) + tensor_.width}; }
  bool GapsUntouched() const;  // nothing wrote between the rows

 private:
  std::vector<float> values_;
  Tensor tensor_;
};

// ‖a − b‖ / ‖b‖.
double RelativeError(const std::vector<float>& a, const reference::Vector& b);

reference::Vector ToDouble(const std::vector<float>& values);

}  // namespace latentd
