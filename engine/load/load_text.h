// The texts' part of a model's directory: its tokenizer and its chat templates.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/load/load_options.h"
#include "engine/model/config/model_config.h"
#include "engine/text/answer/answer_format.h"
#include "engine/text/chat/chat_format.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace latentd {

struct ModelText {
  std::unique_ptr<const Tokenizer> tokenizer;  // none: only token ids are served
  AnswerFormat answer_format;                  // of the tokenizer's vocabulary
  ChatFormat chat;
  ChatFormat tool_use;  // of conversations with tools, where the model has a template of that name, broken or not
  std::vector<std::string> warnings;
};

// Without a tokenizer token ids are served, and without a chat template everything but Chat: what is not there, or
// cannot be used, is a warning each. An error keeps the model from being served.
absl::StatusOr<ModelText> LoadText(const LoadOptions& options);

// Adds the ends that the tokenizer, if any, and the option eos_token_ids name: vLLM and SGLang end at what any of the
// files names. INVALID_ARGUMENT where the option has anything but ids of the vocabulary.
absl::Status AddEosIds(const LoadOptions& options, const Tokenizer* tokenizer, ModelConfig& config);

}  // namespace latentd
