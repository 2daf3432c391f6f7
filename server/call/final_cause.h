// Why a call ended whose request was not refused: decided here alone, from all that has a say. What the engine and the
// publisher say is not changed by it. A pure function.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "engine/stream/token_stream.h"
#include "server/api/causes.h"
#include "server/call/answer_pump.h"

namespace latentd {

// How far a request had come: the answer that came farthest.
enum class Progress : uint8_t { kQueued, kPrefill, kDecode };
Progress ProgressOf(const StreamEnd& end);

struct CallEnd {
  FinishReason engine = FinishReason::kEos;  // StreamEnd::reason; so where none ran
  Progress progress = Progress::kQueued;
  AnswerFate fate = AnswerFate::kTakenWhole;
  bool deadline_passed = false;  // the call's, by the time at which its client left
  bool is_cut_short = false;     // this server ended what was left, for its own sake
};

// A failure of the engine stands, whatever the reader did; a success is one only if its client took the whole answer. A
// cancellation at the call's own deadline is the transport's doing, not the client's wish: the request expired where it
// stood. Where a request has several answers, the engine says how it ended by all of them: the first failure, else the
// reason of the answer with index 0.
Cause FinalCause(const CallEnd& end);

// Whether a call that was cancelled then had reached its deadline: else it is its client that left.
bool IsExpired(TimePoint cancelled_at, TimePoint deadline);

}  // namespace latentd
