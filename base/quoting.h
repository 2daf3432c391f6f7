// Text from outside in one line of ours. OnOneLine is for a whole line that people read, QuotedExcerpt for a part of a
// file or a request in an error message, Quoted for a path or a name in one, which is only cut where it is longer than
// people write them, and QuoteForLog for values in lines that programs read.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace latentd {

// Only what would end the line or speak to a terminal is escaped: control characters of ASCII and of UTF-8's second
// page (0xC2), and Unicode's own two line ends. All else stays.
std::string OnOneLine(std::string_view text);

// In double quotes, escaped, and cut to kQuotedBytes: valid UTF-8 whatever the text is.
std::string QuotedExcerpt(std::string_view text);
inline constexpr size_t kQuotedBytes = 60;
// As much of the text as fits into so many bytes, in whole characters.
std::string_view CutText(std::string_view text, size_t max_bytes);

// In single quotes, escaped, and cut to 300 bytes, in whole characters. Bytes that are no UTF-8 stay as they are.
std::string Quoted(std::string_view text);

// "…" with JSON's escapes, all beyond ASCII escaped, bytes that are not UTF-8 replaced by U+FFFD. Never cut.
std::string QuoteForLog(std::string_view text);

}  // namespace latentd
