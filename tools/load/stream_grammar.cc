#include "tools/load/stream_grammar.h"

#include <algorithm>

namespace latentd {

void StreamGrammar::Expect(bool is_met, const char* what) {
  if (!is_met && violation_.empty()) violation_ = what;
}

StreamGrammar::Answer* StreamGrammar::Find(uint32_t index) {
  Expect(index < answers_.size(), "expected an index below the number of answers that were asked for");
  return index < answers_.size() ? &answers_[index] : nullptr;
}

void StreamGrammar::Check(const v1::GenerateEvent& event) {
  switch (event.event_case()) {
    case v1::GenerateEvent::kStarted:
      Expect(place_ == Place::kBeforeStarted, "expected Started once and first, found it after another event");
      place_ = Place::kInAnswers;
      prompt_tokens_ = event.started().prompt_tokens();
      Expect(prompt_tokens_ > 0, "expected prompt_tokens above 0 in Started, found 0");
      return;
    case v1::GenerateEvent::kDelta:
      return CheckDelta(event.delta());
    case v1::GenerateEvent::kSequenceEnd:
      return CheckEnd(event.sequence_end());
    case v1::GenerateEvent::kCompleted:
      return CheckCompleted(event.completed());
    case v1::GenerateEvent::EVENT_NOT_SET:
      Expect(false, "expected a Started, Delta, SequenceEnd or Completed, found an empty event");
      return;
  }
}

void StreamGrammar::CheckDelta(const v1::Delta& delta) {
  Answer* const answer = Find(delta.index());
  if (answer == nullptr) return;
  Expect(IsOpen(*answer), "expected Deltas between Started and their SequenceEnd, found one elsewhere");
  // A Delta without a new token may still bring text that was held back.
  Expect(delta.tokens_so_far() >= answer->tokens_so_far, "expected tokens_so_far never to fall");
  answer->tokens_so_far = delta.tokens_so_far();
  answer->num_ids += static_cast<uint32_t>(delta.token_ids_size());
  Expect(answer->num_ids == 0 || answer->num_ids == answer->tokens_so_far,
         "expected as many token_ids as tokens_so_far says");
}

void StreamGrammar::CheckEnd(const v1::SequenceEnd& end) {
  Answer* const answer = Find(end.index());
  if (answer == nullptr) return;
  Expect(IsOpen(*answer), "expected one SequenceEnd of each index after Started, found it elsewhere");
  answer->has_ended = true;
  Expect(end.reason() != v1::END_REASON_UNSPECIFIED, "expected a reason in SequenceEnd");
  Expect(end.output_tokens() == answer->tokens_so_far,
         "expected SequenceEnd.output_tokens to equal the last Delta's tokens_so_far");
}

void StreamGrammar::CheckCompleted(const v1::Completed& completed) {
  const auto has_ended = [](const Answer& answer) { return answer.has_ended; };
  Expect(place_ == Place::kInAnswers && std::all_of(answers_.begin(), answers_.end(), has_ended),
         "expected one Completed after each SequenceEnd, found it elsewhere");
  place_ = Place::kAfterCompleted;
  uint32_t num_tokens = 0;
  for (const Answer& answer : answers_) num_tokens += answer.tokens_so_far;
  Expect(completed.usage().generated_tokens() == num_tokens,
         "expected Completed.usage.generated_tokens to equal what the last Deltas' tokens_so_far come to");
  Expect(completed.usage().prompt_tokens() == prompt_tokens_,
         "expected Completed.usage.prompt_tokens to equal Started.prompt_tokens");
}

void StreamGrammar::CheckSuccess() {
  Expect(place_ == Place::kAfterCompleted,
         "expected Completed before the status OK, found the stream's end without it");
}

}  // namespace latentd
