// Answers that come back as history and that a template would not print as the model wrote them. Marks go through the
// template with their texts and are taken out of the prompt again, with what the template wrote and the model did not:
//
// - A text beside calls where the template prints either: it is given as two messages, and the end of the one and the
//   header of the other vanish.
// - A </think> in the content of a message that gives its reasoning, which may be empty, by name: it is text, and ends
//   no reasoning that the template would leave out.
//
// Runs where prompts are made.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/status.h>

#include "jinja/traced_text.h"
#include "latentd/v1/generation.pb.h"
#include "server/api/served_model.h"

namespace latentd {

// Whether the message is given as two.
bool IsSplit(const v1::ChatMessage& message, const ChatFormat& format);
std::string WithMarkedEnd(std::string_view text);    // of the first message's content
std::string WithMarkedBegin(std::string_view name);  // of the second message's first call

// Whether a content keeps each </think>.
bool KeepsReasoningEnds(const v1::ChatMessage& message, const ChatFormat& format);
// What marks them: a character that no </think> of the request has there already. Were all 30 that may be there, a text
// would lose its own, and the request be refused as one that did not arrive. Empty where no message keeps any.
std::string ReasoningEndMark(const v1::ChatInput& chat, const ChatFormat& format);
std::string WithMarkedReasoningEnds(std::string_view text, std::string_view mark);

// `messages` is the field to blame.
absl::Status RemoveMarks(std::string_view messages, const v1::ChatInput& chat, const ChatFormat& format,
                         jinja::TracedText& prompt);

}  // namespace latentd
