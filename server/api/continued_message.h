// A chat whose last message is left open, so that the answer goes on with it: what transformers' apply_chat_template
// does with continue_final_message. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/status.h>

#include "jinja/traced_text.h"
#include "latentd/v1/generation.pb.h"

namespace latentd {

// The content, or its last part, with a mark behind it that a template prints along with it.
std::string WithOpenEnd(std::string_view content);

// Ends the prompt where the mark stands. INVALID_FIELD where the template does not print the content as it is.
// `content` is the text that WithOpenEnd got.
absl::Status EndAtOpenEnd(std::string_view field, std::string_view content, jinja::TracedText& prompt);

// The text that is continued, of a message that was found to have a content.
const std::string& ContinuedText(const v1::ChatMessage& message);

}  // namespace latentd
