#include "jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "jinja/code_points.h"
#include "jinja/string_literal.h"

namespace latentd::jinja {
namespace {

constexpr std::string_view kOperators[] = {"**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                           "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};

bool IsAsciiDigit(char c) { return c >= '0' && c <= '9'; }

std::string NormalizeNewlines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text.push_back('\n');
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      text.push_back(source[i]);
    }
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(NormalizeNewlines(source)), rest_(source_) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (status_.ok() && !rest_.empty()) LexRoot();
    if (!status_.ok()) return status_;
    Emit(TokenType::kEnd, "");
    return std::move(tokens_);
  }

 private:
  // How much white space a delimiter takes away on its side.
  enum class Trim { kDefault, kAll, kNothing };

  void LexRoot() {
    size_t begin = 0;
    while (true) {
      begin = rest_.find('{', begin);
      if (begin == std::string_view::npos || begin + 1 == rest_.size()) return EmitText(Consume(rest_.size()));
      if (rest_[begin + 1] == '%' || rest_[begin + 1] == '{' || rest_[begin + 1] == '#') break;
      ++begin;
    }
    const char kind = rest_[begin + 1];
    const Trim trim = TrimAfter(begin + 2);
    const std::string_view text = TrimEnd(rest_.substr(0, begin), trim, kind != '{');
    Consume(begin);
    EmitText(text);
    Consume(trim == Trim::kDefault ? 2 : 3);
    if (kind == '#') return LexComment();
    if (kind == '%' && ConsumeRawBegin()) return LexRaw();
    const bool is_tag = kind == '%';
    Emit(is_tag ? TokenType::kTagBegin : TokenType::kOutputBegin, "");
    LexInside(is_tag);
  }

  // The sign that follows a delimiter of `length` bytes.
  Trim TrimAfter(size_t length) const {
    if (rest_.size() <= length) return Trim::kDefault;
    return rest_[length] == '-' ? Trim::kAll : rest_[length] == '+' ? Trim::kNothing : Trim::kDefault;
  }

  std::string_view TrimEnd(std::string_view text, Trim trim, bool is_block) const {
    if (trim == Trim::kAll) return StripRight(text);
    if (trim == Trim::kNothing || !is_block) return text;
    const size_t newline = text.rfind('\n');
    const size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
    if (line_start == 0 && !line_starting_) return text;
    return StripLeft(text.substr(line_start)).empty() ? text.substr(0, line_start) : text;
  }

  void LexComment() {
    const size_t end = rest_.find("#}");
    if (end == std::string_view::npos) return Fail("expected '#}' to end the comment, found the end of the template");
    const char sign = end == 0 ? ' ' : rest_[end - 1];
    Consume(end + 2);
    ConsumeAfterBlock(sign);
  }

  // `{% raw %}` from behind its `{%`.
  bool ConsumeRawBegin() {
    std::string_view tail = StripLeft(rest_);
    if (!tail.starts_with("raw")) return false;
    tail = StripLeft(tail.substr(3));
    const bool strip = tail.starts_with("-%}");
    if (!strip && !tail.starts_with("%}")) return false;
    tail.remove_prefix(strip ? 3 : 2);
    if (strip) tail = StripLeft(tail);
    Consume(rest_.size() - tail.size());
    return true;
  }

  void LexRaw() {
    for (size_t begin = rest_.find("{%"); begin != std::string_view::npos; begin = rest_.find("{%", begin + 1)) {
      std::string_view tail = rest_.substr(begin + 2);
      const char sign = tail.empty() ? ' ' : tail.front();
      if (sign == '-' || sign == '+') tail.remove_prefix(1);
      tail = StripLeft(tail);
      if (!tail.starts_with("endraw")) continue;
      tail = StripLeft(tail.substr(6));
      const char end_sign = tail.empty() ? ' ' : tail.front();
      if (end_sign == '-' || end_sign == '+') tail.remove_prefix(1);
      if (!tail.starts_with("%}")) continue;
      const size_t tag_end = rest_.size() - tail.size() + 2;
      const std::string_view raw = rest_.substr(0, begin);
      const Trim trim = sign == '-' ? Trim::kAll : sign == '+' ? Trim::kNothing : Trim::kDefault;
      EmitText(TrimEnd(raw, trim, true));
      Consume(tag_end);
      return ConsumeAfterBlock(end_sign);
    }
    Fail("expected '{% endraw %}', found the end of the template");
  }

  // White space behind `%}` or `#}`; `sign` is what stood before it.
  void ConsumeAfterBlock(char sign) {
    if (sign == '-') {
      Consume(rest_.size() - StripLeft(rest_).size());
    } else if (sign != '+' && rest_.starts_with("\n")) {
      Consume(1);
    }
  }

  void LexInside(bool is_tag) {
    const TokenType end = is_tag ? TokenType::kTagEnd : TokenType::kOutputEnd;
    while (status_.ok()) {
      Consume(rest_.size() - StripLeft(rest_).size());
      if (rest_.empty()) {
        return Fail(absl::StrFormat("expected '%s', found the end of the template", is_tag ? "%}" : "}}"));
      }
      if (open_.empty() && ConsumeEnd(is_tag)) return Emit(end, "");
      LexToken();
    }
  }

  bool ConsumeEnd(bool is_tag) {
    const std::string_view delimiter = is_tag ? "%}" : "}}";
    const char first = rest_.front();
    const bool has_sign = first == '-' || (is_tag && first == '+');
    if (!rest_.substr(has_sign ? 1 : 0).starts_with(delimiter)) return false;
    Consume(has_sign ? 3 : 2);
    if (is_tag || first == '-') ConsumeAfterBlock(has_sign ? first : ' ');
    return true;
  }

  void LexToken() {
    const char first = rest_.front();
    if (IsAsciiDigit(first)) return LexNumber();
    if (first == '\'' || first == '"') return LexString(first);
    if (const size_t length = NameLength(); length > 0) return Emit(TokenType::kName, Consume(length));
    for (const std::string_view candidate : kOperators) {
      if (rest_.starts_with(candidate)) return LexOperator(candidate);
    }
    size_t length = 0;
    NextCodePoint(rest_, &length);
    Fail(absl::StrFormat("unexpected character '%s'", rest_.substr(0, length)));
  }

  size_t NameLength() const {
    size_t length = 0;
    for (size_t next = 0; next < rest_.size(); length = next) {
      const char32_t c = NextCodePoint(rest_, &next);
      if (c != '_' && !IsLetter(c) && !IsDecimalDigit(c)) break;
    }
    return length;
  }

  size_t DigitsAt(size_t position) const {
    size_t end = position;
    while (end < rest_.size() &&
           (IsAsciiDigit(rest_[end]) ||
            (rest_[end] == '_' && end > position && end + 1 < rest_.size() && IsAsciiDigit(rest_[end + 1])))) {
      ++end;
    }
    return end - position;
  }

  // 0x1f, 0o17 or 0b11 as the decimal digits of the same number. False where no such number stands.
  bool LexNumberOfAnotherBase() {
    if (rest_.size() < 3 || rest_[0] != '0') return false;
    const char prefix = rest_[1];
    const int base = prefix == 'x' || prefix == 'X'   ? 16
                     : prefix == 'o' || prefix == 'O' ? 8
                     : prefix == 'b' || prefix == 'B' ? 2
                                                      : 0;
    if (base == 0) return false;
    size_t end = 2;
    std::string digits;
    for (; end < rest_.size() && (rest_[end] == '_' || absl::ascii_isxdigit(static_cast<unsigned char>(rest_[end])));
         ++end) {
      if (rest_[end] != '_') digits += rest_[end];
    }
    uint64_t value = 0;
    const char* const last = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), last, value, base);
    if (error != std::errc() || stop != last) return false;
    Consume(end);
    Emit(TokenType::kInteger, std::to_string(value));
    return true;
  }

  void LexNumber() {
    if (LexNumberOfAnotherBase()) return;
    const bool after_dot =
        !tokens_.empty() && tokens_.back().type == TokenType::kOperator && tokens_.back().text == ".";
    size_t length = DigitsAt(0);
    const size_t whole = length;
    if (!after_dot) {
      if (length < rest_.size() && rest_[length] == '.' && DigitsAt(length + 1) > 0) length += 1 + DigitsAt(length + 1);
      if (length < rest_.size() && (rest_[length] == 'e' || rest_[length] == 'E')) {
        const size_t sign = length + 1 < rest_.size() && (rest_[length + 1] == '+' || rest_[length + 1] == '-') ? 1 : 0;
        if (const size_t digits = DigitsAt(length + 1 + sign); digits > 0) length += 1 + sign + digits;
      }
    }
    const bool is_float = length > whole;
    std::string text(Consume(length));
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    if (!is_float && text.size() > 1 && text[0] == '0' && text.find_first_not_of('0') != std::string::npos) {
      return Fail(absl::StrFormat("expected an integer without leading zeros, found %s", text));
    }
    Emit(is_float ? TokenType::kFloat : TokenType::kInteger, text);
  }

  void LexString(char quote) {
    size_t end = 1;
    while (end < rest_.size() && rest_[end] != quote) end += rest_[end] == '\\' ? 2 : 1;
    if (end >= rest_.size()) return Fail(absl::StrFormat("expected %c to end the string, found the end", quote));
    const int line = line_;
    const std::string_view literal = Consume(end + 1);
    absl::StatusOr<std::string> text = Unescape(literal.substr(1, end - 1));
    if (!text.ok()) return Fail(std::string(text.status().message()));
    tokens_.push_back({TokenType::kString, line, *std::move(text)});
  }

  void LexOperator(std::string_view name) {
    const char c = name.front();
    if (c == '(' || c == '[' || c == '{') {
      open_.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
    } else if (c == ')' || c == ']' || c == '}') {
      if (open_.empty()) return Fail(absl::StrFormat("unexpected '%c'", c));
      if (open_.back() != c) return Fail(absl::StrFormat("expected '%c', found '%c'", open_.back(), c));
      open_.pop_back();
    }
    Emit(TokenType::kOperator, Consume(name.size()));
  }

  std::string_view Consume(size_t length) {
    const std::string_view consumed = rest_.substr(0, length);
    rest_.remove_prefix(length);
    line_ += static_cast<int>(std::count(consumed.begin(), consumed.end(), '\n'));
    if (!consumed.empty()) line_starting_ = consumed.back() == '\n';
    return consumed;
  }

  void EmitText(std::string_view text) {
    if (!text.empty()) Emit(TokenType::kText, text);
  }
  void Emit(TokenType type, std::string_view text) { tokens_.push_back({type, line_, std::string(text)}); }
  void Fail(const std::string& message) {
    if (status_.ok()) status_ = SyntaxError(line_, message);
  }

  const std::string source_;
  std::string_view rest_;  // of source_
  int line_ = 1;
  bool line_starting_ = true;
  std::string open_;  // closing brackets that are awaited
  std::vector<Token> tokens_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source) { return Lexer(source).Run(); }

absl::Status SyntaxError(int line, const std::string& message) {
  return absl::InvalidArgumentError(absl::StrCat("chat template, line ", line, ": ", message));
}

}  // namespace latentd::jinja
