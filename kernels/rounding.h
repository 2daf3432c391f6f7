// Sizes in whole units.
#pragma once

#include <type_traits>

namespace latentd {

template <class Number>
constexpr Number CeilDiv(Number number, std::type_identity_t<Number> unit) {
  return (number + unit - 1) / unit;
}

template <class Number>
constexpr Number RoundUp(Number number, std::type_identity_t<Number> unit) {
  return CeilDiv(number, unit) * unit;
}

// Floats from a row of activations to the next: rows start one cache line past a multiple of 16 values, so that those
// of a tile do not share the same L1 sets.
constexpr int RowStride(int width) { return RoundUp(width, 16) + 16; }

}  // namespace latentd
