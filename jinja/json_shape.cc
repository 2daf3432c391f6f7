#include "jinja/json_shape.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <system_error>

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>

#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

// The number has a double: it is not too large. One that is too small is zero.
bool IsFinite(std::string_view number) {
  double value = 0.0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error == std::errc()) return true;
  // Too large or too small: its first digit's place tells.
  int64_t place = 0;
  bool is_fraction = false;
  bool has_digits = false;
  size_t at = 0;
  for (; at < number.size() && number[at] != 'e' && number[at] != 'E'; ++at) {
    if (number[at] == '.') is_fraction = true;
    if (!absl::ascii_isdigit(static_cast<unsigned char>(number[at]))) continue;
    has_digits |= number[at] != '0';
    if (has_digits && !is_fraction) ++place;
    if (!has_digits && is_fraction) --place;
  }
  constexpr int64_t kFar = int64_t{1} << 40;  // beyond any place that a text's digits reach
  int64_t exponent = 0;
  const bool is_negative = at + 1 < number.size() && number[at + 1] == '-';
  for (; at < number.size(); ++at) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(number[at]))) continue;
    exponent = std::min(kFar, exponent * 10 + (number[at] - '0'));
  }
  return !has_digits || place + (is_negative ? -exponent : exponent) <= 0;
}

class JsonScanner {
 public:
  explicit JsonScanner(std::string_view text) : text_(text) {
    if (text_.starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
  }

  absl::StatusOr<JsonShape> Scan() {
    if (ScanText()) return shape_;
    if (is_too_deep_) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected JSON of at most ", kMaxValueDepth, " levels, found more"));
    }
    return absl::InvalidArgumentError(absl::StrCat("expected JSON, found something else at byte ", at_ + 1));
  }

 private:
  enum class Begun : uint8_t { kWrong, kWhole, kOpen };  // kOpen: a container whose first value follows

  // One value after the other, however deep.
  bool ScanText() {
    while (true) {
      SkipSpace();
      const Begun begun = Begin();
      if (begun == Begun::kWrong) return false;
      if (begun == Begun::kOpen) continue;
      bool has_next = false;
      while (depth_ > 0 && !has_next) {
        if (!EndOrNext(&has_next)) return false;
      }
      if (has_next) continue;
      SkipSpace();
      return at_ == text_.size();
    }
  }

  Begun Begin() {
    ++shape_.num_values;
    if (is_at('{') || is_at('[')) return Open();
    const bool is_whole = is_at('"')   ? TakeString()
                          : is_at('t') ? TakeWord("true")
                          : is_at('f') ? TakeWord("false")
                          : is_at('n') ? TakeWord("null")
                                       : TakeNumber();
    return is_whole ? Begun::kWhole : Begun::kWrong;
  }

  Begun Open() {
    const bool is_object = is_at('{');
    if (depth_ == 0) shape_.is_object = is_object;
    if (depth_ == is_object_.size()) {
      is_too_deep_ = true;
      return Begun::kWrong;
    }
    is_object_[depth_++] = is_object;
    shape_.depth = std::max(shape_.depth, static_cast<int>(depth_));
    ++at_;
    SkipSpace();
    if (Take(is_object ? '}' : ']')) {
      --depth_;
      return Begun::kWhole;
    }
    return !is_object || TakeKey() ? Begun::kOpen : Begun::kWrong;
  }

  // Behind a value in a container.
  bool EndOrNext(bool* has_next) {
    SkipSpace();
    const bool is_object = is_object_[depth_ - 1];
    if (Take(',')) {
      *has_next = true;
      return !is_object || TakeKey();
    }
    --depth_;
    return Take(is_object ? '}' : ']');
  }

  bool TakeKey() {
    ++shape_.num_values;
    SkipSpace();
    if (!TakeString()) return false;
    SkipSpace();
    return Take(':');
  }

  bool TakeString() {
    if (!Take('"')) return false;
    while (at_ < text_.size()) {
      if (Take('"')) return true;
      if (static_cast<unsigned char>(text_[at_]) < 0x20) return false;
      const bool is_escape = text_[at_++] == '\\';
      if (is_escape && !TakeEscape()) return false;
    }
    return false;
  }

  // Behind the backslash. A surrogate comes with its other half.
  bool TakeEscape() {
    if (!Take('u')) {
      const bool is_known = at_ < text_.size() && std::string_view("\"\\/bfnrt").find(text_[at_]) != text_.npos;
      if (is_known) ++at_;
      return is_known;
    }
    uint32_t unit = 0;
    if (!TakeHex(&unit) || (unit >= 0xDC00 && unit <= 0xDFFF)) return false;
    if (unit < 0xD800 || unit > 0xDBFF) return true;
    return Take('\\') && Take('u') && TakeHex(&unit) && unit >= 0xDC00 && unit <= 0xDFFF;
  }

  bool TakeHex(uint32_t* unit) {
    constexpr size_t kDigits = 4;
    if (text_.size() - at_ < kDigits) return false;
    const char* const begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, begin + kDigits, *unit, 16);
    at_ += static_cast<size_t>(end - begin);
    return error == std::errc() && end == begin + kDigits;
  }

  bool TakeWord(std::string_view word) {
    for (const char c : word) {
      if (!Take(c)) return false;
    }
    return true;
  }

  bool TakeNumber() {
    const size_t begin = at_;
    Take('-');
    if (!Take('0') && !TakeDigits()) return false;
    if (Take('.') && !TakeDigits()) return false;
    if (Take('e') || Take('E')) {
      if (!Take('+')) Take('-');
      if (!TakeDigits()) return false;
    }
    return IsFinite(text_.substr(begin, at_ - begin));
  }

  bool TakeDigits() {
    const size_t begin = at_;
    while (at_ < text_.size() && absl::ascii_isdigit(static_cast<unsigned char>(text_[at_]))) ++at_;
    return at_ > begin;
  }

  void SkipSpace() {
    while (is_at(' ') || is_at('\t') || is_at('\n') || is_at('\r')) ++at_;
  }

  bool is_at(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool Take(char c) {
    const bool is_there = is_at(c);
    if (is_there) ++at_;
    return is_there;
  }

  const std::string_view text_;
  size_t at_ = 0;
  std::array<bool, kMaxValueDepth> is_object_{};  // of the containers that are open
  size_t depth_ = 0;                              // how many they are
  bool is_too_deep_ = false;
  JsonShape shape_;
};

}  // namespace

absl::StatusOr<JsonShape> ShapeOfJson(std::string_view text) { return JsonScanner(text).Scan(); }

}  // namespace latentd::jinja
