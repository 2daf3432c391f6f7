// The tokens that structure a model's answer: those around its reasoning and around its tool calls. Found among the
// added tokens of the vocabulary, never from a model's name. Plain constants, for every thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "engine/text/tokenizer/tokenizer.h"

namespace latentd {

struct ReasoningMarkers {
  int32_t begin = -1;
  int32_t end = -1;
};

// How a call names its function: tool_call_opening.h.
enum class ToolCallSyntax : uint8_t { kDeepSeek, kKimi };

struct ToolCallMarkers {
  ToolCallSyntax syntax = ToolCallSyntax::kDeepSeek;
  int32_t section_begin = -1;  // around all calls
  int32_t section_end = -1;
  int32_t call_begin = -1;
  int32_t call_end = -1;
  int32_t separator = -1;
};

struct AnswerFormat {
  std::optional<ReasoningMarkers> reasoning;  // none: the vocabulary lacks them
  std::optional<ToolCallMarkers> tool_calls;
};

AnswerFormat FindAnswerFormat(const Tokenizer& tokenizer);

// The role of a token in the structure of an answer.
enum class AnswerMarker : uint8_t {
  kNone,
  kReasoningBegin,
  kReasoningEnd,
  kSectionBegin,
  kSectionEnd,
  kCallBegin,
  kCallEnd,
  kSeparator,
};

AnswerMarker MarkerOf(const AnswerFormat& format, int32_t id);

// The part that the first token of an answer belongs to.
enum class AnswerStart : uint8_t { kContent, kReasoning };

// What the prompt says where it ends in a token that begins or ends reasoning, with or without white space behind it,
// as templates write it. Else, in a vocabulary that has them, `untold`.
AnswerStart AnswerStartOf(const AnswerFormat& format, const Tokenizer& tokenizer, std::span<const int32_t> prompt_ids,
                          AnswerStart untold = AnswerStart::kContent);

}  // namespace latentd
