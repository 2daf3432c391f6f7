#include "tests/simulation/answers.h"

#include <algorithm>

#include <absl/strings/str_format.h>

#include "tests/simulation/violation.h"

namespace latentd::simulation {
namespace {

template <class What>
void RequireOf(const Life& life, bool holds, Rule rule, const What& what) {
  Require(holds, rule, [&] { return absl::StrFormat("request %d: %s", life.number(), what()); });
}

bool IsNatural(FinishReason reason) { return reason <= FinishReason::kScored; }

void CheckReason(const SequenceEnd& end, const Life& life) {
  const int reason = static_cast<int>(end.reason);
  if (life.must_end) {
    RequireOf(life, end.reason == *life.must_end, Rule::kReason,
              [&] { return absl::StrFormat("ended for reason %d, expected %d", reason, *life.must_end); });
    return;
  }
  if (life.was_nonfinite) {
    RequireOf(life, end.reason == FinishReason::kNonFiniteLogits, Rule::kReason,
              [&] { return absl::StrFormat("ended for reason %d after logits that are not finite", reason); });
    return;
  }
  const size_t expected = life.quiet.generated.size();
  RequireOf(life, end.reason == life.quiet.engine_reason && static_cast<size_t>(life.num_generated) == expected,
            Rule::kReason, [&] {
              return absl::StrFormat("ended for reason %d after %d tokens, alone for %d after %d", reason,
                                     life.num_generated, life.quiet.engine_reason, expected);
            });
}

void CheckTimes(const SequenceTimings& timings, const Life& life, const TurnTimes& turn) {
  const bool was_commanded = life.must_end && life.end_asked == life.must_end;
  const TimePoint asked = was_commanded ? life.end_asked_at : kNever;
  const bool holds = timings.received == life.request.received && timings.first_scheduled == life.first_scheduled &&
                     timings.first_token == life.first_token && timings.last_token == life.last_token &&
                     timings.cancel_asked == asked;
  RequireOf(life, holds, Rule::kTimes, [] { return "its end tells other times than what happened"; });
  // What ended before the plan is released by then, all else when the step is over.
  const TimePoint released = life.must_end && !life.must_end_late ? turn.begun : turn.over;
  RequireOf(life, timings.finished == turn.over && timings.released == released, Rule::kTimes,
            [] { return "its end comes with another turn, or holds blocks for longer than to the end of its step"; });
  const int gaps = std::max(0, life.num_generated - 1);
  RequireOf(life, timings.token_gaps.count() == static_cast<uint64_t>(gaps), Rule::kTimes, [&] {
    return absl::StrFormat("%d gaps between %d tokens", timings.token_gaps.count(), life.num_generated);
  });
}

void AppendToken(const StreamToken& token, Life& life) {
  const size_t place = life.tokens.size();
  RequireOf(life, place < life.quiet.tokens.size() && token.id == life.quiet.tokens[place], Rule::kOutput, [&] {
    return absl::StrFormat("its token %d is %d, alone it is %d of %d", place, token.id,
                           place < life.quiet.tokens.size() ? life.quiet.tokens[place] : -1, life.quiet.tokens.size());
  });
  const AnswerRule& answer = life.request.answer;
  const bool has_logprob = (life.generates() ? answer.num_top_logprobs : answer.num_prompt_logprobs) >= 0;
  RequireOf(life, !has_logprob || token.logprob == life.quiet.logprobs[place], Rule::kOutput,
            [&] { return absl::StrFormat("the log-probability of its token %d is another one's", place); });
  life.tokens.push_back(token.id);
}

void CheckWhole(const AnswerEnd& end, const Life& life) {
  const QuietRun& quiet = life.quiet;
  const std::string stop = end.stop_string.value_or("");
  RequireOf(life, life.tokens.size() == quiet.tokens.size(), Rule::kOutput, [&] {
    return absl::StrFormat("%d tokens and a success, alone %d", life.tokens.size(), quiet.tokens.size());
  });
  RequireOf(life, end.reason == quiet.reason && stop == quiet.stop_string, Rule::kReason, [&] {
    return absl::StrFormat("ended for reason %d '%s', alone for %d '%s'", end.reason, stop, quiet.reason,
                           quiet.stop_string);
  });
  RequireOf(life, life.text == quiet.text, Rule::kOutput,
            [&] { return absl::StrFormat("its text is '%s', alone '%s'", life.text, quiet.text); });
}

void CheckCutOff(const AnswerEnd& end, const Life& life) {
  RequireOf(life, end.reason == life.engine_reason, Rule::kReason,
            [&] { return absl::StrFormat("ended for reason %d, the engine's is %d", end.reason, life.engine_reason); });
  RequireOf(life, !life.generates() || static_cast<int>(life.tokens.size()) == life.num_generated, Rule::kOutput,
            [&] { return absl::StrFormat("%d of %d tokens", life.tokens.size(), life.num_generated); });
  const std::string text = life.generates() ? TextOfFirst(life.request, life.tokens) : std::string();
  RequireOf(life, life.text == text, Rule::kOutput,
            [&] { return absl::StrFormat("its text is '%s', that of its tokens '%s'", life.text, text); });
}

}  // namespace

void CheckEnd(const SequenceEnd& end, const Life& life, const TurnTimes& turn) {
  CheckReason(end, life);
  CheckTimes(end.timings, life, turn);
  const bool holds = end.prompt_tokens == life.num_prompt_tokens() && end.computed_tokens == life.num_computed &&
                     end.generated_tokens == life.num_generated;
  RequireOf(life, holds, Rule::kOutput, [&] {
    return absl::StrFormat("its end counts %d + %d tokens, %d computed; expected %d + %d, %d", end.prompt_tokens,
                           end.generated_tokens, end.computed_tokens, life.num_prompt_tokens(), life.num_generated,
                           life.num_computed);
  });
}

void TakeChunk(StreamChunk chunk, Life& life) {
  RequireOf(life, life.stage != Stage::kFinished, Rule::kOneEnd, [] { return "output after its end"; });
  if (++life.num_chunks == 1 && life.generates()) {
    RequireOf(life, chunk.tokens.size() <= 1, Rule::kOutput, [] { return "a first chunk of several tokens"; });
  }
  for (const StreamToken& token : chunk.tokens) AppendToken(token, life);
  life.text += chunk.text;
  RequireOf(life, chunk.tokens_so_far == static_cast<int>(life.tokens.size()), Rule::kOutput,
            [&] { return absl::StrFormat("%d tokens so far, taken %d", chunk.tokens_so_far, life.tokens.size()); });
  if (!chunk.end) return;
  RequireOf(life, life.stage == Stage::kEnded, Rule::kOneEnd, [] { return "an end that the engine did not give"; });
  RequireOf(life, !chunk.more_pending, Rule::kOneEnd, [] { return "more to take after its end"; });
  const int delivered = life.generates() ? static_cast<int>(life.tokens.size()) : 0;
  RequireOf(life, chunk.end->output_tokens == delivered, Rule::kOutput,
            [&] { return absl::StrFormat("%d output tokens, taken %d", chunk.end->output_tokens, delivered); });
  const bool has_stop_string =
      life.quiet.reason == FinishReason::kStopString && life.tokens.size() == life.quiet.tokens.size();
  if (has_stop_string || IsNatural(chunk.answer_end->reason)) {
    CheckWhole(*chunk.answer_end, life);
  } else {
    CheckCutOff(*chunk.answer_end, life);
  }
}

}  // namespace latentd::simulation
