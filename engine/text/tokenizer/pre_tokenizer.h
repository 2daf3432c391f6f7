// Cuts text into the pieces that BPE then works on, one stage after another, as a tokenizer.json describes it.
// Constant after construction: any number of threads may split at once.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/text/tokenizer/splitter.h"

namespace latentd {

struct DigitsStage {
  bool individual = false;
};

struct ByteLevelStage {
  bool add_prefix_space = false;
  bool use_regex = true;  // split as GPT-2 did
};

using PreTokenizerStage = std::variant<SplitStage, DigitsStage, ByteLevelStage>;

struct Pieces {
  std::vector<std::string_view> views;  // into the text, or into `prefixed`
  std::deque<std::string> prefixed;     // pieces that a stage put a blank before
};

class PreTokenizer {
 public:
  static absl::StatusOr<PreTokenizer> Create(const std::vector<PreTokenizerStage>& stages);

  // `text` must be valid UTF-8 and outlive the pieces. No piece is empty. A stage works on every piece that the stages
  // before it left, and looks at nothing outside of it.
  absl::StatusOr<Pieces> Split(std::string_view text) const;
  // Whether all of the text is in the pieces: some stages remove what matches.
  bool keeps_all_text() const { return keeps_all_text_; }

 private:
  struct PrefixSpace {};
  using Step = std::variant<Splitter, PrefixSpace>;

  PreTokenizer() = default;
  absl::Status Add(const SplitStage& stage);
  absl::Status Add(const DigitsStage& stage);
  absl::Status Add(const ByteLevelStage& stage);

  std::vector<Step> steps_;
  bool keeps_all_text_ = true;
};

}  // namespace latentd
