#include "tests/simulation/answers.h"

#include <algorithm>
#include <utility>

#include <absl/strings/match.h>
#include <absl/strings/str_format.h>

#include "tests/simulation/violation.h"

namespace latentd::simulation {
namespace {

template <class What>
void RequireOf(const SequenceLife& sequence, bool holds, Rule rule, const What& what) {
  Require(holds, rule, [&] { return absl::StrFormat("%s: %s", sequence.Name(), what()); });
}

template <class What>
void RequireOf(const Life& life, bool holds, Rule rule, const What& what) {
  Require(holds, rule, [&] { return absl::StrFormat("request %d: %s", life.number(), what()); });
}

void CheckReason(const SequenceEnd& end, const SequenceLife& sequence) {
  const int reason = static_cast<int>(end.reason);
  if (sequence.must_end) {
    RequireOf(sequence, end.reason == *sequence.must_end, Rule::kReason,
              [&] { return absl::StrFormat("ended for reason %d, expected %d", reason, *sequence.must_end); });
    return;
  }
  if (sequence.was_nonfinite) {
    RequireOf(sequence, end.reason == FinishReason::kNonFiniteLogits, Rule::kReason,
              [&] { return absl::StrFormat("ended for reason %d after logits that are not finite", reason); });
    return;
  }
  const size_t expected = sequence.quiet.generated.size();
  const bool holds =
      end.reason == sequence.quiet.engine_reason && static_cast<size_t>(sequence.num_generated) == expected;
  RequireOf(sequence, holds, Rule::kReason, [&] {
    return absl::StrFormat("ended for reason %d after %d tokens, alone for %d after %d", reason, sequence.num_generated,
                           sequence.quiet.engine_reason, expected);
  });
}

void CheckTimes(const SequenceTimings& timings, const SequenceLife& sequence, const TurnTimes& turn) {
  const Life& life = *sequence.life;
  const bool was_commanded = sequence.must_end && !sequence.end_asked && life.end_asked == sequence.must_end;
  const TimePoint asked = was_commanded ? life.end_asked_at : kNever;
  const Duration last_preempted = sequence.is_preempted ? turn.over - sequence.preempted_since : Duration{};
  const bool holds = timings.received == life.request.received && timings.first_scheduled == sequence.first_scheduled &&
                     timings.first_token == sequence.first_token && timings.last_token == sequence.last_token &&
                     timings.cancel_asked == asked && timings.preempted == sequence.preempted + last_preempted;
  RequireOf(sequence, holds, Rule::kTimes, [] { return "its end tells other times than what happened"; });
  // What ended before the plan is released by then, all else when the step is over.
  const TimePoint released = sequence.must_end && !sequence.must_end_late ? turn.begun : turn.over;
  RequireOf(sequence, timings.finished == turn.over && timings.released == released, Rule::kTimes,
            [] { return "its end comes with another turn, or holds blocks for longer than to the end of its step"; });
  const int gaps = std::max(0, sequence.num_generated - 1);
  RequireOf(sequence, timings.token_gaps.count() == static_cast<uint64_t>(gaps), Rule::kTimes, [&] {
    return absl::StrFormat("%d gaps between %d tokens", timings.token_gaps.count(), sequence.num_generated);
  });
}

void AppendToken(const StreamToken& token, SequenceLife& sequence) {
  const size_t place = sequence.tokens.size();
  const QuietRun& quiet = sequence.quiet;
  RequireOf(sequence, place < quiet.tokens.size() && token.id == quiet.tokens[place], Rule::kOutput, [&] {
    return absl::StrFormat("its token %d is %d, alone it is %d of %d", place, token.id,
                           place < quiet.tokens.size() ? quiet.tokens[place] : -1, quiet.tokens.size());
  });
  const AnswerRule& answer = sequence.life->request.answer;
  const bool has_logprob = (sequence.life->generates() ? answer.num_top_logprobs : answer.num_prompt_logprobs) >= 0;
  RequireOf(sequence, !has_logprob || token.logprob == quiet.logprobs[place], Rule::kOutput,
            [&] { return absl::StrFormat("the log-probability of its token %d is another one's", place); });
  sequence.tokens.push_back(token.id);
}

void CheckWhole(const SequenceLife& sequence) {
  const QuietRun& quiet = sequence.quiet;
  const AnswerEnd& end = *sequence.answer_end;
  const std::string stop = end.stop_string.value_or("");
  RequireOf(sequence, sequence.tokens.size() == quiet.tokens.size(), Rule::kOutput, [&] {
    return absl::StrFormat("%d tokens and a success, alone %d", sequence.tokens.size(), quiet.tokens.size());
  });
  RequireOf(sequence, end.reason == quiet.reason && stop == quiet.stop_string, Rule::kReason, [&] {
    return absl::StrFormat("ended for reason %d '%s', alone for %d '%s'", end.reason, stop, quiet.reason,
                           quiet.stop_string);
  });
  RequireOf(sequence, sequence.text == quiet.text, Rule::kOutput,
            [&] { return absl::StrFormat("its text is '%s', alone '%s'", sequence.text, quiet.text); });
}

// Something else ended it. Where another answer of the request failed before, less may have come than was generated.
void CheckCutOff(const SequenceLife& sequence) {
  const AnswerEnd& end = *sequence.answer_end;
  const Life& life = *sequence.life;
  const bool is_alone = life.sequences.size() == 1;
  RequireOf(sequence, end.reason == sequence.engine_reason, Rule::kReason, [&] {
    return absl::StrFormat("ended for reason %d, the engine's is %d", end.reason, sequence.engine_reason);
  });
  if (!life.generates()) return;
  const auto num_tokens = static_cast<int>(sequence.tokens.size());
  RequireOf(sequence, is_alone ? num_tokens == sequence.num_generated : num_tokens <= sequence.num_generated,
            Rule::kOutput, [&] { return absl::StrFormat("%d of %d tokens", num_tokens, sequence.num_generated); });
  const std::string text = TextOfFirst(life.request, sequence.tokens);
  RequireOf(sequence, is_alone ? sequence.text == text : absl::StartsWith(text, sequence.text), Rule::kOutput,
            [&] { return absl::StrFormat("its text is '%s', that of its tokens '%s'", sequence.text, text); });
}

void CheckAnswer(const SequenceLife& sequence, bool has_failed) {
  const AnswerEnd& end = *sequence.answer_end;
  const int delivered = sequence.life->generates() ? static_cast<int>(sequence.tokens.size()) : 0;
  RequireOf(sequence, end.output_tokens == delivered, Rule::kOutput,
            [&] { return absl::StrFormat("%d output tokens, taken %d", end.output_tokens, delivered); });
  const bool has_stop_string =
      sequence.quiet.reason == FinishReason::kStopString && sequence.tokens.size() == sequence.quiet.tokens.size();
  if (has_stop_string || !has_failed) return CheckWhole(sequence);
  CheckCutOff(sequence);
}

// What the cache had of its request's prompt was not.
int ComputedOf(const SequenceLife& sequence) {
  return std::max(0, sequence.most_computed - (sequence.index == 0 ? sequence.num_cached : 0));
}

void CheckSums(const StreamEnd& end, const Life& life) {
  int generated = 0, computed = 0, output = 0, drafted = 0, accepted = 0;
  for (const SequenceLife& sequence : life.sequences) {
    generated += sequence.num_generated;
    drafted += sequence.num_drafted;
    accepted += sequence.num_accepted;
    computed += std::max(0, ComputedOf(sequence) - (sequence.index == 0 ? 0 : life.num_prompt_tokens()));
    output += sequence.answer_end->output_tokens;
  }
  const bool holds = end.prompt_tokens == life.num_prompt_tokens() && end.generated_tokens == generated &&
                     end.computed_tokens == computed && end.output_tokens == output &&
                     end.cached_tokens == life.sequences.front().num_cached && end.drafted_tokens == drafted &&
                     end.accepted_tokens == accepted;
  RequireOf(life, holds, Rule::kOutput, [&] {
    return absl::StrFormat(
        "%d + %d tokens, %d computed, %d cached, %d to its client, %d of %d drafts; expected %d + %d, %d, %d, %d, %d "
        "of %d",
        end.prompt_tokens, end.generated_tokens, end.computed_tokens, end.cached_tokens, end.output_tokens,
        end.accepted_tokens, end.drafted_tokens, life.num_prompt_tokens(), generated, computed,
        life.sequences.front().num_cached, output, accepted, drafted);
  });
}

void CheckAnswers(const StreamEnd& end, const Life& life) {
  const auto failed = [](const SequenceLife& sequence) { return !IsSuccess(sequence.answer_end->reason); };
  const bool has_failed = std::any_of(life.sequences.begin(), life.sequences.end(), failed);
  const auto is_reason = [&](const SequenceLife& sequence) {
    return failed(sequence) == has_failed && sequence.answer_end->reason == end.reason;
  };
  for (const SequenceLife& sequence : life.sequences) CheckAnswer(sequence, has_failed);
  const bool is_told = has_failed ? std::any_of(life.sequences.begin(), life.sequences.end(), is_reason)
                                  : is_reason(life.sequences.front());
  RequireOf(life, is_told, Rule::kReason,
            [&] { return absl::StrFormat("ended for reason %d, which is none of its answers'", end.reason); });
  CheckSums(end, life);
}

}  // namespace

void CheckEnd(const SequenceEnd& end, const SequenceLife& sequence, const TurnTimes& turn) {
  CheckReason(end, sequence);
  CheckTimes(end.timings, sequence, turn);
  const bool holds = end.prompt_tokens == sequence.num_prompt_tokens() && end.computed_tokens == ComputedOf(sequence) &&
                     end.generated_tokens == sequence.num_generated && end.cached_tokens == sequence.num_cached &&
                     end.drafted_tokens == sequence.num_drafted && end.accepted_tokens == sequence.num_accepted;
  RequireOf(sequence, holds, Rule::kOutput, [&] {
    return absl::StrFormat(
        "its end counts %d + %d tokens, %d computed, %d cached, %d of %d drafts; expected %d + %d, %d, %d, %d of %d",
        end.prompt_tokens, end.generated_tokens, end.computed_tokens, end.cached_tokens, end.accepted_tokens,
        end.drafted_tokens, sequence.num_prompt_tokens(), sequence.num_generated, ComputedOf(sequence),
        sequence.num_cached, sequence.num_accepted, sequence.num_drafted);
  });
}

void TakeChunk(StreamChunk chunk, Life& life) {
  RequireOf(life, life.stage != Stage::kFinished, Rule::kOneEnd, [] { return "output after its end"; });
  const bool is_known = chunk.index >= 0 && chunk.index < std::ssize(life.sequences);
  RequireOf(life, is_known, Rule::kOneEnd, [&] { return absl::StrFormat("output of its answer %d", chunk.index); });
  SequenceLife& sequence = life.sequences[static_cast<size_t>(chunk.index)];
  RequireOf(sequence, !sequence.answer_end, Rule::kOneEnd, [] { return "output after its end"; });
  if (++sequence.num_chunks == 1 && life.generates()) {
    RequireOf(sequence, chunk.tokens.size() <= 1, Rule::kOutput, [] { return "a first chunk of several tokens"; });
  }
  for (const StreamToken& token : chunk.tokens) AppendToken(token, sequence);
  sequence.text += chunk.text;
  RequireOf(sequence, chunk.tokens_so_far == std::ssize(sequence.tokens), Rule::kOutput,
            [&] { return absl::StrFormat("%d tokens so far, taken %d", chunk.tokens_so_far, sequence.tokens.size()); });
  if (chunk.answer_end) {
    RequireOf(sequence, sequence.stage == SequenceStage::kEnded, Rule::kOneEnd,
              [] { return "an end that the engine did not give"; });
    sequence.answer_end = std::move(chunk.answer_end);
  }
  if (!chunk.end) return;
  const auto has_end = [](const SequenceLife& one) { return one.answer_end.has_value(); };
  RequireOf(life, std::all_of(life.sequences.begin(), life.sequences.end(), has_end), Rule::kOneEnd,
            [] { return "the end of all before that of each"; });
  RequireOf(life, !chunk.more_pending, Rule::kOneEnd, [] { return "more to take after its end"; });
  CheckAnswers(*chunk.end, life);
}

}  // namespace latentd::simulation
