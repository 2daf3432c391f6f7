// One chat template that can be rendered, and how it prints answers: found out once, when a model is loaded.
#pragma once

#include <memory>
#include <string>

#include "engine/text/chat/answer_style.h"
#include "engine/text/chat/tool_call_style.h"
#include "engine/text/tokenizer/tokenizer_config.h"
#include "jinja/chat_template.h"

namespace latentd {

struct ChatFormat {
  std::unique_ptr<const ChatTemplate> chat_template;  // none: no Chat
  ToolCallStyle tool_call_style;
  AnswerStyle answer_style;
  std::string why_no_template;  // empty: there is none to use
};

// bos_token and the like, where the model has them: the variables that every rendering has.
ChatTemplate::Context SpecialTokenVariables(const TokenizerConfig& config);

// `variables` are those of SpecialTokenVariables.
ChatFormat ChatFormatOf(ChatTemplate chat_template, const ChatTemplate::Context& variables);

}  // namespace latentd
