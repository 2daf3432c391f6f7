// SHA-256. Pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace latentd {

using Digest = std::array<uint8_t, 32>;

Digest Sha256(std::string_view text);
// In hexadecimal, lower case; parsed in either.
std::string ToHex(const Digest& digest);
std::optional<Digest> ParseDigest(std::string_view hex);
// In a time that depends on neither.
bool IsEqual(const Digest& a, const Digest& b);

}  // namespace latentd
