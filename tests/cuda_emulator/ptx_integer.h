// PTX's integer instructions on scalars, for translated kernels. Stateless.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

namespace cuda_emulator::ptx {

template <typename T>
inline constexpr uint32_t kBits = sizeof(T) * 8;

// Wraps around: the 64-bit unsigned result has the right low bits for every width and sign.
template <std::integral T>
constexpr T Add(T a, T b) {
  return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
template <std::integral T>
constexpr T Subtract(T a, T b) {
  return static_cast<T>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}
template <std::integral T>
constexpr T MultiplyLow(T a, T b) {
  return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}
template <std::integral T>
constexpr T Negate(T a) {
  return Subtract(T{0}, a);
}
template <std::integral T>
constexpr T Absolute(T a) {
  return a < 0 ? Negate(a) : a;
}

__extension__ using Int128 = __int128;
__extension__ using Uint128 = unsigned __int128;

template <typename T>
struct WideOf;
template <>
struct WideOf<uint16_t> {
  using Type = uint32_t;
};
template <>
struct WideOf<int16_t> {
  using Type = int32_t;
};
template <>
struct WideOf<uint32_t> {
  using Type = uint64_t;
};
template <>
struct WideOf<int32_t> {
  using Type = int64_t;
};
template <>
struct WideOf<uint64_t> {
  using Type = Uint128;
};
template <>
struct WideOf<int64_t> {
  using Type = Int128;
};

template <std::integral T>
constexpr auto MultiplyWide(T a, T b) {
  using Wide = typename WideOf<T>::Type;
  return static_cast<Wide>(static_cast<Wide>(a) * static_cast<Wide>(b));
}
template <std::integral T>
constexpr T MultiplyHigh(T a, T b) {
  return static_cast<T>(MultiplyWide(a, b) >> kBits<T>);
}

// A division by zero is "unspecified" in PTX; hardware gives all ones, and the dividend as the remainder. The smallest
// number divided by -1 wraps.
template <std::integral T>
constexpr T Divide(T a, T b) {
  if (b == 0) return static_cast<T>(~T{0});
  if (std::is_signed_v<T> && b == static_cast<T>(~T{0})) return Negate(a);
  return static_cast<T>(a / b);
}
template <std::integral T>
constexpr T Remainder(T a, T b) {
  if (b == 0) return a;
  if (std::is_signed_v<T> && b == static_cast<T>(~T{0})) return T{0};
  return static_cast<T>(a % b);
}

template <std::integral T>
constexpr T Minimum(T a, T b) {
  return b < a ? b : a;
}
template <std::integral T>
constexpr T Maximum(T a, T b) {
  return a < b ? b : a;
}
template <std::integral T>
constexpr T And(T a, T b) {
  return static_cast<T>(a & b);
}
template <std::integral T>
constexpr T Or(T a, T b) {
  return static_cast<T>(a | b);
}
template <std::integral T>
constexpr T Xor(T a, T b) {
  return static_cast<T>(a ^ b);
}
template <std::integral T>
constexpr T Not(T a) {
  return static_cast<T>(~a);
}

// Amounts past the width shift everything out.
template <std::integral T>
constexpr T ShiftLeft(T a, uint32_t amount) {
  return amount >= kBits<T> ? T{0} : static_cast<T>(static_cast<uint64_t>(a) << amount);
}
template <std::integral T>
constexpr T ShiftRight(T a, uint32_t amount) {
  if (amount >= kBits<T>) return a < 0 ? static_cast<T>(~T{0}) : T{0};
  return static_cast<T>(a >> amount);
}
template <std::integral To, std::integral From>
constexpr To ClampInteger(From a) {
  if (std::cmp_less(a, std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
  if (std::cmp_greater(a, std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
  return static_cast<To>(a);
}

}  // namespace cuda_emulator::ptx
