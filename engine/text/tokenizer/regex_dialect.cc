#include "engine/text/tokenizer/regex_dialect.h"

#include <array>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "base/utf8.h"
#include "engine/text/tokenizer/character_class.h"

namespace latentd {
namespace {

constexpr size_t kMaxPatternBytes = 64 << 10;    // the longest published pattern has 2 KB
constexpr size_t kMaxTranslatedBytes = 1 << 20;  // PCRE2 compiles no pattern of that size

std::string Literal(uint32_t code_point) { return absl::StrFormat("\\x{%X}", code_point); }

void AppendRange(uint32_t first, uint32_t last, std::string& out) {
  if (first > last) return;
  absl::StrAppend(&out, Literal(first));
  if (first < last) absl::StrAppend(&out, "-", Literal(last));
}

std::string Bracketed(const CodePointSet& set, bool negated) {
  std::string ranges;
  for (const CodePointRange& range : set.ranges()) {
    // Surrogates are no characters of a valid text, and PCRE2 refuses them.
    AppendRange(range.first, std::min(range.last, 0xD7FFu), ranges);
    AppendRange(std::max(range.first, 0xE000u), range.last, ranges);
  }
  if (ranges.empty()) return negated ? "(?s:.)" : "(?!)";
  return absl::StrCat(negated ? "[^" : "[", ranges, "]");
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : reader_{pattern} {}

  absl::StatusOr<std::string> Translate() {
    while (!reader_.AtEnd()) {
      const absl::Status status = TranslateNext();
      if (!status.ok()) return status;
      if (out_.size() > kMaxTranslatedBytes) return reader_.Refuse("too many character classes up to here");
    }
    // `\s+$` would try each of a million blanks before a digit, and each would look at all behind it. A run of which no
    // end matches is tried from its first character alone; one of which an end matches ends its match at the last such.
    if (!leading_set_.empty() && out_ == leading_set_ + "+(?m:$)") out_.insert(0, "(?<!" + leading_set_ + ")");
    return std::move(out_);
  }

 private:
  absl::Status TranslateNext() {
    if (reader_.TakeIf("\\")) return TranslateEscape();
    if (reader_.TakeIf("(")) return TranslateGroupHead();
    if (reader_.TakeIf("{")) return TranslateInterval();
    if (reader_.TakeIf("[")) {
      const absl::StatusOr<CharacterClass> read = ReadCharacterClass(reader_);
      if (read.ok()) AppendSet(Bracketed(read->set, read->negated));
      return read.status();
    }
    // Oniguruma's ^ and $ are the ends of lines.
    const char c = reader_.Rest()[0];
    if (reader_.TakeIf("^") || reader_.TakeIf("$")) {
      absl::StrAppend(&out_, "(?m:", std::string(1, c), ")");
    } else if (std::string_view("|).*+?").find(c) != std::string_view::npos) {
      out_ += c;
      ++reader_.at;
    } else {
      absl::StrAppend(&out_, Literal(reader_.TakeCodePoint()));
    }
    return absl::OkStatus();
  }

  absl::Status TranslateEscape() {
    constexpr std::array<std::string_view, 3> kAnchors = {"A", "z", "Z"};
    for (const std::string_view anchor : kAnchors) {
      if (!reader_.TakeIf(anchor)) continue;
      out_.append("\\").append(anchor);
      return absl::OkStatus();
    }
    const absl::StatusOr<Escape> read = ReadEscape(reader_);
    if (!read.ok()) return read.status();
    if (read->code_point) {
      absl::StrAppend(&out_, Literal(*read->code_point));
    } else {
      AppendSet(Bracketed(read->set, false));
    }
    return absl::OkStatus();
  }

  void AppendSet(std::string set) {
    out_ += set;
    if (out_.size() == set.size()) leading_set_ = std::move(set);
  }

  absl::Status TranslateGroupHead() {
    constexpr std::array<std::string_view, 8> kHeads = {"?:", "?=", "?!", "?<=", "?<!", "?>", "?i:", "?-i:"};
    for (const std::string_view head : kHeads) {
      if (!reader_.TakeIf(head)) continue;
      out_.append("(").append(head);
      return absl::OkStatus();
    }
    if (reader_.Rest().starts_with('?')) return reader_.Refuse("expected one of (?: (?= (?! (?<= (?<! (?> (?i:");
    out_ += "(?:";
    return absl::OkStatus();
  }

  // {n}, {n,}, {n,m} and Oniguruma's {,m}; any other brace is a literal.
  absl::Status TranslateInterval() {
    const std::string_view rest = reader_.Rest();
    const size_t length = std::min(rest.find('}'), rest.size());
    const std::string_view body = rest.substr(0, length);
    const size_t comma = body.find(',');
    const bool digits = body.find_first_not_of("0123456789,") == std::string_view::npos;
    if (length == rest.size() || body.empty() || body == "," || !digits || body.rfind(',') != comma) {
      absl::StrAppend(&out_, Literal('{'));
      return absl::OkStatus();
    }
    reader_.at += length + 1;
    const bool exact = comma == std::string_view::npos;
    if (reader_.Rest().starts_with('+') || (exact && reader_.Rest().starts_with('?'))) {
      return reader_.Refuse("the dialects disagree about a sign after {}; put the interval into (?:)");
    }
    out_.append(comma == 0 ? "{0" : "{").append(body).append("}");
    return absl::OkStatus();
  }

  PatternReader reader_;
  std::string out_;
  std::string leading_set_;  // the set of characters that the pattern begins with
};

}  // namespace

absl::StatusOr<std::string> TranslateRegex(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("regular expression of %d bytes, expected at most %d", pattern.size(), kMaxPatternBytes));
  }
  return Translator(pattern).Translate();
}

std::string LiteralRegex(std::string_view text) {
  if (text.empty()) return "(?!)";
  PatternReader reader{text};
  std::string out;
  while (!reader.AtEnd()) absl::StrAppend(&out, Literal(reader.TakeCodePoint()));
  return out;
}

}  // namespace latentd
