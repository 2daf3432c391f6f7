// The number formats of a checkpoint, by definition (docs/spec/deepseek.md 4.1): the slow twins that the vector
// decoders are tested against, and what the loader and the tests use.
#pragma once

#include <cstdint>

namespace latentd {

// E4M3 (fn): sign, 4 exponent bits of bias 7, 3 fraction bits; no infinities; 0x7F and 0xFF are NaN.
float DecodeE4M3(uint8_t code);
// Nearest, ties to even, saturating at ±448; NaN becomes the NaN code of its sign.
uint8_t EncodeE4M3(float value);
constexpr bool IsNanE4M3(uint8_t code) { return (code & 0x7F) == 0x7F; }

// E8M0: 2^(code - 127); 0xFF is NaN.
float DecodeE8M0(uint8_t code);

float DecodeBf16(uint16_t bits);
// Nearest, ties to even.
uint16_t EncodeBf16(float value);

}  // namespace latentd
