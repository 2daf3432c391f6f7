// The variables that a chat template sees: what a caller of Hugging Face's apply_chat_template would give, made of
// what a request says. Runs on the pool's threads.
#pragma once

#include <array>
#include <string_view>

#include "jinja/chat_template.h"
#include "latentd/v1/generation.pb.h"
#include "server/api/served_model.h"

namespace latentd {

// The names in use for the options; each that a template reads gets the value.
inline constexpr std::array<std::string_view, 2> kThinkingVariables = {"thinking", "enable_thinking"};
inline constexpr std::array<std::string_view, 1> kEffortVariables = {"reasoning_effort"};
// What a request's own variables may not replace.
inline constexpr std::array<std::string_view, 7> kServersVariables = {
    "messages", "tools", "add_generation_prompt", "bos_token", "eos_token", "pad_token", "unk_token"};

// tool_choice is NONE: the template sees no tools and the answer has no calls. For v1::ChatRequest and v1::ChatInput.
template <class Input>
bool ForbidsCalls(const Input& chat) {
  return chat.tool_choice().mode() == v1::TOOL_CHOICE_MODE_NONE;
}

// Whether the message has a text beside its calls.
bool HasContent(const v1::ChatMessage& message);

// For input that both checks of server/api/chat_checks.h passed. In safe mode the texts that came with the request are
// marked as such; the roles, which are among a few known words, are not.
ChatTemplate::Context ChatContext(const v1::ChatInput& chat, const ServedModel& model);

}  // namespace latentd
