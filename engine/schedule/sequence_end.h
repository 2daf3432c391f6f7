// How a sequence ended, told once by the engine: a value that is not changed after it left Engine::Complete.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "base/histogram.h"
#include "engine/request.h"
#include "engine/schedule/finish_reason.h"

namespace latentd {

// kNever until it happens.
struct SequenceTimings {
  TimePoint received = kNever;
  TimePoint first_scheduled = kNever;
  TimePoint first_token = kNever;
  TimePoint last_token = kNever;
  TimePoint finished = kNever;
  TimePoint cancel_asked = kNever;  // when the command came that ended it
  TimePoint released = kNever;      // from when on it has no blocks: the step's beginning where it ended before
                                    // the plan, by a command or its time; else `finished`
  TimePoint first_preempted = kNever;
  int num_preemptions = 0;
  Duration preempted{};                 // time without blocks after it had some, part of prefill and decode
  Histogram token_gaps{kTokenSeconds};  // between two of its tokens, as the engine made them
};

struct SequenceEnd {
  SequenceId id = {};
  FinishReason reason = FinishReason::kEos;
  int32_t stop_token_id = -1;  // for kStopToken and kEos
  int prompt_tokens = 0;
  int generated_tokens = 0;  // the answer may have fewer: the engine goes on until it hears of a stop string
  int computed_tokens = 0;   // positions that went through the model
  int cached_tokens = 0;     // of its prompt, found in the prefix cache when it began
  int drafted_tokens = 0;    // verified
  int accepted_tokens = 0;   // of these
  SequenceTimings timings = {};
};

}  // namespace latentd
