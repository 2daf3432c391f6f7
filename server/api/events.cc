#include "server/api/events.h"

#include <string>

namespace latentd {
namespace {

v1::TokenLogprobs MakeLogprobs(const StreamToken& token) {
  v1::TokenLogprobs logprobs;
  logprobs.set_token_id(static_cast<uint32_t>(token.id));
  logprobs.set_logprob(token.logprob);
  for (const TokenLogprob& best : token.top) {
    v1::TopToken* top = logprobs.add_top();
    top->set_token_id(static_cast<uint32_t>(best.id));
    top->set_logprob(best.logprob);
  }
  return logprobs;
}

v1::EndReason ReasonOnWire(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEos:
      return v1::END_REASON_EOS;
    case FinishReason::kStopString:
      return v1::END_REASON_STOP_STRING;
    case FinishReason::kStopToken:
      return v1::END_REASON_STOP_TOKEN;
    case FinishReason::kMaxTokens:
      return v1::END_REASON_MAX_TOKENS;
    case FinishReason::kContextLimit:
      return v1::END_REASON_CONTEXT_LIMIT;
    case FinishReason::kScored:
    case FinishReason::kCancelled:
    case FinishReason::kAborted:
    case FinishReason::kExpiredInQueue:
    case FinishReason::kExpiredInPrefill:
    case FinishReason::kExpiredInDecode:
    case FinishReason::kSloUnattainable:
    case FinishReason::kSlowConsumer:
    case FinishReason::kNonFiniteLogits:
    case FinishReason::kDraining:
      break;  // a score has no such event, a failure has a status instead
  }
  return v1::END_REASON_UNSPECIFIED;
}

// 0 where one of them never happened.
double SecondsOrZero(TimePoint from, TimePoint to) { return SecondsBetween(from, to).value_or(0.0); }

void AppendFragment(const ToolCallFragment& fragment, v1::Delta* delta) {
  const uint32_t index = static_cast<uint32_t>(fragment.index);
  v1::ToolCallDelta* call = nullptr;
  if (delta->tool_calls_size() > 0) call = delta->mutable_tool_calls(delta->tool_calls_size() - 1);
  if (call == nullptr || call->index() != index) {
    call = delta->add_tool_calls();
    call->set_index(index);
    call->set_id(fragment.id);
    call->set_name(fragment.name);
  }
  call->mutable_arguments_json_fragment()->append(fragment.arguments);
}

}  // namespace

v1::Started MakeStarted(const StartedFacts& facts) {
  v1::Started started;
  started.set_request_id(std::string(facts.request_id));
  started.set_prompt_tokens(static_cast<uint32_t>(facts.prompt_tokens));
  started.set_cached_tokens(static_cast<uint32_t>(facts.cached_tokens));
  *started.mutable_sampling() = facts.request.sampling;
  *started.mutable_stopping() = facts.request.stopping;
  started.set_fingerprint(facts.model.fingerprint());
  started.set_model(facts.model.name());
  return started;
}

void AppendToDelta(const StreamChunk& chunk, const OutputChoice& output, v1::Delta* delta) {
  delta->set_index(static_cast<uint32_t>(chunk.index));
  if (output.text) {
    delta->mutable_text()->append(chunk.text);
    delta->mutable_reasoning()->append(chunk.reasoning);
    for (const ToolCallFragment& fragment : chunk.tool_calls) AppendFragment(fragment, delta);
  }
  for (const StreamToken& token : chunk.tokens) {
    if (output.token_ids) delta->add_token_ids(static_cast<uint32_t>(token.id));
    if (output.token_bytes) delta->add_token_bytes(token.bytes);
    if (output.logprobs) {
      *delta->add_logprobs() = MakeLogprobs(token);
      delta->mutable_logprobs()->rbegin()->set_sampled_logprob(token.sampled_logprob);
    }
  }
  delta->set_tokens_so_far(static_cast<uint32_t>(chunk.tokens_so_far));
}

void AppendPositions(const StreamChunk& chunk, v1::ScoreResult* result) {
  for (const StreamToken& token : chunk.tokens) *result->add_positions() = MakeLogprobs(token);
}

v1::SequenceEnd MakeSequenceEnd(int index, const AnswerEnd& end) {
  v1::SequenceEnd message;
  message.set_index(static_cast<uint32_t>(index));
  message.set_reason(ReasonOnWire(end.reason));
  if (end.stop_string) {
    message.set_stop_string(*end.stop_string);
  } else if (end.stop_token_id >= 0) {
    message.set_stop_token_id(static_cast<uint32_t>(end.stop_token_id));
  }
  message.set_output_tokens(static_cast<uint32_t>(end.output_tokens));
  return message;
}

v1::Completed MakeCompleted(const StreamEnd& end) {
  v1::Completed completed;
  v1::Usage& usage = *completed.mutable_usage();
  usage.set_prompt_tokens(static_cast<uint32_t>(end.prompt_tokens));
  usage.set_cached_tokens(static_cast<uint32_t>(end.cached_tokens));
  usage.set_generated_tokens(static_cast<uint32_t>(end.output_tokens));
  usage.set_reasoning_tokens(static_cast<uint32_t>(end.reasoning_tokens));
  usage.set_drafted_tokens(static_cast<uint32_t>(end.drafted_tokens));
  usage.set_accepted_tokens(static_cast<uint32_t>(end.accepted_tokens));
  *completed.mutable_timings() = MakeTimings(end);
  return completed;
}

v1::Timings MakeTimings(const StreamEnd& end) {
  const SequenceTimings& at = end.timings;
  v1::Timings timings;
  timings.set_queue_seconds(SecondsOrZero(at.received, at.first_scheduled));
  timings.set_prefill_seconds(SecondsOrZero(at.first_scheduled, at.first_token));
  timings.set_decode_seconds(SecondsOrZero(at.first_token, at.finished));
  timings.set_preempted_seconds(Seconds(at.preempted));
  timings.set_time_to_first_token_seconds(SecondsOrZero(at.received, at.first_token));
  return timings;
}

}  // namespace latentd
