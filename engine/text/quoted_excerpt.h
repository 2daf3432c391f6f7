// Text from the world, for use in one line of an error message.
#pragma once

#include <string>
#include <string_view>

#include <absl/strings/escaping.h>

namespace latentd {

// Quoted, escaped, and cut where it is long.
inline std::string QuotedExcerpt(std::string_view text) {
  constexpr size_t kMaxBytes = 60;
  const std::string_view shown = text.substr(0, kMaxBytes);
  return '"' + absl::CHexEscape({shown.data(), shown.size()}) + (shown.size() < text.size() ? "\"..." : "\"");
}

}  // namespace latentd
