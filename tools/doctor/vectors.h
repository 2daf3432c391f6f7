// The vectors that this machine's processor computes with, by what the kernel says of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace latentd {

enum class Vectors : uint8_t { kUnknown, kScalar, kAvx2, kAvx512 };  // kUnknown: no x86
std::string_view NameOf(Vectors vectors);

// `root` stands before /proc, for tests.
Vectors ReadVectors(const std::filesystem::path& root);

}  // namespace latentd
