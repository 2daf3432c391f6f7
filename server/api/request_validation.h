// From what a client sent to what the engine runs: ranges, defaults, features that are not there yet. Pure functions of
// the message and the model; the prompt is encoded before (server/api/prompt.h), since its length decides too.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/request.h"
#include "latentd/v1/generation.pb.h"
#include "latentd/v1/models.pb.h"

namespace latentd {

struct ServedModel;

// Which parts of its answer the client wants to see.
struct OutputChoice {
  bool text = true;
  bool token_ids = false;
  bool token_bytes = false;
  bool logprobs = false;
};

struct ValidRequest {
  Request request;  // id still 0
  OutputChoice output;
  std::string request_id;  // empty: the server makes one
  v1::Sampling sampling;   // every default resolved
  v1::Stopping stopping;
};

// What the prompt turned into, and the field to blame if it is too long.
struct EncodedPrompt {
  std::string field;
  std::vector<int32_t> ids;
};

// All but the prompt: cheap, so that a wrong field is refused before anything is encoded.
absl::Status CheckFields(const v1::GenerateRequest& request, const v1::Model& model);
absl::Status CheckFields(const v1::ChatRequest& request, const v1::Model& model);
absl::Status CheckFields(const v1::ScoreRequest& request, const v1::Model& model);
absl::Status CheckFields(const v1::TokenizeRequest& request, const v1::Model& model);
absl::Status CheckFields(const v1::DetokenizeRequest& request, const v1::Model& model);
absl::Status CheckFields(const v1::GetModelRequest& request, const v1::Model& model);
// That masks leave something to draw, by the model's own tokens. For groups that CheckFields passed.
absl::Status CheckMasks(const v1::GenerateRequest& groups, const ServedModel& model);

// For a message that CheckFields passed. `received` is when the RPC arrived; its own deadline is not in the message.
absl::StatusOr<ValidRequest> MakeRequest(const v1::GenerateRequest& message, const v1::Model& model,
                                         EncodedPrompt prompt, TimePoint received);
absl::StatusOr<ValidRequest> MakeRequest(const v1::ScoreRequest& message, const v1::Model& model, EncodedPrompt prompt,
                                         TimePoint received);

// How the answer to this conversation, which became `prompt_ids`, is to be parsed.
ChatAnswer ChatAnswerOf(const v1::ChatRequest& message, std::span<const int32_t> prompt_ids, const ServedModel& model);

// All that Chat shares with Generate, under the same names, so that the same errors name the same fields.
v1::GenerateRequest GroupsOf(const v1::ChatRequest& request);

}  // namespace latentd
