// Text from the world, for use in one line of an error message: cut where it is long, never within a character.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <absl/strings/escaping.h>

#include "base/utf8.h"

namespace latentd {

inline constexpr size_t kQuotedBytes = 60;

// As much of the text as fits into so many bytes, in whole characters.
inline std::string_view CutText(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  // No character has so many bytes that belong to one before them: this is no UTF-8, and any place is as good.
  return text.substr(0, end + 4 > max_bytes ? end : max_bytes);
}

// Quoted, escaped, and cut: valid UTF-8 whatever the text is.
inline std::string QuotedExcerpt(std::string_view text) {
  const std::string_view shown = CutText(text, kQuotedBytes);
  const absl::string_view view(shown.data(), shown.size());
  const std::string escaped = FindInvalidUtf8(shown) ? absl::CHexEscape(view) : absl::Utf8SafeCHexEscape(view);
  return '"' + escaped + (shown.size() < text.size() ? "\"..." : "\"");
}

}  // namespace latentd
