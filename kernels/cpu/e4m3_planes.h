// The bf16 numbers of the E4M3 codes without their sign, as the two tables that byte shuffles look them up in.
#pragma once

#include <cstdint>

namespace latentd::cpu {

struct E4M3Planes {
  alignas(64) uint8_t low[128];
  alignas(64) uint8_t high[128];
};

// bf16 has more exponents than E4M3: every code is a normal number there. The NaN code reads as 480.
constexpr uint16_t Bf16OfE4M3(int code) {
  constexpr int kBiasApart = 127 - 7;
  if (code == 0) return 0;
  int exponent = code >> 3, fraction = code & 7;
  if (exponent == 0) {
    for (exponent = 1; fraction < 8; --exponent) fraction *= 2;
    fraction -= 8;
  }
  return static_cast<uint16_t>((exponent + kBiasApart) << 7 | fraction << 4);
}

constexpr E4M3Planes MakeE4M3Planes() {
  E4M3Planes planes = {};
  for (int code = 0; code < 128; ++code) {
    planes.low[code] = static_cast<uint8_t>(Bf16OfE4M3(code) & 0xFF);
    planes.high[code] = static_cast<uint8_t>(Bf16OfE4M3(code) >> 8);
  }
  return planes;
}

inline constexpr E4M3Planes kE4M3Planes = MakeE4M3Planes();

}  // namespace latentd::cpu
