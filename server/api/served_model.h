// The one model that this process serves, as the services see it. Filled in at start, never changed.
#pragma once

#include <memory>

#include "engine/text/answer/answer_format.h"
#include "engine/text/chat/chat_format.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "latentd/v1/models.pb.h"

namespace latentd {

struct ServedModel {
  v1::Model description;                       // what GetModel answers; limits and sampling defaults are read from here
  std::unique_ptr<const Tokenizer> tokenizer;  // none: only token ids are served
  AnswerFormat answer_format;                  // of the tokenizer's vocabulary
  ChatFormat chat;
  ChatFormat tool_use;  // of conversations with tools, where the model has a template of that name, broken or not

  // The format for a conversation with that many tools: without a template where there is none for it.
  const ChatFormat& FormatFor(int num_tools) const {
    const bool has_tool_use = tool_use.chat_template != nullptr || !tool_use.why_no_template.empty();
    return num_tools > 0 && has_tool_use ? tool_use : chat;
  }
};

}  // namespace latentd
