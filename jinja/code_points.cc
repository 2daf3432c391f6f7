#include "jinja/code_points.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <span>

#include "base/unicode_classes.h"
#include "jinja/case_mapping.h"

namespace latentd::jinja {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

// First digit of each run of ten that Unicode calls a decimal digit (Nd).
constexpr uint32_t kDigitRuns[] = {
    0x30,    0x660,   0x6F0,   0x7C0,   0x966,   0x9E6,   0xA66,   0xAE6,   0xB66,   0xBE6,   0xC66,
    0xCE6,   0xD66,   0xDE6,   0xE50,   0xED0,   0xF20,   0x1040,  0x1090,  0x17E0,  0x1810,  0x1946,
    0x19D0,  0x1A80,  0x1A90,  0x1B50,  0x1BB0,  0x1C40,  0x1C50,  0xA620,  0xA8D0,  0xA900,  0xA9D0,
    0xA9F0,  0xAA50,  0xABF0,  0xFF10,  0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0,
    0x11450, 0x114D0, 0x11650, 0x116C0, 0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60,
    0x16AC0, 0x16B50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0};

bool InClass(std::string_view name, char32_t code_point) {
  const std::span<const CodePointRange> ranges = FindUnicodeClass(name);
  const auto range =
      std::partition_point(ranges.begin(), ranges.end(), [&](const CodePointRange& r) { return r.last < code_point; });
  return range != ranges.end() && range->first <= code_point;
}

// The run that holds the code point, or null.
const CaseRun* FindRun(std::span<const CaseRun> runs, char32_t code_point) {
  const auto run =
      std::partition_point(runs.begin(), runs.end(), [&](const CaseRun& r) { return r.last < code_point; });
  const bool is_in = run != runs.end() && run->first <= code_point && (code_point - run->first) % run->stride == 0;
  return is_in ? &*run : nullptr;
}

bool IsIn(CharacterSet set, char32_t code_point) { return FindRun(Members(set), code_point) != nullptr; }

void AppendCase(Case target, char32_t code_point, std::string* text) {
  const std::span<const LongCase> entries = LongMapping(target);
  const auto entry = std::partition_point(entries.begin(), entries.end(),
                                          [&](const LongCase& e) { return e.code_point < code_point; });
  if (entry != entries.end() && entry->code_point == code_point) {
    text->append(entry->text);
    return;
  }
  const CaseRun* const run = FindRun(Mapping(target), code_point);
  const int64_t delta = run == nullptr ? 0 : run->delta;
  AppendCodePoint(static_cast<char32_t>(static_cast<int64_t>(code_point) + delta), text);
}

// A capital sigma is written in its final form behind a letter and before none; what has no case of its own may stand
// between.
bool IsFinalSigma(std::string_view before, std::string_view after) {
  bool is_behind_letter = false;
  while (!before.empty() && !is_behind_letter) {
    size_t position = PreviousBoundary(before, before.size());
    const size_t start = position;
    const char32_t c = NextCodePoint(before, &position);
    before = before.substr(0, start);
    if (IsIn(CharacterSet::kCaseIgnorable, c)) continue;
    if (!IsIn(CharacterSet::kCased, c)) return false;
    is_behind_letter = true;
  }
  if (!is_behind_letter) return false;
  for (size_t position = 0; position < after.size();) {
    const char32_t c = NextCodePoint(after, &position);
    if (!IsIn(CharacterSet::kCaseIgnorable, c)) return !IsIn(CharacterSet::kCased, c);
  }
  return true;
}

// `c`, which stands between the two, in lower case.
void AppendLower(char32_t c, std::string_view before, std::string_view behind, std::string* out) {
  constexpr char32_t kSigma = 0x3A3, kFinalSigma = 0x3C2;
  if (c == kSigma && IsFinalSigma(before, behind)) {
    AppendCodePoint(kFinalSigma, out);
  } else {
    AppendCase(Case::kLower, c, out);
  }
}

bool IsContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// Length of the sequence that `lead` announces, 0 for a byte that cannot start one.
size_t SequenceLength(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead < 0xE0) return 2;
  if (lead >= 0xE0 && lead < 0xF0) return 3;
  if (lead >= 0xF0 && lead < 0xF5) return 4;
  return 0;
}

