#include "base/quoting.h"

#include <absl/strings/escaping.h>
#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

#include "base/utf8.h"

namespace latentd {
namespace {

// How many bytes at the beginning of `text`, of which there is one at least, are a control character or end a line.
size_t NumControlBytes(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const auto second = text.size() > 1 ? static_cast<unsigned char>(text[1]) : 0;
  if (first < ' ' || first == 0x7f) return 1;
  if (first == 0xc2 && second >= 0x80 && second < 0xa0) return 2;
  return text.starts_with("\xe2\x80\xa8") || text.starts_with("\xe2\x80\xa9") ? 3 : 0;
}

std::string EscapedByte(char byte) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  if (byte == '\n') return "\\n";
  if (byte == '\r') return "\\r";
  if (byte == '\t') return "\\t";
  const auto number = static_cast<unsigned char>(byte);
  return {'\\', 'x', kDigits[number >> 4], kDigits[number & 15]};
}

absl::string_view ViewOf(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

std::string OnOneLine(std::string_view text) {
  std::string line;
  while (!text.empty()) {
    const size_t count = NumControlBytes(text);
    if (count == 0) line += text.front();
    for (size_t i = 0; i < count; ++i) line += EscapedByte(text[i]);
    text.remove_prefix(count == 0 ? 1 : count);
  }
  return line;
}

std::string_view CutText(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  // No character has so many bytes that belong to one before them: this is no UTF-8, and any place is as good.
  return text.substr(0, end + 4 > max_bytes ? end : max_bytes);
}

std::string QuotedExcerpt(std::string_view text) {
  const std::string_view shown = CutText(text, kQuotedBytes);
  const std::string escaped =
      FindInvalidUtf8(shown) ? absl::CHexEscape(ViewOf(shown)) : absl::Utf8SafeCHexEscape(ViewOf(shown));
  return '"' + escaped + (shown.size() < text.size() ? "\"..." : "\"");
}

std::string Quoted(std::string_view text) {
  constexpr size_t kLongest = 300;
  const std::string_view shown = CutText(text, kLongest);
  return absl::StrCat("'", absl::Utf8SafeCHexEscape(ViewOf(shown)), shown.size() < text.size() ? "...'" : "'");
}

std::string QuoteForLog(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

}  // namespace latentd
