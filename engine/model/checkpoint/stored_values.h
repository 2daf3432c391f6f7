// The values of one tensor as a file stores them: decoded one by one, and named in errors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>

#include "kernels/tensor.h"

namespace latentd {

// INVALID_ARGUMENT that names the tensor.
absl::Status InvalidTensor(std::string_view name, std::string_view what);

absl::Status CheckShape(std::string_view name, const std::vector<int64_t>& expected, const std::vector<int64_t>& found);

struct StoredValues {
  std::string tensor;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // of any alignment

  float At(size_t index) const;
  std::vector<float> All() const;
  // "[3, 17]": where the value of that index lies.
  std::string PlaceText(size_t index) const;

  absl::Status NotFinite(size_t index) const;
  absl::Status CheckFinite() const;
};

}  // namespace latentd
