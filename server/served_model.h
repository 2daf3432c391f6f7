// The one model that this process serves, as the services see it. Filled in at start, never changed.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/text/answer_format.h"
#include "engine/text/template/chat_template.h"
#include "engine/text/template/tool_call_style.h"
#include "engine/text/tokenizer.h"
#include "latentd/v1/models.pb.h"

namespace latentd {

struct ServedModel {
  v1::Model description;                       // what GetModel answers; limits and sampling defaults are read from here
  std::unique_ptr<const Tokenizer> tokenizer;  // none: only token ids are served
  AnswerFormat answer_format;                  // of the tokenizer's vocabulary
  std::unique_ptr<const ChatTemplate> chat_template;  // none: no Chat
  ToolCallStyle tool_call_style;                      // of the chat template
};

}  // namespace latentd
