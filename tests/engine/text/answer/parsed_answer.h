// A whole answer as its client collects it, in one line of a test.
#pragma once

#include <string>
#include <utility>

#include <absl/strings/str_format.h>
#include <gtest/gtest.h>

#include "engine/text/answer/answer_parts.h"

namespace latentd {

// Adds what follows in the stream, which begins each call with its name and goes on with the last one only.
inline void Collect(AnswerParts newer, AnswerParts& whole) {
  whole.content += newer.content;
  whole.reasoning += newer.reasoning;
  int num_calls = static_cast<int>(whole.tool_calls.size());
  for (const ToolCallFragment& call : newer.tool_calls) {
    if (!call.name.empty()) ++num_calls;
    EXPECT_EQ(call.index, num_calls - 1);
    EXPECT_EQ(call.id.empty(), call.name.empty());
  }
  AppendFragments(std::move(newer.tool_calls), whole.tool_calls);
}

// (reasoning)content, then ID=NAME:ARGUMENTS of each call between bars.
inline std::string Said(const AnswerParts& whole) {
  std::string text = whole.reasoning.empty() ? "" : "(" + whole.reasoning + ")";
  text += whole.content;
  for (const ToolCallFragment& call : whole.tool_calls) {
    text += absl::StrFormat("|%s=%s:%s|", call.id, call.name, call.arguments);
  }
  return text;
}

}  // namespace latentd
