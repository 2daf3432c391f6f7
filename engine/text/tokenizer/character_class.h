// The parts of an Oniguruma pattern that name sets of characters: escapes and bracketed classes. They are read into
// explicit code points, because what \p{L}, \s or a nested bracket means differs between regex libraries and versions.
#pragma once

#include <optional>
#include <string_view>

#include <absl/status/statusor.h>

#include "engine/text/tokenizer/code_point_set.h"

namespace latentd {

// Walks over a pattern, which must be valid UTF-8.
struct PatternReader {
  std::string_view pattern;
  size_t at = 0;

  bool AtEnd() const { return at >= pattern.size(); }
  std::string_view Rest() const { return pattern.substr(at); }
  bool TakeIf(std::string_view text);  // steps over `text` if it stands here
  uint32_t TakeCodePoint();            // not at the end
  absl::Status Refuse(std::string_view what) const;
};

struct Escape {
  CodePointSet set;
  std::optional<uint32_t> code_point;  // set when the escape stands for one character
};

// The reader stands behind the backslash.
absl::StatusOr<Escape> ReadEscape(PatternReader& reader);

struct CharacterClass {
  CodePointSet set;
  bool negated = false;
};

// The reader stands behind the opening bracket.
absl::StatusOr<CharacterClass> ReadCharacterClass(PatternReader& reader);

}  // namespace latentd
