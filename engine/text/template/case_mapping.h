// Upper and lower case of Unicode as tables of runs, so that prompts depend neither on a locale nor on the C library.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace latentd::jinja {

// Each `stride`-th code point from first to last, both included, maps to itself plus delta.
struct CaseRun {
  uint32_t first;
  uint32_t last;
  uint32_t stride;
  int32_t delta;
};

// A code point whose upper case is several code points.
struct LongUpper {
  uint32_t code_point;
  std::string_view upper;  // UTF-8
};

// All in ascending order.
std::span<const CaseRun> UpperRuns();
std::span<const CaseRun> LowerRuns();
std::span<const LongUpper> LongUppers();

}  // namespace latentd::jinja
