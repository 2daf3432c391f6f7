#include "tools/load/stream_grammar.h"

namespace latentd {

void StreamGrammar::Expect(bool is_met, const char* what) {
  if (!is_met && violation_.empty()) violation_ = what;
}

void StreamGrammar::Check(const v1::GenerateEvent& event) {
  switch (event.event_case()) {
    case v1::GenerateEvent::kStarted:
      Expect(place_ == Place::kBeforeStarted, "expected Started once and first, found it after another event");
      place_ = Place::kInDeltas;
      prompt_tokens_ = event.started().prompt_tokens();
      Expect(prompt_tokens_ > 0, "expected prompt_tokens above 0 in Started, found 0");
      return;
    case v1::GenerateEvent::kDelta:
      Expect(place_ == Place::kInDeltas, "expected Deltas between Started and SequenceEnd, found one elsewhere");
      return CheckDelta(event.delta());
    case v1::GenerateEvent::kSequenceEnd:
      Expect(place_ == Place::kInDeltas, "expected one SequenceEnd after Started, found it elsewhere");
      place_ = Place::kAfterEnd;
      Expect(event.sequence_end().reason() != v1::END_REASON_UNSPECIFIED, "expected a reason in SequenceEnd");
      Expect(event.sequence_end().output_tokens() == tokens_so_far_,
             "expected SequenceEnd.output_tokens to equal the last Delta's tokens_so_far");
      return;
    case v1::GenerateEvent::kCompleted:
      Expect(place_ == Place::kAfterEnd, "expected one Completed after SequenceEnd, found it elsewhere");
      place_ = Place::kAfterCompleted;
      return CheckCompleted(event.completed());
    case v1::GenerateEvent::EVENT_NOT_SET:
      Expect(false, "expected a Started, Delta, SequenceEnd or Completed, found an empty event");
      return;
  }
}

void StreamGrammar::CheckDelta(const v1::Delta& delta) {
  Expect(delta.index() == 0, "expected Deltas of index 0 only: one continuation was asked for");
  // A Delta without a new token may still bring text that was held back.
  Expect(delta.tokens_so_far() >= tokens_so_far_, "expected tokens_so_far never to fall");
  tokens_so_far_ = delta.tokens_so_far();
  num_ids_ += static_cast<uint32_t>(delta.token_ids_size());
  Expect(num_ids_ == 0 || num_ids_ == tokens_so_far_, "expected as many token_ids as tokens_so_far says");
}

void StreamGrammar::CheckCompleted(const v1::Completed& completed) {
  Expect(completed.usage().generated_tokens() == tokens_so_far_,
         "expected Completed.usage.generated_tokens to equal the last Delta's tokens_so_far");
  Expect(completed.usage().prompt_tokens() == prompt_tokens_,
         "expected Completed.usage.prompt_tokens to equal Started.prompt_tokens");
}

void StreamGrammar::CheckSuccess() {
  Expect(place_ == Place::kAfterCompleted,
         "expected Completed before the status OK, found the stream's end without it");
}

}  // namespace latentd
