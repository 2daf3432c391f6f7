#include "server/grpc/unary_writer.h"

namespace latentd {

void CollectInto(const LiveCall& call, const v1::Model& model, const StreamChunk& chunk, v1::GenerateResult* result) {
  if (!result->has_started()) {
    *result->mutable_started() = MakeStarted({.request_id = call.request_id(),
                                              .prompt_tokens = call.prompt_tokens(),
                                              .request = call.request(),
                                              .model = model});
    result->add_sequences();
  }
  v1::SequenceResult& sequence = *result->mutable_sequences(0);
  AppendToDelta(chunk, call.request().output, sequence.mutable_output());
  if (!chunk.end) return;
  *sequence.mutable_end() = MakeSequenceEnd(*chunk.end);
  *result->mutable_completed() = MakeCompleted(*chunk.end);
}

void CollectInto(const LiveCall& call, const v1::Model& model, const StreamChunk& chunk, v1::ScoreResult* result) {
  AppendPositions(chunk, result);
  if (!chunk.end) return;
  result->set_request_id(call.request_id());
  result->set_prompt_tokens(static_cast<uint32_t>(call.prompt_tokens()));
  result->set_fingerprint(model.fingerprint());
  result->set_model(model.name());
  *result->mutable_timings() = MakeTimings(*chunk.end);
}

std::string_view SizingFields(const v1::GenerateResult&) { return "output.logprobs, stopping.max_tokens"; }

std::string_view SizingFields(const v1::ScoreResult&) { return "top_logprobs"; }

}  // namespace latentd