// Strips `Strippable` code points; a template because white space and sets differ only in the question.
template <class Strippable>
std::string_view StripLeftIf(std::string_view text, const Strippable& strippable) {
  size_t position = 0;
  while (position < text.size()) {
    size_t next = position;
    const char32_t code_point = NextCodePoint(text, &next);
    if (!strippable(code_point, text.substr(position, next - position))) break;
    position = next;
  }
  return text.substr(position);
}

template <class Strippable>
std::string_view StripRightIf(std::string_view text, const Strippable& strippable) {
  while (!text.empty()) {
    const size_t start = PreviousBoundary(text, text.size());
    size_t position = start;
    if (!strippable(NextCodePoint(text, &position), text.substr(start))) break;
    text.remove_suffix(text.size() - start);
  }
  return text;
}

}  // namespace

char32_t NextCodePoint(std::string_view text, size_t* position) {
  const auto lead = static_cast<unsigned char>(text[*position]);
  const size_t length = SequenceLength(lead);
  ++*position;
  if (length == 1) return lead;
  if (length == 0 || *position + length - 1 > text.size()) return kReplacement;
  char32_t code_point = lead & (0x7Fu >> length);
  for (size_t i = 0; i + 1 < length; ++i) {
    if (!IsContinuation(text[*position + i])) return kReplacement;
    code_point = code_point << 6 | (static_cast<unsigned char>(text[*position + i]) & 0x3Fu);
  }
  const bool overlong = (length == 3 && code_point < 0x800) || (length == 4 && code_point < 0x10000);
  if (overlong || code_point > 0x10FFFF || (code_point >= 0xD800 && code_point < 0xE000)) return kReplacement;
  *position += length - 1;
  return code_point;
}

size_t PreviousBoundary(std::string_view text, size_t position) {
  for (size_t length = 1; length <= 4 && length <= position; ++length) {
    if (IsContinuation(text[position - length])) continue;
    size_t end = position - length;
    NextCodePoint(text, &end);
    return end == position ? position - length : position - 1;
  }
  return position - 1;
}

