// How goldens are read: JSON lines, some of them compressed.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace latentd {

// The content of a file, decompressed if its name ends in .xz.
std::string ReadMaybeCompressed(const std::filesystem::path& path);

// Lines end with LF only: texts contain other line breaks.
std::vector<std::string> ReadLines(const std::filesystem::path& path);

}  // namespace latentd
