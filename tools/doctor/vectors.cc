#include "tools/doctor/vectors.h"

#include <algorithm>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

namespace latentd {

std::string_view NameOf(Vectors vectors) {
  switch (vectors) {
    case Vectors::kScalar:
      return "no AVX2";
    case Vectors::kAvx2:
      return "AVX2";
    case Vectors::kAvx512:
      return "AVX-512";
    case Vectors::kUnknown:
      break;
  }
  return "vectors unknown";
}

Vectors ReadVectors(const std::filesystem::path& root) {
  std::ifstream file(root / "proc/cpuinfo");
  std::string line;
  while (std::getline(file, line) && !line.starts_with("flags")) {
  }
  std::istringstream words(line);
  const std::set<std::string> flags{std::istream_iterator<std::string>(words), {}};
  const auto has = [&flags](std::initializer_list<const char*> names) {
    return std::all_of(names.begin(), names.end(), [&flags](const char* name) { return flags.contains(name); });
  };
  if (!flags.contains("flags")) return Vectors::kUnknown;
  if (!has({"avx2", "fma", "f16c", "bmi2"})) return Vectors::kScalar;
  return has({"avx512f", "avx512vl", "avx512dq", "avx512bw", "avx512cd"}) ? Vectors::kAvx512 : Vectors::kAvx2;
}

}  // namespace latentd
