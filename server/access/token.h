// Bearer tokens: random texts that their holders show, of which the daemon keeps the SHA-256 alone.
#pragma once

#include <cstddef>
#include <string>

namespace latentd {

inline constexpr size_t kMaxTokenBytes = 512;

// "latentd_" and 256 random bits: what people and scanners of secrets recognise.
std::string MakeToken();

}  // namespace latentd
