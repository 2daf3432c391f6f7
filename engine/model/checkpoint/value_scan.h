// Search of stored values for the ones that no healthy checkpoint has. Runs over every byte of the weights at start, so
// it goes as fast as memory delivers them.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "kernels/tensor.h"

namespace latentd {

// Index of the first NaN or infinity among values of any alignment; for kE4M3, of the first NaN code. kInt4 has none.
// Not for kE8M0.
std::optional<size_t> FindNonFinite(DType dtype, std::span<const std::byte> bytes);

}  // namespace latentd
