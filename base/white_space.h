// White space as JSON has it, at the edges of what a model wrote.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace latentd {

inline constexpr std::string_view kWhiteSpace = " \t\r\n";

inline bool IsWhiteSpace(std::string_view text) {
  return text.find_first_not_of(kWhiteSpace) == std::string_view::npos;
}

inline std::string_view TrimmedRight(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kWhiteSpace) + 1);  // npos + 1 is 0
}

inline std::string_view TrimmedLeft(std::string_view text) {
  return text.substr(std::min(text.size(), text.find_first_not_of(kWhiteSpace)));
}

inline std::string_view Trimmed(std::string_view text) { return TrimmedLeft(TrimmedRight(text)); }

}  // namespace latentd
