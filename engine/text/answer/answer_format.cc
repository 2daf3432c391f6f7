#include "engine/text/answer/answer_format.h"

#include <array>
#include <string_view>

#include "base/white_space.h"

namespace latentd {
namespace {

struct ToolCallNames {
  ToolCallSyntax syntax;
  std::string_view section_begin, section_end, call_begin, call_end, separator;
};

constexpr std::array<ToolCallNames, 2> kToolCallNames = {{{.syntax = ToolCallSyntax::kDeepSeek,
                                                           .section_begin = "<｜tool▁calls▁begin｜>",
                                                           .section_end = "<｜tool▁calls▁end｜>",
                                                           .call_begin = "<｜tool▁call▁begin｜>",
                                                           .call_end = "<｜tool▁call▁end｜>",
                                                           .separator = "<｜tool▁sep｜>"},
                                                          {.syntax = ToolCallSyntax::kKimi,
                                                           .section_begin = "<|tool_calls_section_begin|>",
                                                           .section_end = "<|tool_calls_section_end|>",
                                                           .call_begin = "<|tool_call_begin|>",
                                                           .call_end = "<|tool_call_end|>",
                                                           .separator = "<|tool_call_argument_begin|>"}}};

std::optional<ReasoningMarkers> FindReasoning(const Tokenizer& tokenizer) {
  const std::optional<int32_t> begin = tokenizer.IdOf("<think>"), end = tokenizer.IdOf("</think>");
  if (!begin || !end) return std::nullopt;
  return ReasoningMarkers{.begin = *begin, .end = *end};
}

// All of one family or none: half a syntax can't be parsed.
std::optional<ToolCallMarkers> FindToolCalls(const Tokenizer& tokenizer, const ToolCallNames& names) {
  const auto section_begin = tokenizer.IdOf(names.section_begin), section_end = tokenizer.IdOf(names.section_end);
  const auto call_begin = tokenizer.IdOf(names.call_begin), call_end = tokenizer.IdOf(names.call_end);
  const auto separator = tokenizer.IdOf(names.separator);
  if (!section_begin || !section_end || !call_begin || !call_end || !separator) return std::nullopt;
  return ToolCallMarkers{.syntax = names.syntax,
                         .section_begin = *section_begin,
                         .section_end = *section_end,
                         .call_begin = *call_begin,
                         .call_end = *call_end,
                         .separator = *separator};
}

}  // namespace

AnswerFormat FindAnswerFormat(const Tokenizer& tokenizer) {
  AnswerFormat format{.reasoning = FindReasoning(tokenizer), .tool_calls = {}};
  for (const ToolCallNames& names : kToolCallNames) {
    if (!format.tool_calls) format.tool_calls = FindToolCalls(tokenizer, names);
  }
  return format;
}

AnswerMarker MarkerOf(const AnswerFormat& format, int32_t id) {
  if (format.reasoning) {
    if (id == format.reasoning->begin) return AnswerMarker::kReasoningBegin;
    if (id == format.reasoning->end) return AnswerMarker::kReasoningEnd;
  }
  if (format.tool_calls) {
    const ToolCallMarkers& calls = *format.tool_calls;
    if (id == calls.section_begin) return AnswerMarker::kSectionBegin;
    if (id == calls.section_end) return AnswerMarker::kSectionEnd;
    if (id == calls.call_begin) return AnswerMarker::kCallBegin;
    if (id == calls.call_end) return AnswerMarker::kCallEnd;
    if (id == calls.separator) return AnswerMarker::kSeparator;
  }
  return AnswerMarker::kNone;
}

AnswerStart AnswerStartOf(const AnswerFormat& format, const Tokenizer& tokenizer, std::span<const int32_t> prompt_ids,
                          AnswerStart untold) {
  if (!format.reasoning) return AnswerStart::kContent;
  while (!prompt_ids.empty()) {
    const int32_t last = prompt_ids.back();
    if (last == format.reasoning->begin) return AnswerStart::kReasoning;
    if (last == format.reasoning->end) return AnswerStart::kContent;
    const std::string_view bytes = tokenizer.TokenBytes(last);
    if (bytes.empty() || !IsWhiteSpace(bytes)) break;
    prompt_ids = prompt_ids.first(prompt_ids.size() - 1);
  }
  return untold;
}

}  // namespace latentd
