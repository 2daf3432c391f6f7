// Philox4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3): a counter-based generator, so a draw is a
// function of its key and counter and of nothing that happened before.
#pragma once

#include <array>
#include <cstdint>

namespace latentd::cpu {

inline std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

// Uniform in [0, 1) on a grid of 2^-24: the draw for a sequence of a request and the position of the token sampled.
inline double UniformDraw(uint64_t seed, uint32_t sequence, uint32_t position) {
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  return Philox4x32({sequence, position, 0, 0}, key)[0] / 256 * 0x1p-24;
}

}  // namespace latentd::cpu
