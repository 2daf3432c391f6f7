#include "engine/text/tokenizer/pre_tokenizer.h"

namespace latentd {
namespace {

constexpr const char* kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

void PrefixSpaces(std::vector<std::string_view>& pieces, std::deque<std::string>& prefixed) {
  for (std::string_view& piece : pieces) {
    if (!piece.starts_with(' ')) piece = prefixed.emplace_back(" ").append(piece);
  }
}

}  // namespace

absl::Status PreTokenizer::Add(const SplitStage& stage) {
  keeps_all_text_ = keeps_all_text_ && stage.behavior != SplitBehavior::kRemoved;
  absl::StatusOr<Splitter> splitter = Splitter::Create(stage);
  if (splitter.ok()) steps_.emplace_back(*std::move(splitter));
  return splitter.status();
}

absl::Status PreTokenizer::Add(const DigitsStage& stage) {
  return Add(SplitStage{.pattern = R"(\p{N})",
                        .behavior = stage.individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous});
}

absl::Status PreTokenizer::Add(const ByteLevelStage& stage) {
  if (stage.add_prefix_space) steps_.emplace_back(PrefixSpace{});
  return stage.use_regex ? Add(SplitStage{.pattern = kGpt2Pattern}) : absl::OkStatus();
}

absl::StatusOr<PreTokenizer> PreTokenizer::Create(const std::vector<PreTokenizerStage>& stages) {
  PreTokenizer result;
  for (const PreTokenizerStage& any_stage : stages) {
    const absl::Status status = std::visit([&](const auto& stage) { return result.Add(stage); }, any_stage);
    if (!status.ok()) return status;
  }
  return result;
}

absl::StatusOr<Pieces> PreTokenizer::Split(std::string_view text) const {
  Pieces pieces;
  if (!text.empty()) pieces.views.push_back(text);
  std::vector<std::string_view> next;
  for (const Step& step : steps_) {
    const auto* splitter = std::get_if<Splitter>(&step);
    if (splitter == nullptr) {
      PrefixSpaces(pieces.views, pieces.prefixed);
      continue;
    }
    next.clear();
    const absl::Status status = splitter->Split(pieces.views, next);
    if (!status.ok()) return status;
    std::swap(pieces.views, next);
  }
  return pieces;
}

}  // namespace latentd
