// UTF-8 text by code point, and Python's notion of white space, lines, case and character classes: chat templates are
// written for Python strings. Safe on any bytes; a malformed byte counts as one code point.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace latentd::jinja {

// The code point at `*position`, which moves behind it. U+FFFD for a malformed byte.
char32_t NextCodePoint(std::string_view text, size_t* position);
// Where the code point that ends right before `position` starts; position > 0.
size_t PreviousBoundary(std::string_view text, size_t position);
void AppendCodePoint(char32_t code_point, std::string* text);

size_t CountCodePoints(std::string_view text);
// Byte offset of the `index`-th code point, text.size() when there are fewer.
size_t ByteOffset(std::string_view text, size_t index);
std::vector<std::string_view> SplitCodePoints(std::string_view text);
bool IsValidUtf8(std::string_view text);

bool IsSpace(char32_t code_point);           // str.isspace
bool IsLineBreak(char32_t code_point);       // str.splitlines splits there
bool IsLetter(char32_t code_point);          // str.isalpha
bool IsDecimalDigit(char32_t code_point);    // str.isdecimal
bool IsDigit(char32_t code_point);           // str.isdigit: superscripts too
bool IsNumeric(char32_t code_point);         // str.isnumeric
int DecimalDigitValue(char32_t code_point);  // of a decimal digit
bool IsUpper(char32_t code_point);
bool IsLower(char32_t code_point);
bool IsTitle(char32_t code_point);  // cased, but neither: U+01C5
bool IsPrintable(char32_t code_point);

std::string ToUpper(std::string_view text);
std::string ToLower(std::string_view text);
std::string SwapCase(std::string_view text);
std::string Capitalize(std::string_view text);
std::string ToTitle(std::string_view text);
std::string CaseFold(std::string_view text);

std::string_view StripLeft(std::string_view text);
std::string_view StripRight(std::string_view text);
// Strips the code points that occur in `characters`.
std::string_view StripLeft(std::string_view text, std::string_view characters);
std::string_view StripRight(std::string_view text, std::string_view characters);

}  // namespace latentd::jinja
