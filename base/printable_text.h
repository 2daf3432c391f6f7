// Text that any line and any header may hold: printable ASCII, spaces included.
#pragma once

#include <algorithm>
#include <string_view>

namespace latentd {

inline bool IsPrintableAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

}  // namespace latentd
