#include "engine/text/tokenizer/splitter.h"

#include <algorithm>

#include "base/interruption.h"
#include "base/utf8.h"
#include "engine/text/tokenizer/regex_dialect.h"

namespace latentd {
namespace {

struct Cut {
  size_t begin = 0;
  size_t end = 0;
  bool is_match = false;
};

// Matches and the gaps between them, in order. An empty match cuts too, but not directly behind another match.
absl::Status FindCuts(const Regex& regex, std::string_view piece, std::vector<Cut>& cuts) {
  size_t covered = 0;  // the end of the last match
  bool any_match = false;
  for (size_t at = 0; at < piece.size();) {
    if (IsInterrupted()) return Interrupted();
    const absl::StatusOr<std::optional<Regex::Match>> found = regex.Find(piece, at);
    if (!found.ok()) return found.status();
    if (!*found) break;
    const auto [begin, end] = **found;
    if (begin == end && any_match && covered == end) {
      at += NextUtf8Unit(piece.substr(at)).length;
      continue;
    }
    if (covered != begin) cuts.push_back({covered, begin, false});
    cuts.push_back({begin, end, true});
    covered = at = end;
    any_match = true;
  }
  if (covered != piece.size()) cuts.push_back({covered, piece.size(), false});
  return absl::OkStatus();
}

// Contiguous joins runs of equal kind; otherwise a match joins the cut before it, but no second match in a row does.
void MergeCuts(SplitBehavior behavior, std::vector<Cut>& cuts) {
  std::vector<Cut> merged;
  bool previous_match = false;
  for (const Cut& cut : cuts) {
    const bool joins =
        behavior == SplitBehavior::kContiguous ? cut.is_match == previous_match : cut.is_match && !previous_match;
    previous_match = cut.is_match;
    if (joins && !merged.empty()) {
      merged.back().begin = std::min(merged.back().begin, cut.begin);
      merged.back().end = std::max(merged.back().end, cut.end);
    } else {
      merged.push_back(cut);
    }
  }
  cuts = std::move(merged);
}

void ApplyBehavior(SplitBehavior behavior, std::vector<Cut>& cuts) {
  switch (behavior) {
    case SplitBehavior::kIsolated:
      break;
    case SplitBehavior::kRemoved:
      std::erase_if(cuts, [](const Cut& cut) { return cut.is_match; });
      break;
    case SplitBehavior::kContiguous:
    case SplitBehavior::kMergedWithPrevious:
      MergeCuts(behavior, cuts);
      break;
    case SplitBehavior::kMergedWithNext:
      // The mirror image of merging with the previous one.
      std::reverse(cuts.begin(), cuts.end());
      MergeCuts(behavior, cuts);
      std::reverse(cuts.begin(), cuts.end());
      break;
  }
}

}  // namespace

absl::StatusOr<Splitter> Splitter::Create(const SplitStage& stage) {
  const absl::StatusOr<std::string> pattern =
      stage.kind == SplitStage::PatternKind::kRegex ? TranslateRegex(stage.pattern) : LiteralRegex(stage.pattern);
  if (!pattern.ok()) return pattern.status();
  absl::StatusOr<Regex> regex = Regex::Compile(*pattern);
  if (!regex.ok()) return regex.status();
  return Splitter(*std::move(regex), stage.behavior, stage.invert);
}

absl::Status Splitter::Split(std::span<const std::string_view> pieces, std::vector<std::string_view>& out) const {
  std::vector<Cut> cuts;
  for (const std::string_view piece : pieces) {
    cuts.clear();
    const absl::Status status = FindCuts(regex_, piece, cuts);
    if (!status.ok()) return status;
    if (invert_) {
      for (Cut& cut : cuts) cut.is_match = !cut.is_match;
    }
    ApplyBehavior(behavior_, cuts);
    for (const Cut& cut : cuts) {
      if (cut.begin < cut.end) out.push_back(piece.substr(cut.begin, cut.end - cut.begin));
    }
  }
  return absl::OkStatus();
}

}  // namespace latentd
