#include "engine/text/answer/answer_parser.h"

#include <utility>

#include "base/white_space.h"

namespace latentd {
namespace {

// Most bytes that are held back for a call that may come: names are far shorter, so past this there is none.
constexpr size_t kMaxHeldBytes = kMaxCallNameBytes;

}  // namespace

AnswerParser::AnswerParser(const AnswerFormat& format, AnswerStart start, int calls_before)
    : syntax_(format.tool_calls ? format.tool_calls->syntax : ToolCallSyntax::kDeepSeek),
      calls_before_(calls_before),
      state_(start == AnswerStart::kReasoning ? State::kReasoning : State::kContent),
      awaits_begin_(start == AnswerStart::kReasoning) {}

void AnswerParser::AppendText(std::string_view text, AnswerParts& parts) {
  switch (state_) {
    case State::kContent:
      parts.content += text;
      return;
    case State::kReasoning:
      parts.reasoning += text;
      awaits_begin_ = awaits_begin_ && IsWhiteSpace(text);
      return;
    case State::kBetween:
    case State::kHeader:
      return AppendHeld(text, parts);
    case State::kPrelude:
      return AppendPrelude(text, parts);
    case State::kArguments:
      return AppendArguments(arguments_->Append(text), parts);
  }
}

void AnswerParser::AppendMarker(AnswerMarker marker, std::string_view text, AnswerParts& parts) {
  switch (marker) {
    case AnswerMarker::kNone:
      return AppendText(text, parts);
    case AnswerMarker::kReasoningBegin:
      return BeginReasoning(text, parts);
    case AnswerMarker::kReasoningEnd:
      return EndReasoning(text, parts);
    case AnswerMarker::kSectionBegin:
      return BeginSection(text, parts);
    case AnswerMarker::kSectionEnd:
      return EndSection(text, parts);
    case AnswerMarker::kCallBegin:
      return BeginCall(text, parts);
    case AnswerMarker::kCallEnd:
      return EndCall(text, parts);
    case AnswerMarker::kSeparator:
      return Separate(text, parts);
  }
}

void AnswerParser::Finish(AnswerParts& parts) {
  if (state_ == State::kArguments) {
    AppendArguments(arguments_->CutOff(), parts);
    state_ = State::kContent;
  }
  Release(parts);
}

void AnswerParser::AppendHeld(std::string_view text, AnswerParts& parts) {
  held_ += text;
  const bool may_be_call = state_ != State::kBetween || IsWhiteSpace(text);
  if (!may_be_call || held_.size() > kMaxHeldBytes) Release(parts);
}

void AnswerParser::AppendPrelude(std::string_view text, AnswerParts& parts) {
  const size_t brace = text.find('{');
  if (brace == std::string_view::npos) return AppendHeld(text, parts);
  held_ += text.substr(0, brace + 1);
  if (held_.size() <= kMaxHeldBytes && Open(ReadDeepSeekOpening(Header(), Prelude()), parts)) {
    AppendArguments(arguments_->Append(text.substr(brace)), parts);
  } else {
    Release(parts);
    parts.content += text.substr(brace + 1);
  }
}

void AnswerParser::AppendArguments(std::string text, AnswerParts& parts) {
  if (text.empty()) return;
  AppendFragments({{.index = num_calls_ - 1, .arguments = std::move(text)}}, parts.tool_calls);
}

void AnswerParser::Release(AnswerParts& parts) {
  parts.content += std::exchange(held_, {});
  state_ = State::kContent;
}

void AnswerParser::Hold(State state, std::string_view text) {
  held_ += text;
  state_ = state;
}

void AnswerParser::BeginReasoning(std::string_view text, AnswerParts& parts) {
  if (state_ == State::kArguments) return AppendText(text, parts);
  if (state_ == State::kReasoning && !std::exchange(awaits_begin_, false)) return AppendText(text, parts);
  Release(parts);
  state_ = State::kReasoning;
}

void AnswerParser::EndReasoning(std::string_view text, AnswerParts& parts) {
  if (state_ == State::kArguments) return AppendText(text, parts);
  const bool ends_nothing = state_ != State::kReasoning;
  Release(parts);
  if (ends_nothing) AppendText(text, parts);
}

void AnswerParser::BeginSection(std::string_view text, AnswerParts& parts) {
  if (state_ == State::kArguments) EndArguments(parts);
  Release(parts);
  Hold(State::kBetween, text);
}

void AnswerParser::EndSection(std::string_view text, AnswerParts& parts) {
  if (state_ == State::kReasoning) return AppendText(text, parts);
  if (state_ == State::kArguments) EndArguments(parts);
  const bool closes = is_in_section_ && IsWhiteSpace(held_);
  if (closes) {
    held_.clear();
    is_in_section_ = false;
  } else {
    held_ += text;
  }
  Release(parts);
}

void AnswerParser::BeginCall(std::string_view text, AnswerParts& parts) {
  if (state_ == State::kArguments) EndArguments(parts);
  if (state_ != State::kBetween) Release(parts);
  Hold(State::kHeader, text);
  header_begin_ = held_.size();
}

void AnswerParser::EndCall(std::string_view text, AnswerParts& parts) {
  if (state_ == State::kReasoning) return AppendText(text, parts);
  if (state_ == State::kPrelude) Open(ReadDeepSeekOpening(Header(), Prelude()), parts);
  if (state_ == State::kArguments) {
    EndArguments(parts);
    state_ = State::kBetween;
  } else {
    held_ += text;
    Release(parts);
  }
}

void AnswerParser::Separate(std::string_view text, AnswerParts& parts) {
  if (state_ == State::kReasoning || state_ == State::kArguments) return AppendText(text, parts);
  const bool is_in_place = state_ == State::kHeader;
  header_end_ = held_.size();
  held_ += text;
  if (is_in_place && syntax_ == ToolCallSyntax::kDeepSeek) {
    prelude_begin_ = held_.size();
    state_ = State::kPrelude;
  } else if (!is_in_place || !Open(ReadKimiOpening(Header()), parts)) {
    Release(parts);
  }
}

bool AnswerParser::Open(const std::optional<ToolCallOpening>& opening, AnswerParts& parts) {
  if (!opening || num_calls_ == kMaxAnswerCalls) return false;
  ToolCallFragment& call = parts.tool_calls.emplace_back();
  call.index = num_calls_;
  call.id = opening->id.empty() ? "call_" + std::to_string(calls_before_ + num_calls_) : opening->id;
  call.name = opening->name;
  ++num_calls_;
  arguments_.emplace(opening->fence);
  held_.clear();
  is_in_section_ = true;
  state_ = State::kArguments;
  return true;
}

void AnswerParser::EndArguments(AnswerParts& parts) {
  AppendArguments(arguments_->End(), parts);
  state_ = State::kContent;
}

std::string_view AnswerParser::Header() const {
  return std::string_view(held_).substr(header_begin_, header_end_ - header_begin_);
}

}  // namespace latentd
