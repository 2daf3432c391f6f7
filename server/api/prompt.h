// Prompts as token ids: text through the tokenizer, messages through the model's chat template and then the tokenizer.
// Runs on the threads of the work pool.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/statusor.h>

#include "latentd/v1/generation.pb.h"
#include "server/api/request_validation.h"
#include "server/api/served_model.h"

namespace latentd {

enum class BeginOfSequence { kAdd, kOmit };  // kAdd: where the model's tokenizer configuration says so

struct TextEncoding {
  BeginOfSequence begin = BeginOfSequence::kAdd;
  SpecialTokens special_tokens = SpecialTokens::kRecognize;
};
// As GenerateRequest, ScoreRequest or TokenizeRequest says.
template <class Message>
TextEncoding EncodingOf(const Message& request) {
  const bool omits = request.has_add_special_tokens() && !request.add_special_tokens();
  return {.begin = omits ? BeginOfSequence::kOmit : BeginOfSequence::kAdd,
          .special_tokens = request.safe_mode() ? SpecialTokens::kAsText : SpecialTokens::kRecognize};
}

// `field` is to blame for what is wrong with the text.
absl::StatusOr<EncodedPrompt> EncodeText(std::string_view field, std::string_view text, TextEncoding encoding,
                                         const ServedModel& model);

// Generate's and Score's prompts, which CheckFields passed.
absl::StatusOr<EncodedPrompt> EncodePrompt(const v1::GenerateRequest& request, const ServedModel& model);
absl::StatusOr<EncodedPrompt> EncodePrompt(const v1::ScoreRequest& request, const ServedModel& model);

struct ChatPrompt {
  std::string rendered;
  EncodedPrompt prompt;
};
// For input that CheckFields passed. `prefix` is its path from the request's root: "" or "chat.".
absl::StatusOr<ChatPrompt> EncodeChat(const v1::ChatInput& chat, std::string_view prefix, const ServedModel& model);
v1::ChatInput ChatInputOf(const v1::ChatRequest& request);

}  // namespace latentd
