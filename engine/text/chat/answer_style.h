// A template's way with reasoning in answers, found out by rendering small conversations with it. The same template
// always gives the same answer.
#pragma once

#include <string_view>

#include "jinja/chat_template.h"

namespace latentd {

// As templates write them.
inline constexpr std::string_view kReasoningBeginText = "<think>", kReasoningEndText = "</think>";

struct AnswerStyle {
  // An answer begins with its reasoning where the prompt neither opens nor closes it. So it is with R1, whose prompts
  // open the reasoning or leave that to the model, and with Kimi-K2-Thinking and GLM-4.6, whose past answers all begin
  // with some. A prompt of V3.1, which has a mode without reasoning, says what it wants or goes on with an answer.
  bool begins_with_reasoning = false;
  // A past answer's content is rendered without the part before the end of its reasoning.
  bool cuts_reasoning = false;
};

// `variables` are those that every rendering has, such as bos_token.
AnswerStyle FindAnswerStyle(const ChatTemplate& chat_template, const ChatTemplate::Context& variables);

}  // namespace latentd
