// One Split stage of a pre-tokenizer: cuts pieces at the matches of a pattern. Constant after construction.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/text/tokenizer/regex.h"

namespace latentd {

enum class SplitBehavior : uint8_t { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

struct SplitStage {
  enum class PatternKind : uint8_t { kRegex, kLiteral };
  PatternKind kind = PatternKind::kRegex;
  std::string pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // the text between two matches counts as the match
};

class Splitter {
 public:
  static absl::StatusOr<Splitter> Create(const SplitStage& stage);

  // Appends the parts of each piece, in order; nothing empty. Pieces must be valid UTF-8 and not empty.
  absl::Status Split(std::span<const std::string_view> pieces, std::vector<std::string_view>& out) const;

 private:
  Splitter(Regex regex, SplitBehavior behavior, bool invert)
      : regex_(std::move(regex)), behavior_(behavior), invert_(invert) {}

  Regex regex_;
  SplitBehavior behavior_;
  bool invert_;
};

}  // namespace latentd
