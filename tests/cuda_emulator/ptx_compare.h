// PTX's comparisons, of integers and of floats, for translated kernels. Stateless.
#pragma once

#include <cmath>

namespace cuda_emulator::ptx {

template <typename T>
constexpr bool Equal(T a, T b) {
  return a == b;
}
// For floats this is neu: true with a NaN.
template <typename T>
constexpr bool NotEqual(T a, T b) {
  return a != b;
}
template <typename T>
constexpr bool Less(T a, T b) {
  return a < b;
}
template <typename T>
constexpr bool LessEqual(T a, T b) {
  return a <= b;
}
template <typename T>
constexpr bool Greater(T a, T b) {
  return a > b;
}
template <typename T>
constexpr bool GreaterEqual(T a, T b) {
  return a >= b;
}
// ne: false with a NaN.
template <typename T>
bool OrderedNotEqual(T a, T b) {
  return a < b || a > b;
}
template <typename T>
bool EqualOrNan(T a, T b) {
  return !OrderedNotEqual(a, b);
}
template <typename T>
bool LessOrNan(T a, T b) {
  return !(a >= b);
}
template <typename T>
bool LessEqualOrNan(T a, T b) {
  return !(a > b);
}
template <typename T>
bool GreaterOrNan(T a, T b) {
  return !(a <= b);
}
template <typename T>
bool GreaterEqualOrNan(T a, T b) {
  return !(a < b);
}
template <typename T>
bool BothNumbers(T a, T b) {
  return !std::isnan(a) && !std::isnan(b);
}
template <typename T>
bool EitherNan(T a, T b) {
  return std::isnan(a) || std::isnan(b);
}

}  // namespace cuda_emulator::ptx
