#include "engine/stream_text.h"

namespace latentd {

StreamText::StreamText(const Tokenizer* tokenizer, const StoppingParameters& stopping)
    : tokenizer_(tokenizer),
      stops_(stopping.stop_strings),
      matcher_(stops_, stopping.include_stop ? StopText::kInclude : StopText::kExclude) {
  if (tokenizer != nullptr) detokenizer_.emplace(*tokenizer, SpecialText::kSkip);
}

std::string StreamText::Match(std::string_view text) {
  StopMatcher::Output output = matcher_.Append(text);
  found_ = output.stop;
  return std::move(output.text);
}

std::string StreamText::Append(int32_t id) {
  if (!detokenizer_ || stopped()) return {};
  return Match(detokenizer_->Append(id));
}

std::string StreamText::AppendStopToken(int32_t id) {
  if (!detokenizer_ || stopped() || !tokenizer_->IsSpecial(id)) return Append(id);
  std::string text = detokenizer_->Flush();
  text += tokenizer_->TokenBytes(id);
  return Match(text);
}

std::string StreamText::Finish() {
  if (!detokenizer_ || stopped()) return {};
  std::string text = Match(detokenizer_->Flush());
  if (!stopped()) text += matcher_.Flush();
  return text;
}

}  // namespace latentd
