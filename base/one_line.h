// Text from outside as a part of one line: what would end the line or speak to a terminal is escaped, all else stays.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace latentd {

// How many bytes at the beginning of `text`, of which there is one at least, are a control character or end a line: in
// ASCII, of UTF-8's second page (0xC2), and two of Unicode's own.
inline size_t NumControlBytes(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const auto second = text.size() > 1 ? static_cast<unsigned char>(text[1]) : 0;
  if (first < ' ' || first == 0x7f) return 1;
  if (first == 0xc2 && second >= 0x80 && second < 0xa0) return 2;
  return text.starts_with("\xe2\x80\xa8") || text.starts_with("\xe2\x80\xa9") ? 3 : 0;
}

inline std::string EscapedByte(char byte) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  if (byte == '\n') return "\\n";
  if (byte == '\r') return "\\r";
  if (byte == '\t') return "\\t";
  const auto number = static_cast<unsigned char>(byte);
  return {'\\', 'x', kDigits[number >> 4], kDigits[number & 15]};
}

inline std::string OnOneLine(std::string_view text) {
  std::string line;
  while (!text.empty()) {
    const size_t count = NumControlBytes(text);
    if (count == 0) line += text.front();
    for (size_t i = 0; i < count; ++i) line += EscapedByte(text[i]);
    text.remove_prefix(count == 0 ? 1 : count);
  }
  return line;
}

}  // namespace latentd
