// How a request's answers ended, as its client is told, and what all of them together come to. What its client is told
// of the request depends on the client's connection, too: that is the server's. Values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/histogram.h"
#include "engine/schedule/finish_reason.h"
#include "engine/schedule/sequence_end.h"

namespace latentd {

// The end of one answer: the engine's, and what its text came to.
struct AnswerEnd {
  // kStopString where one was found, whatever the engine did to the surplus behind it.
  FinishReason reason = FinishReason::kEos;
  std::optional<std::string> stop_string = {};  // the one that matched: the answer was complete by then
  int32_t stop_token_id = -1;                   // for kStopToken and kEos
  int output_tokens = 0;                        // delivered to the client; a matched stop token or EOS counts
  int reasoning_tokens = 0;                     // of these
};

// The end of a request: of all its answers, one after the other as they ended.
struct StreamEnd {
  // The first failure; else that of the answer with index 0, which is the same for every number of answers.
  FinishReason reason = FinishReason::kEos;
  int prompt_tokens = 0;     // once: the answers share it
  int cached_tokens = 0;     // of it, for the first answer: the others find what that one left
  int generated_tokens = 0;  // this and all that follow of all answers, the prompt's positions computed once
  int computed_tokens = 0;
  int output_tokens = 0;
  int reasoning_tokens = 0;
  int drafted_tokens = 0;
  int accepted_tokens = 0;
  // The first of the answers to get so far, but for last_token, finished and released, which are the last one's. The
  // longest time preempted. All their preemptions and gaps.
  SequenceTimings timings = {};
  Histogram seconds_per_token{kTokenSeconds};  // one of each answer of several tokens

  void Add(const SequenceEnd& sequence, const AnswerEnd& answer);
};

}  // namespace latentd