void AppendCodePoint(char32_t code_point, std::string* text) {
  const auto append = [&](char32_t byte) { text->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    append(code_point);
  } else if (code_point < 0x800) {
    append(0xC0 | code_point >> 6);
    append(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    append(0xE0 | code_point >> 12);
    append(0x80 | (code_point >> 6 & 0x3F));
    append(0x80 | (code_point & 0x3F));
  } else {
    append(0xF0 | code_point >> 18);
    append(0x80 | (code_point >> 12 & 0x3F));
    append(0x80 | (code_point >> 6 & 0x3F));
    append(0x80 | (code_point & 0x3F));
  }
}

size_t CountCodePoints(std::string_view text) {
  size_t count = 0;
  for (size_t position = 0; position < text.size(); ++count) NextCodePoint(text, &position);
  return count;
}

size_t ByteOffset(std::string_view text, size_t index) {
  size_t position = 0;
  while (index-- > 0 && position < text.size()) NextCodePoint(text, &position);
  return position;
}

std::vector<std::string_view> SplitCodePoints(std::string_view text) {
  std::vector<std::string_view> pieces;
  for (size_t position = 0; position < text.size();) {
    const size_t start = position;
    NextCodePoint(text, &position);
    pieces.push_back(text.substr(start, position - start));
  }
  return pieces;
}

bool IsValidUtf8(std::string_view text) {
  for (size_t position = 0; position < text.size();) {
    const size_t start = position;
    if (NextCodePoint(text, &position) == kReplacement && position == start + 1) return false;
  }
  return true;
}

bool IsSpace(char32_t c) {
  if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 28 && c <= 32);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

bool IsLineBreak(char32_t c) {
  return (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool IsLetter(char32_t c) {
  if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return InClass("L", c);
}

bool IsDecimalDigit(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  const auto run = std::upper_bound(std::begin(kDigitRuns), std::end(kDigitRuns), c);
  return c - *(run - 1) < 10;
}

int DecimalDigitValue(char32_t c) {
  return static_cast<int>(c - *(std::upper_bound(std::begin(kDigitRuns), std::end(kDigitRuns), c) - 1));
}

bool IsDigit(char32_t c) { return c < 0x80 ? IsDecimalDigit(c) : IsIn(CharacterSet::kDigit, c); }
bool IsNumeric(char32_t c) { return c < 0x80 ? IsDecimalDigit(c) : IsIn(CharacterSet::kNumeric, c); }
bool IsUpper(char32_t c) { return IsIn(CharacterSet::kUpper, c); }
bool IsLower(char32_t c) { return IsIn(CharacterSet::kLower, c); }
bool IsTitle(char32_t c) { return IsIn(CharacterSet::kCased, c) && !IsUpper(c) && !IsLower(c); }

bool IsPrintable(char32_t c) {
  if (c < 0x80) return c >= 32 && c < 127;
  for (const std::string_view name : {"L", "M", "N", "P", "S"}) {
    if (InClass(name, c)) return true;
  }
  return false;
}

std::string ToUpper(std::string_view text) {
  std::string upper;
  for (size_t position = 0; position < text.size();) AppendCase(Case::kUpper, NextCodePoint(text, &position), &upper);
  return upper;
}

std::string ToLower(std::string_view text) {
  std::string lower;
  for (size_t position = 0; position < text.size();) {
    const size_t start = position;
    const char32_t c = NextCodePoint(text, &position);
    AppendLower(c, text.substr(0, start), text.substr(position), &lower);
  }
  return lower;
}

std::string CaseFold(std::string_view text) {
  std::string folded;
  for (size_t position = 0; position < text.size();) AppendCase(Case::kFolded, NextCodePoint(text, &position), &folded);
  return folded;
}

std::string SwapCase(std::string_view text) {
  std::string swapped;
  for (size_t position = 0; position < text.size();) {
    const size_t start = position;
    const char32_t c = NextCodePoint(text, &position);
    if (IsUpper(c)) {
      AppendLower(c, text.substr(0, start), text.substr(position), &swapped);
    } else {
      IsLower(c) ? AppendCase(Case::kUpper, c, &swapped) : AppendCodePoint(c, &swapped);
    }
  }
  return swapped;
}

std::string Capitalize(std::string_view text) {
  std::string capitalized;
  for (size_t position = 0; position < text.size();) {
    const size_t start = position;
    const char32_t c = NextCodePoint(text, &position);
    if (start == 0) {
      AppendCase(Case::kTitle, c, &capitalized);
    } else {
      AppendLower(c, text.substr(0, start), text.substr(position), &capitalized);
    }
  }
  return capitalized;
}

std::string ToTitle(std::string_view text) {
  std::string title;
  bool in_word = false;
  for (size_t position = 0; position < text.size();) {
    const size_t start = position;
    const char32_t c = NextCodePoint(text, &position);
    if (in_word) {
      AppendLower(c, text.substr(0, start), text.substr(position), &title);
    } else {
      AppendCase(Case::kTitle, c, &title);
    }
    in_word = IsIn(CharacterSet::kCased, c);
  }
  return title;
}

std::string_view StripLeft(std::string_view text) {
  return StripLeftIf(text, [](char32_t c, std::string_view) { return IsSpace(c); });
}

std::string_view StripRight(std::string_view text) {
  return StripRightIf(text, [](char32_t c, std::string_view) { return IsSpace(c); });
}

std::string_view StripLeft(std::string_view text, std::string_view characters) {
  return StripLeftIf(text,
                     [&](char32_t, std::string_view piece) { return characters.find(piece) != std::string::npos; });
}

std::string_view StripRight(std::string_view text, std::string_view characters) {
  return StripRightIf(text,
                      [&](char32_t, std::string_view piece) { return characters.find(piece) != std::string::npos; });
}

}  // namespace latentd::jinja
