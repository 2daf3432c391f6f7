// What can be wrong with the messages, tools and template options of Chat and Tokenize: first of itself, then for the
// served model's chat template, which would leave out in silence what it does not know. Runs on the pool's threads.
#pragma once

#include <string_view>

#include "latentd/v1/generation.pb.h"
#include "server/api/chat_words.h"
#include "server/api/field_checks.h"
#include "server/api/served_model.h"

namespace latentd {

// Input is v1::ChatRequest or v1::ChatInput; `prefix` is its path from the request's root: "" or "chat.".
template <class Input>
void CheckChat(const Input& chat, std::string_view prefix, FieldChecks& checks);

// For input that CheckChat found nothing wrong with, and a model with a chat template.
void CheckTemplateKnows(const v1::ChatInput& chat, std::string_view prefix, const ServedModel& model,
                        FieldChecks& checks);

}  // namespace latentd
