// One request on its way through the engine: its tokens, how many of them the cache holds, where it stands.
// Owned by the Scheduler at a stable address; engine thread only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <vector>

#include "base/clock.h"
#include "engine/request.h"
#include "engine/schedule/block_pool.h"
#include "engine/schedule/capacity.h"
#include "engine/schedule/expiries.h"
#include "engine/schedule/finish_reason.h"
#include "engine/schedule/sequence_end.h"

namespace latentd {

enum class SequencePhase : uint8_t { kWaiting, kRunning, kPaused, kFinished };

struct Sequence;

// Where the Scheduler's lists have a sequence, so that no step has to look for it.
struct SequencePlaces {
  std::list<Sequence*>::iterator in_phase;
  Expiries::Place in_expiries;
};

struct Sequence {
  Sequence(Request request, const CapacityDemand& most, uint64_t arrival);

  SequenceId id() const { return {.request = request.id}; }
  int num_tokens() const { return static_cast<int>(tokens.size()); }
  int num_generated() const { return num_tokens() - num_prompt_tokens; }
  int num_uncomputed() const { return num_tokens() - computed; }
  int num_unplanned() const { return num_tokens() - planned; }
  int num_uncomputed_prompt() const { return num_prompt_tokens - prompt_computed; }
  bool was_scheduled() const { return timings.first_scheduled != kNever; }

  // Positions whose logits this sequence wants: Score all that a prompt token follows, Generate the last.
  int first_logit_position() const { return request.kind == RequestKind::kScore ? 0 : num_tokens() - 1; }
  int end_logit_position() const { return request.kind == RequestKind::kScore ? num_tokens() - 1 : num_tokens(); }

  Request request;            // its prompt moved into `tokens`
  const CapacityDemand most;  // what it may ever hold
  const int num_prompt_tokens;
  const uint64_t arrival;       // among all sequences of this scheduler
  std::vector<int32_t> tokens;  // prompt, then what was generated
  int computed = 0;             // of `tokens`, so many are in the cache
  int planned = 0;              // `computed` once every plan that has a row of it is committed
  int prompt_computed = 0;      // of the prompt, computed at least once: recomputation does not count again
  int rows_in_flight = 0;       // in plans that are not committed
  SequencePhase phase = SequencePhase::kWaiting;
  FinishReason finish_reason = FinishReason::kEos;  // once phase is kFinished
  uint64_t last_turn = 0;                           // among all rows ever planned; 0: none
  TimePoint paused_since = kNever;                  // as the first step after the pause saw it
  SequencePlaces places;
  BlockTable blocks;
  SequenceTimings timings;
};

}  // namespace latentd
