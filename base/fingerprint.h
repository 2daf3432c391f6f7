// FNV-1a, 64 bits: tells two checkpoints apart that honest people made; no defence against forgery.
#pragma once

#include <cstdint>
#include <string_view>

namespace latentd {

inline constexpr uint64_t kFingerprintSeed = 0xcbf29ce484222325;

constexpr uint64_t Fingerprint(std::string_view bytes, uint64_t seed = kFingerprintSeed) {
  for (const char byte : bytes) seed = (seed ^ static_cast<uint8_t>(byte)) * 0x100000001b3;
  return seed;
}

}  // namespace latentd
