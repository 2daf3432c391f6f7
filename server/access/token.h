// Bearer tokens: random texts that their holders show, of which the daemon keeps the SHA-256 alone. Pure functions but
// for MakeToken.
#pragma once

#include <array>
#include <cstddef>
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

inline constexpr size_t kMaxTokenBytes = 512;

// "latentd_" and 256 random bits: what people and scanners of secrets recognise.
std::string MakeToken();

}  // namespace latentd
