#include "engine/text/tokenizer/character_class.h"

#include <utility>
#include <vector>

#include <absl/strings/str_format.h>

#include "base/utf8.h"

namespace latentd {
namespace {

constexpr int kMaxNestedClasses = 16;  // bounds the recursion
constexpr uint32_t kLastCodePoint = 0x10FFFF;

bool IsAsciiAlphanumeric(uint32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

std::optional<uint32_t> HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

Escape Single(uint32_t code_point) { return {CodePointSet({{code_point, code_point}}), code_point}; }

absl::StatusOr<Escape> ReadHex(PatternReader& reader, size_t min_digits, size_t max_digits) {
  uint32_t value = 0;
  size_t digits = 0;
  while (digits < max_digits && !reader.AtEnd()) {
    const std::optional<uint32_t> digit = HexDigit(reader.Rest()[0]);
    if (!digit) break;
    value = value * 16 + *digit;
    ++reader.at;
    ++digits;
  }
  if (digits < min_digits || value > kLastCodePoint) return reader.Refuse("hexadecimal escape is no code point");
  return Single(value);
}

absl::StatusOr<Escape> ReadBracedHex(PatternReader& reader) {
  auto escape = ReadHex(reader, 1, 6);
  if (escape.ok() && !reader.TakeIf("}")) return reader.Refuse("expected } after \\x{ and up to 6 digits");
  return escape;
}

absl::StatusOr<Escape> ReadShortHex(PatternReader& reader) {
  auto escape = ReadHex(reader, 1, 2);
  // Oniguruma takes \x80 and above as raw bytes of a character, not as code points.
  if (escape.ok() && *escape->code_point >= 0x80) return reader.Refuse("write \\xHH above \\x7F as \\x{HH}");
  return escape;
}

absl::StatusOr<Escape> ReadProperty(PatternReader& reader, bool negated) {
  if (!reader.TakeIf("{")) return reader.Refuse("expected { after \\p");
  if (reader.TakeIf("^")) negated = !negated;
  const size_t length = reader.Rest().find('}');
  if (length == std::string_view::npos) return reader.Refuse("expected } after \\p{");
  const CodePointSet set = CodePointSet::OfClass(reader.Rest().substr(0, length));
  if (set.empty()) {
    return reader.Refuse("unknown class in \\p{}; expected L, Lu, Ll, Lt, Lm, Lo, M, N, P, S, White_Space or Han");
  }
  reader.at += length + 1;
  return Escape{negated ? set.Complement() : set, std::nullopt};
}

// One bracketed class, without the negation of its head.
class ClassReader {
 public:
  explicit ClassReader(PatternReader& reader) : reader_(reader) {}

  absl::StatusOr<CharacterClass> Read(int depth) {
    if (depth > kMaxNestedClasses) return reader_.Refuse("classes nested too deeply");
    CharacterClass result;
    result.negated = reader_.TakeIf("^");
    if (reader_.Rest().starts_with(']')) return reader_.Refuse("empty class; write a literal ] as \\]");
    std::optional<CodePointSet> left;    // of &&
    std::vector<CodePointRange> ranges;  // joined once: a pattern has room for 20,000 of them
    const auto take_set = [&] {
      const CodePointSet set(std::move(ranges));
      ranges.clear();
      return left ? left->Intersection(set) : set;
    };
    while (!reader_.TakeIf("]")) {
      if (reader_.AtEnd()) return reader_.Refuse("expected ] at the end of a class");
      if (reader_.TakeIf("&&")) {
        left = take_set();
        continue;
      }
      absl::StatusOr<CodePointSet> item = ReadItem(depth);
      if (!item.ok()) return item.status();
      ranges.insert(ranges.end(), item->ranges().begin(), item->ranges().end());
    }
    result.set = take_set();
    return result;
  }

 private:
  absl::StatusOr<CodePointSet> ReadItem(int depth) {
    if (reader_.Rest().starts_with("[:")) return reader_.Refuse("[:name:] isn't supported; use \\p{}");
    if (reader_.TakeIf("[")) {
      absl::StatusOr<CharacterClass> nested = Read(depth + 1);
      if (!nested.ok()) return nested.status();
      return nested->negated ? nested->set.Complement() : nested->set;
    }
    absl::StatusOr<Escape> first = ReadCharacter();
    if (!first.ok()) return first.status();
    const bool range = reader_.Rest().starts_with('-') && !reader_.Rest().starts_with("-]");
    if (!range || !first->code_point) return first->set;
    ++reader_.at;
    absl::StatusOr<Escape> last = ReadCharacter();
    if (!last.ok()) return last.status();
    if (!last->code_point || *last->code_point < *first->code_point) return reader_.Refuse("bad range in a class");
    return CodePointSet({{*first->code_point, *last->code_point}});
  }

  absl::StatusOr<Escape> ReadCharacter() {
    if (reader_.TakeIf("\\")) return ReadEscape(reader_);
    if (reader_.AtEnd() || reader_.Rest()[0] == '[') return reader_.Refuse("expected a character in a class");
    return Single(reader_.TakeCodePoint());
  }

  PatternReader& reader_;
};

}  // namespace

bool PatternReader::TakeIf(std::string_view text) {
  if (!Rest().starts_with(text)) return false;
  at += text.size();
  return true;
}

uint32_t PatternReader::TakeCodePoint() {
  const Utf8Unit unit = NextUtf8Unit(Rest());
  at += unit.length;
  return unit.code_point;
}

absl::Status PatternReader::Refuse(std::string_view what) const {
  return absl::InvalidArgumentError(absl::StrFormat("regular expression, byte %d: %s", at, what));
}

absl::StatusOr<Escape> ReadEscape(PatternReader& reader) {
  if (reader.AtEnd()) return reader.Refuse("ends in a backslash");
  const uint32_t c = reader.TakeCodePoint();
  switch (c) {
    case 'n':
      return Single('\n');
    case 'r':
      return Single('\r');
    case 't':
      return Single('\t');
    case 'f':
      return Single('\f');
    case 'v':
      return Single('\v');
    case 'a':
      return Single('\a');
    case 'e':
      return Single(0x1B);
    case 'x':
      return reader.TakeIf("{") ? ReadBracedHex(reader) : ReadShortHex(reader);
    case 'u':
      return ReadHex(reader, 4, 4);
    case 'p':
      return ReadProperty(reader, false);
    case 'P':
      return ReadProperty(reader, true);
    case 's':
      return Escape{CodePointSet::OfClass("White_Space"), std::nullopt};
    case 'S':
      return Escape{CodePointSet::OfClass("White_Space").Complement(), std::nullopt};
    default:
      break;
  }
  if (IsAsciiAlphanumeric(c)) {
    return reader.Refuse(absl::StrFormat("escape \\%c isn't supported", static_cast<char>(c)));
  }
  return Single(c);
}

absl::StatusOr<CharacterClass> ReadCharacterClass(PatternReader& reader) { return ClassReader(reader).Read(0); }

}  // namespace latentd
