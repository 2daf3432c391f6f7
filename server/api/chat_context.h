// The variables that a chat template sees: what a caller of Hugging Face's apply_chat_template would give, made of
// what a request says. Runs on the pool's threads.
#pragma once

#include "jinja/chat_template.h"
#include "latentd/v1/generation.pb.h"
#include "server/api/chat_words.h"
#include "server/api/served_model.h"

namespace latentd {

// For input that both checks of server/api/chat_checks.h passed. In safe mode the texts that came with the request are
// marked as such; the roles, which are among a few known words, are not.
ChatTemplate::Context ChatContext(const v1::ChatInput& chat, const ServedModel& model);

}  // namespace latentd
