// One continuation of a request on its way through the engine: its tokens, how many of them the cache holds, where it
// stands. Owned by the Scheduler at a stable address; engine thread only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/request.h"
#include "engine/schedule/block_cache.h"
#include "engine/schedule/capacity.h"
#include "engine/schedule/expiries.h"
#include "engine/schedule/finish_reason.h"
#include "engine/schedule/rank.h"
#include "engine/schedule/sequence_end.h"

namespace latentd {

enum class SequencePhase : uint8_t {
  kAwaitingPrompt,  // a further continuation of a request whose first one computes the prompt
  kWaiting,         // for a row: new, or preempted
  kRunning,
  kPaused,  // for its reader; without blocks where it was preempted meanwhile
  kFinished,
};

struct Sequence;

// Where the Scheduler's lists have a sequence, so that no step has to look for it.
struct SequencePlaces {
  std::list<Sequence*>::iterator in_phase;  // running or paused
  Expiries::Place in_expiries;
};

// What the sequences of one request have in common.
struct RequestRun {
  // Which cached prefixes it may find, and who may find what it leaves.
  struct Sharing {
    std::string salt;   // only sequences with equal ones share
    std::string own;    // not empty: what it stores is found by its own sequences alone, and goes with the last one
    bool reads = true;  // else its first sequence finds nothing, until it was preempted
  };

  const Request request;  // its prompt moved into the first sequence's tokens
  const int num_prompt_tokens;
  const Sharing sharing;
  std::vector<int32_t> prompt = {};  // for its further sequences, once it is computed
  int num_left = 0;                  // sequences that have not ended
  int num_untold = 0;                // sequences whose ends the engine has not reported
  bool has_started = false;
  bool has_token = false;
};

struct Sequence {
  Sequence(std::shared_ptr<RequestRun> run, int32_t index, const CapacityDemand& most);

  SequenceId id() const { return {.request = request.id, .index = index}; }
  int num_tokens() const { return tokens.empty() ? num_prompt_tokens : static_cast<int>(tokens.size()) - num_drafts; }
  std::span<const int32_t> drafts() const { return std::span(tokens).last(static_cast<size_t>(num_drafts)); }
  // Its first drafts become tokens, the others go.
  void TakeDrafts(int num_accepted) {
    tokens.resize(tokens.size() - static_cast<size_t>(num_drafts - num_accepted));
    num_drafts = 0;
  }
  // Behind all its tokens.
  void AddDrafts(std::span<const int32_t> ids) {
    tokens.insert(tokens.end(), ids.begin(), ids.end());
    num_drafts += static_cast<int>(ids.size());
  }
  int num_generated() const { return std::max(0, num_tokens() - num_prompt_tokens); }
  int num_uncomputed() const { return num_tokens() - computed; }
  int num_unplanned() const { return num_tokens() - planned; }
  int num_unaccounted_prompt() const { return num_prompt_tokens - prompt_accounted; }
  bool was_scheduled() const { return timings.first_scheduled != kNever; }
  // All its tokens but the last one are computed or being computed: it gets one token a step.
  bool is_decoding() const { return num_unplanned() == 1; }

  // Positions whose logits this sequence still wants: Score all that a prompt token follows, Generate the last.
  int first_logit_position() const { return request.kind == RequestKind::kScore ? logits_given : num_tokens() - 1; }
  int end_logit_position() const { return request.kind == RequestKind::kScore ? num_tokens() - 1 : num_tokens(); }

  const std::shared_ptr<RequestRun> run;
  const Request& request;
  const int32_t index;
  const CapacityDemand most;  // what it may ever hold
  const int num_prompt_tokens;
  // Prompt, then what was generated, then num_drafts drafts for its next row to verify; of a further sequence empty
  // until it has a row.
  std::vector<int32_t> tokens;
  int num_drafts = 0;
  int computed = 0;          // of `tokens`, so many are in the cache
  int planned = 0;           // `computed` once every plan that has a row of it is committed
  int prompt_accounted = 0;  // of the prompt, computed or found for the first time: neither counts again
  int logits_given = 0;      // the position behind the last one whose logits were handed out
  int most_computed = 0;     // before it was preempted: what lies below is computed again
  int cached_tokens = 0;     // of the prompt, found in the prefix cache
  int num_preemptions = 0;
  int rows_in_flight = 0;  // in plans that are not committed

  // What the layer that predicts further tokens (docs/spec/deepseek.md 3.7) has in the cache. Where that goes to
  // computed + 1, the next row can go on from there.
  DraftedSlots drafted = {};
  int drafted_tokens = 0;   // verified so far
  int accepted_tokens = 0;  // of these
  SequencePhase phase = SequencePhase::kAwaitingPrompt;
  FinishReason finish_reason = FinishReason::kEos;  // once phase is kFinished
  uint64_t last_turn = 0;                           // among all rows ever planned; 0: none
  TimePoint paused_since = kNever;                  // as the first step after the pause saw it
  TimePoint preempted_since = kNever;               // until it has a row again
  Standing standing;                                // as it began to wait the last time
  SequencePlaces places;
  BlockTable blocks;
  SequenceTimings timings;
};

}  // namespace latentd
