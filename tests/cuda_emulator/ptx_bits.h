// PTX's instructions on bit fields and bytes, for translated kernels. Stateless.
#pragma once

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include "tests/cuda_emulator/ptx_integer.h"

namespace cuda_emulator::ptx {

// The upper word of the 64 bits high:low shifted left, and the lower word of them shifted right; amounts up to 32.
constexpr uint32_t FunnelLeft(uint32_t low, uint32_t high, uint32_t amount) {
  const uint64_t both = static_cast<uint64_t>(high) << 32 | low;
  return static_cast<uint32_t>((both << amount) >> 32);
}
constexpr uint32_t FunnelRight(uint32_t low, uint32_t high, uint32_t amount) {
  const uint64_t both = static_cast<uint64_t>(high) << 32 | low;
  return static_cast<uint32_t>(both >> amount);
}

// bfe. Bits past the top are the sign of the field (the top bit that exists) if signed.
template <std::integral T>
constexpr T ExtractBits(T a, uint32_t position, uint32_t length) {
  using U = std::make_unsigned_t<T>;
  position &= 255;
  length &= 255;
  if (length == 0) return T{0};
  const bool sign = std::is_signed_v<T> && (ShiftRight(a, std::min(position + length - 1, kBits<T> - 1)) & 1) != 0;
  const U field = ShiftRight(static_cast<U>(a), position);
  const U outside = ShiftLeft(static_cast<U>(~U{0}), std::min(length, position >= kBits<T> ? 0 : kBits<T> - position));
  return static_cast<T>(sign ? (field | outside) : (field & ~ShiftLeft(static_cast<U>(~U{0}), length)));
}
// bfi: a's low bits into b.
template <std::unsigned_integral T>
constexpr T InsertBits(T a, T b, uint32_t position, uint32_t length) {
  position &= 255;
  length &= 255;
  const T mask = ShiftLeft(static_cast<T>(~ShiftLeft(static_cast<T>(~T{0}), length)), position);
  return (b & ~mask) | (ShiftLeft(a, position) & mask);
}

template <std::unsigned_integral T>
constexpr uint32_t CountOnes(T a) {
  return static_cast<uint32_t>(std::popcount(a));
}
template <std::unsigned_integral T>
constexpr uint32_t CountLeadingZeros(T a) {
  return static_cast<uint32_t>(std::countl_zero(a));
}
template <std::unsigned_integral T>
constexpr T ReverseBits(T a) {
  T reversed = 0;
  for (uint32_t i = 0; i < kBits<T>; ++i) reversed |= static_cast<T>((a >> i & 1) << (kBits<T> - 1 - i));
  return reversed;
}
// bfind: of a negative number, the highest zero. All ones: there is none.
template <std::integral T>
constexpr uint32_t FindHighestBit(T a) {
  using U = std::make_unsigned_t<T>;
  const U bits = static_cast<U>(a < 0 ? ~a : a);
  return bits == 0 ? ~0u : kBits<T> - 1 - CountLeadingZeros(bits);
}
template <std::integral T>
constexpr uint32_t ShiftOfHighestBit(T a) {
  const uint32_t highest = FindHighestBit(a);
  return highest == ~0u ? ~0u : kBits<T> - 1 - highest;
}

// prmt without a mode: each nibble of the selector picks one of eight bytes, or its sign eight times.
constexpr uint32_t PermuteBytes(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
  uint32_t result = 0;
  for (uint32_t i = 0; i < 4; ++i) {
    const uint32_t nibble = selector >> (4 * i) & 15;
    uint32_t byte = static_cast<uint32_t>(bytes >> (8 * (nibble & 7))) & 255;
    if (nibble & 8) byte = (byte & 128) ? 255 : 0;
    result |= byte << (8 * i);
  }
  return result;
}

// lop3: the table's bit of a:b:c.
constexpr uint32_t LogicOfThree(uint32_t a, uint32_t b, uint32_t c, uint32_t table) {
  uint32_t result = 0;
  for (uint32_t i = 0; i < 8; ++i) {
    if (table >> i & 1) result |= ((i & 4) ? a : ~a) & ((i & 2) ? b : ~b) & ((i & 1) ? c : ~c);
  }
  return result;
}

// dp4a: signed or unsigned bytes, as the types of the operands.
template <std::integral A, std::integral B, std::integral C>
constexpr C DotOfBytes(A a, B b, C sum) {
  using ByteA = std::conditional_t<std::is_signed_v<A>, int8_t, uint8_t>;
  using ByteB = std::conditional_t<std::is_signed_v<B>, int8_t, uint8_t>;
  for (uint32_t i = 0; i < 4; ++i) {
    sum = Add(sum, static_cast<C>(static_cast<ByteA>(a >> (8 * i)) * static_cast<ByteB>(b >> (8 * i))));
  }
  return sum;
}

}  // namespace cuda_emulator::ptx
