#include "engine/stream/stream_end.h"

#include <algorithm>

namespace latentd {
namespace {

// kNever is later than any, and no moment.
void MakeLatest(TimePoint at, TimePoint& latest) {
  if (at != kNever && (latest == kNever || latest < at)) latest = at;
}

void Merge(const SequenceTimings& of, SequenceTimings& all) {
  for (const auto moment :
       {&SequenceTimings::received, &SequenceTimings::first_scheduled, &SequenceTimings::first_token,
        &SequenceTimings::first_preempted, &SequenceTimings::cancel_asked}) {
    all.*moment = std::min(all.*moment, of.*moment);
  }
  for (const auto moment : {&SequenceTimings::last_token, &SequenceTimings::finished, &SequenceTimings::released}) {
    MakeLatest(of.*moment, all.*moment);
  }
  all.num_preemptions += of.num_preemptions;
  all.preempted = std::max(all.preempted, of.preempted);
  all.token_gaps.Add(of.token_gaps);
}

}  // namespace

void StreamEnd::Add(const SequenceEnd& sequence, const AnswerEnd& answer) {
  const bool has_failed = !IsSuccess(reason);
  if (!has_failed && (sequence.id.index == 0 || !IsSuccess(answer.reason))) reason = answer.reason;
  prompt_tokens = sequence.prompt_tokens;
  if (sequence.id.index == 0) cached_tokens = sequence.cached_tokens;
  generated_tokens += sequence.generated_tokens;
  const int of_first_answer = sequence.id.index == 0 ? 0 : sequence.prompt_tokens;
  computed_tokens += std::max(0, sequence.computed_tokens - of_first_answer);
  drafted_tokens += sequence.drafted_tokens;
  accepted_tokens += sequence.accepted_tokens;
  output_tokens += answer.output_tokens;
  reasoning_tokens += answer.reasoning_tokens;
  Merge(sequence.timings, timings);
  const SequenceTimings& at = sequence.timings;
  if (sequence.generated_tokens > 1) {
    seconds_per_token.Observe(Seconds(at.last_token - at.first_token) / (sequence.generated_tokens - 1));
  }
}

}  // namespace latentd
