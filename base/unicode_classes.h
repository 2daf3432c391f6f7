// Unicode character classes as explicit code point ranges, so that splitting does not depend on the Unicode version of
// the regex library. The tables are generated.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace latentd {

// Both ends belong to the range.
struct CodePointRange {
  uint32_t first = 0;
  uint32_t last = 0;
  bool operator==(const CodePointRange&) const = default;
};

// Sorted, disjoint ranges of L, Lu, Ll, Lt, Lm, Lo, M, N, P, S, White_Space or Han; empty for any other name.
std::span<const CodePointRange> FindUnicodeClass(std::string_view name);

}  // namespace latentd
