#include "server/smg/generate_responses.h"

#include <utility>

namespace latentd {
namespace {

namespace pb = vllm::grpc::engine;

void AppendLogprobs(const StreamToken& token, pb::OutputLogProbs* logprobs) {
  logprobs->add_token_logprobs(token.logprob);
  logprobs->add_token_ids(static_cast<uint32_t>(token.id));
  pb::TopLogProbs* top = logprobs->add_top_logprobs();
  for (const TokenLogprob& best : token.top) {
    top->add_values(best.logprob);
    top->add_token_ids(static_cast<uint32_t>(best.id));
  }
}

// An answer has this end where nothing failed; a failure has a status instead.
bool HasSucceeded(const StreamChunk& chunk) { return chunk.answer_end && IsSuccess(chunk.answer_end->reason); }

bool EndsAtLength(FinishReason reason) {
  return reason == FinishReason::kMaxTokens || reason == FinishReason::kContextLimit;
}

std::string Serialized(pb::GenerateComplete answer) {
  pb::GenerateResponse response;
  *response.mutable_complete() = std::move(answer);
  return response.SerializeAsString();
}

}  // namespace

void GenerateResponses::Choose(Delivery delivery, int num_answers) {
  delivery_ = delivery;
  num_answers_ = num_answers;
}

std::optional<std::string_view> GenerateResponses::SizingFields() const {
  if (delivery_ == Delivery::kChunks) return std::nullopt;
  return "sampling_params.n, sampling_params.logprobs, sampling_params.max_tokens";
}

void GenerateResponses::Start(const StartedFacts& facts, std::vector<std::string>&) {
  has_logprobs_ = facts.request.output.logprobs;
  prompt_tokens_ = static_cast<uint32_t>(facts.prompt_tokens);
  cached_tokens_ = static_cast<uint32_t>(facts.cached_tokens);
  answers_.resize(static_cast<size_t>(num_answers_));
  for (size_t index = 0; index < answers_.size(); ++index) {
    answers_[index].set_index(static_cast<uint32_t>(index));
    answers_[index].set_prompt_tokens(prompt_tokens_);
    answers_[index].set_cached_tokens(cached_tokens_);
  }
}

void GenerateResponses::AddChunk(const StreamChunk& chunk, std::vector<std::string>& messages) const {
  pb::GenerateResponse response;
  pb::GenerateStreamChunk& part = *response.mutable_chunk();
  for (const StreamToken& token : chunk.tokens) {
    part.add_token_ids(static_cast<uint32_t>(token.id));
    if (has_logprobs_) AppendLogprobs(token, part.mutable_output_logprobs());
  }
  part.set_prompt_tokens(prompt_tokens_);
  part.set_completion_tokens(static_cast<uint32_t>(chunk.tokens_so_far));
  part.set_cached_tokens(cached_tokens_);
  part.set_index(static_cast<uint32_t>(chunk.index));
  messages.push_back(response.SerializeAsString());
}

void GenerateResponses::Add(const StreamChunk& chunk, std::vector<std::string>& messages) {
  Complete& answer = answers_[static_cast<size_t>(chunk.index)];
  const bool is_streamed = delivery_ == Delivery::kChunks;
  if (is_streamed && !chunk.tokens.empty()) AddChunk(chunk, messages);
  for (const StreamToken& token : chunk.tokens) {
    answer.add_output_ids(static_cast<uint32_t>(token.id));
    // The chunks had them: in the streamed answer's last message they might be more than a client takes.
    if (has_logprobs_ && !is_streamed) AppendLogprobs(token, answer.mutable_output_logprobs());
  }
  if (!HasSucceeded(chunk)) return;
  Finish(*chunk.answer_end, answer);
  // What was drafted is known of all answers together, at the end.
  if (is_streamed && num_answers_ > 1) messages.push_back(Serialized(std::move(answer)));
}

void GenerateResponses::Finish(const AnswerEnd& end, Complete& answer) {
  answer.set_finish_reason(EndsAtLength(end.reason) ? "length" : "stop");
  answer.set_completion_tokens(static_cast<uint32_t>(end.output_tokens));
  if (end.stop_string) {
    answer.set_matched_stop_str(*end.stop_string);
  } else if (end.reason == FinishReason::kStopToken) {
    answer.set_matched_token_id(static_cast<uint32_t>(end.stop_token_id));
  }
}

void GenerateResponses::End(const StreamEnd& end, std::vector<std::string>& messages) {
  if (delivery_ == Delivery::kChunks && num_answers_ > 1) return;
  answers_.back().set_spec_accepted_tokens(static_cast<uint32_t>(end.accepted_tokens));
  answers_.back().set_spec_draft_tokens(static_cast<uint32_t>(end.drafted_tokens));
  for (Complete& answer : answers_) messages.push_back(Serialized(std::move(answer)));
}

}  // namespace latentd
