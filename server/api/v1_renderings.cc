#include "server/api/v1_renderings.h"

namespace latentd {
namespace {

// An end brings none of its own, unless something was held back.
bool HasOutput(const StreamChunk& chunk) {
  return !chunk.tokens.empty() || !chunk.text.empty() || !chunk.reasoning.empty() || !chunk.tool_calls.empty();
}

// The answer is over, and not by a failure: that is told by the status.
bool HasSucceeded(const StreamChunk& chunk) { return chunk.answer_end && IsSuccess(chunk.answer_end->reason); }

}  // namespace

void EventStream::Start(const StartedFacts& facts, std::vector<std::string>& messages) {
  output_ = facts.request.output;
  v1::GenerateEvent event;
  *event.mutable_started() = MakeStarted(facts);
  messages.push_back(event.SerializeAsString());
}

void EventStream::Add(const StreamChunk& chunk, std::vector<std::string>& messages) {
  if (HasOutput(chunk)) {
    v1::GenerateEvent event;
    AppendToDelta(chunk, output_, event.mutable_delta());
    messages.push_back(event.SerializeAsString());
  }
  if (!HasSucceeded(chunk)) return;
  v1::GenerateEvent event;
  *event.mutable_sequence_end() = MakeSequenceEnd(chunk.index, *chunk.answer_end);
  messages.push_back(event.SerializeAsString());
}

void EventStream::End(const StreamEnd& end, std::vector<std::string>& messages) {
  v1::GenerateEvent completed;
  *completed.mutable_completed() = MakeCompleted(end);
  messages.push_back(completed.SerializeAsString());
}

void WholeResult::Start(const StartedFacts& facts, std::vector<std::string>&) {
  output_ = facts.request.output;
  *result_.mutable_started() = MakeStarted(facts);
}

v1::SequenceResult* WholeResult::ResultOf(int index) {
  while (result_.sequences_size() <= index) result_.add_sequences();
  return result_.mutable_sequences(index);
}

void WholeResult::Add(const StreamChunk& chunk, std::vector<std::string>&) {
  v1::SequenceResult* const result = ResultOf(chunk.index);
  AppendToDelta(chunk, output_, result->mutable_output());
  if (HasSucceeded(chunk)) *result->mutable_end() = MakeSequenceEnd(chunk.index, *chunk.answer_end);
}

void WholeResult::End(const StreamEnd& end, std::vector<std::string>& messages) {
  *result_.mutable_completed() = MakeCompleted(end);
  messages.push_back(result_.SerializeAsString());
}

void ScoredPrompt::Start(const StartedFacts& facts, std::vector<std::string>&) {
  result_.set_request_id(std::string(facts.request_id));
  result_.set_prompt_tokens(static_cast<uint32_t>(facts.prompt_tokens));
  result_.set_cached_tokens(static_cast<uint32_t>(facts.cached_tokens));
  result_.set_fingerprint(facts.model.fingerprint());
  result_.set_model(facts.model.name());
}

void ScoredPrompt::Add(const StreamChunk& chunk, std::vector<std::string>&) { AppendPositions(chunk, &result_); }

void ScoredPrompt::End(const StreamEnd& end, std::vector<std::string>& messages) {
  *result_.mutable_timings() = MakeTimings(end);
  messages.push_back(result_.SerializeAsString());
}

}  // namespace latentd
