#include "engine/text/chat/chat_format.h"

#include <string_view>
#include <utility>

namespace latentd {

ChatTemplate::Context SpecialTokenVariables(const TokenizerConfig& config) {
  ChatTemplate::Context context;
  const auto set = [&](std::string_view name, const std::string& token) {
    if (!token.empty()) context.Set(name, jinja::Value::Text(token));
  };
  set("bos_token", config.bos_token);
  set("eos_token", config.eos_token);
  set("pad_token", config.pad_token);
  set("unk_token", config.unk_token);
  return context;
}

ChatFormat ChatFormatOf(ChatTemplate chat_template, const ChatTemplate::Context& variables) {
  ChatFormat format{.chat_template = std::make_unique<const ChatTemplate>(std::move(chat_template)),
                    .tool_call_style = {},
                    .answer_style = {},
                    .why_no_template = {}};
  format.tool_call_style = FindToolCallStyle(*format.chat_template, variables);
  format.answer_style = FindAnswerStyle(*format.chat_template, variables);
  return format;
}

}  // namespace latentd
