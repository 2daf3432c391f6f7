// The words and limits of a conversation's input that its checks, its marks and a template's variables share.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "latentd/v1/generation.pb.h"

namespace latentd {

inline constexpr int kMaxJsonDepth = 64;
// And names, of all tools and variables of a request together. A value takes a hundred bytes where its text has two.
inline constexpr size_t kMaxJsonValues = 65'536;

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

}  // namespace latentd
