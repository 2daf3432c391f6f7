#include "tests/engine/text/tokenizer/golden_files.h"

#include <cstdio>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace latentd {

std::string ReadMaybeCompressed(const std::filesystem::path& path) {
  if (path.extension() != ".xz") {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("no such file: " + path.string());
    return {std::istreambuf_iterator<char>(file), {}};
  }
  const std::string command = "xz -dc '" + path.string() + "'";
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("can't run " + command);
  std::string text;
  char buffer[1 << 16];
  for (size_t count; (count = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) text.append(buffer, count);
  if (pclose(pipe) != 0) throw std::runtime_error("no success: " + command);
  return text;
}

std::vector<std::string> ReadLines(const std::filesystem::path& path) {
  const std::string text = ReadMaybeCompressed(path);
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace latentd
