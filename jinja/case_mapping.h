// The cases of Unicode, and what depends on them, as tables of runs, so that prompts depend neither on a locale nor on
// the C library.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace latentd::jinja {

enum class Case : uint8_t { kUpper, kLower, kTitle, kFolded };

// Each `stride`-th code point from first to last, both included, maps to itself plus delta.
struct CaseRun {
  uint32_t first;
  uint32_t last;
  uint32_t stride;
  int32_t delta;
};

// A code point that becomes several.
struct LongCase {
  uint32_t code_point;
  std::string_view text;  // UTF-8
};

// All in ascending order. What has a long mapping has no other.
std::span<const CaseRun> Mapping(Case target);
std::span<const LongCase> LongMapping(Case target);

// Properties of one character that Python's methods ask for; the deltas are 0.
enum class CharacterSet : uint8_t { kCased, kCaseIgnorable, kUpper, kLower, kDigit, kNumeric };
std::span<const CaseRun> Members(CharacterSet set);

}  // namespace latentd::jinja
