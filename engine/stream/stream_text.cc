#include "engine/stream/stream_text.h"

#include <utility>

namespace latentd {
namespace {

AnswerFormat FormatOf(const AnswerFormat& format, const AnswerRule& answer) {
  if (!answer.chat) return {};
  AnswerFormat parsed = format;
  if (!answer.chat->has_calls) parsed.tool_calls.reset();
  return parsed;
}

AnswerParser ParserOf(const AnswerFormat& format, const ChatAnswer& answer) {
  return {format, answer.starts_in_reasoning ? AnswerStart::kReasoning : AnswerStart::kContent, answer.calls_before};
}

}  // namespace

StreamText::StreamText(const Tokenizer* tokenizer, const AnswerFormat& format, const StoppingRule& stopping,
                       const AnswerRule& answer)
    : tokenizer_(tokenizer),
      format_(FormatOf(format, answer)),
      parser_(ParserOf(format_, answer.chat.value_or(ChatAnswer{}))),
      matcher_(stopping.stop_strings, stopping.include_stop ? StopText::kInclude : StopText::kExclude),
      min_tokens_(stopping.min_tokens) {
  const SpecialText special = answer.prints_special_tokens ? SpecialText::kPrint : SpecialText::kSkip;
  if (tokenizer != nullptr) detokenizer_.emplace(*tokenizer, special);
}

AnswerParts StreamText::Match(AnswerParts parts) {
  if (num_tokens_ <= min_tokens_) {
    parts.content = matcher_.Pass(parts.content);
    return parts;
  }
  StopMatcher::Output output = matcher_.Append(parts.content);
  found_ = output.stop;
  parts.content = std::move(output.text);
  return parts;
}

AnswerParts StreamText::Append(int32_t id) {
  if (!detokenizer_ || stopped()) return {};
  ++num_tokens_;
  const AnswerMarker marker = MarkerOf(format_, id);
  const bool was_reasoning = parser_.is_reasoning();
  AnswerParts parts;
  if (marker == AnswerMarker::kNone) {
    parser_.AppendText(detokenizer_->Append(id), parts);
  } else {
    // No character reaches over a marker.
    parser_.AppendText(detokenizer_->Flush(), parts);
    parser_.AppendMarker(marker, tokenizer_->TokenBytes(id), parts);
  }
  const bool is_switch = marker == AnswerMarker::kReasoningBegin || marker == AnswerMarker::kReasoningEnd;
  if (was_reasoning && parser_.is_reasoning() && !is_switch) ++reasoning_tokens_;
  return Match(std::move(parts));
}

AnswerParts StreamText::AppendStopToken(int32_t id) {
  const bool is_silent = detokenizer_ && !stopped() && tokenizer_->IsSpecial(id);
  if (!is_silent || MarkerOf(format_, id) != AnswerMarker::kNone) return Append(id);
  AnswerParts parts;
  ++num_tokens_;
  if (parser_.is_reasoning()) ++reasoning_tokens_;
  parser_.AppendText(detokenizer_->Flush() + std::string(tokenizer_->TokenBytes(id)), parts);
  return Match(std::move(parts));
}

AnswerParts StreamText::Finish() {
  if (!detokenizer_ || stopped()) return {};
  AnswerParts parts;
  parser_.AppendText(detokenizer_->Flush(), parts);
  parser_.Finish(parts);
  parts = Match(std::move(parts));
  if (!stopped()) parts.content += matcher_.Flush();
  return parts;
}

}  // namespace latentd
