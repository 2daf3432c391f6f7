// What the world knows of one request and of each of its sequences: what they should give, what was done to them, how
// far they have come. Written by the world as events happen; the rules of invariants.h, order.h and answers.h compare
// it with what the product says.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/loop/inbox.h"
#include "engine/request.h"
#include "engine/schedule/finish_reason.h"
#include "engine/stream/token_stream.h"
#include "tests/simulation/fake_model.h"
#include "tests/simulation/workload.h"

namespace latentd::simulation {

struct Life;

enum class SequenceStage : uint8_t {
  kOutside,  // its request is not in the engine yet
  kWaiting,  // without a row so far
  kPrefill,  // rows of it were computed
  kDecode,   // it has a token
  kEnded,    // the engine said so
};

struct SequenceLife {
  Life* life = nullptr;
  int index = 0;
  QuietRun quiet;
  SequenceStage stage = SequenceStage::kOutside;

  // Commands, and what they and the time do to it in the turn that goes on.
  std::optional<FinishReason> end_asked;  // of this sequence alone: its text has a stop string
  std::optional<FinishReason> must_end;
  bool must_end_late = false;  // by a command that came after the turn's plan

  // The engine.
  bool is_preempted = false;  // waits again
  int num_preemptions = 0;
  double rate_at_wait = 0.0;      // of prefill, as measured when it began to wait again
  int first_block = -1;           // of its table, once it was findable between two turns
  size_t num_checked_blocks = 0;  // of its table, from the first: what others find in them is its own
  int num_computed = 0;           // positions that its table holds
  int most_computed = 0;          // positions that it ever held
  int num_generated = 0;
  std::vector<int32_t> drafts;  // for its next row to verify
  int num_drafted = 0;          // that its rows verified
  int num_accepted = 0;         // of these
  int prompt_accounted = 0;     // of the prompt, so much is counted as computed or found
  int num_cached = 0;           // of the prompt, found when it began
  int num_steps_without = 0;    // since it had a row, while it could have had one
  int64_t most_beside = 0;      // sequences that ran meanwhile, itself included
  int num_new_tokens = 0;       // in the turn that is over
  bool was_nonfinite = false;   // its logits were not, and that was computed
  TimePoint first_scheduled = kNever, first_token = kNever, last_token = kNever;
  TimePoint preempted_since = kNever;
  Duration preempted{};
  FinishReason engine_reason = FinishReason::kEos;  // once it ended

  // The reader.
  int num_chunks = 0;
  std::vector<int32_t> tokens;
  std::string text;
  std::optional<AnswerEnd> answer_end;

  bool is_in_engine() const { return stage != SequenceStage::kOutside && stage != SequenceStage::kEnded; }
  bool was_started() const { return stage == SequenceStage::kPrefill || stage == SequenceStage::kDecode; }
  bool waits() const { return stage == SequenceStage::kWaiting || is_preempted; }
  int num_prompt_tokens() const;
  int num_tokens() const { return num_prompt_tokens() + num_generated; }
  int most_tokens(int max_context_tokens) const;
  // The one at a position, as far as the model ever gives one; else -1.
  int32_t TokenAt(int position) const;
  bool HasTokens(std::span<const int32_t> first) const;  // its prompt, and then what it generates
  SequenceId id() const;
  std::string Name() const;  // "request 7", or "request 7, sequence 2"
};

enum class Stage : uint8_t {
  kExpected,   // not arrived
  kRefused,    // at the door
  kSubmitted,  // in the inbox
  kInEngine,   // some sequence of it has not ended
  kEnded,      // the engine said so of all
  kFinished,   // its reader has the end
};

struct Life {
  const PlannedRequest* planned = nullptr;
  Request request;  // as it was submitted
  std::vector<SequenceLife> sequences;
  Stage stage = Stage::kExpected;
  std::vector<const Fault*> faults;  // those that wait for a moment of this request

  // Commands: sent, and what the engine's thread makes of them with its next turn.
  std::optional<FinishReason> end_asked;  // by the first that was sent
  TimePoint end_asked_at = kNever;
  ReaderState reader_word = ReaderState::kUnchanged;  // the newest since the last turn
  bool is_paused = false;
  TimePoint paused_from = kNever;  // the first plan after the pause

  // The engine.
  uint64_t order = 0;        // among the requests that the scheduler has seen
  bool has_started = false;  // some sequence had a row
  bool has_token = false;
  int num_rows = 0;
  int nonfinite_at = -1;  // of the tokens of one sequence, the one whose logits are not finite
  int nonfinite_index = 0;

  // The reader.
  std::shared_ptr<TokenStream> stream;
  bool is_published = false;  // its stream has the end
  bool is_gone = false;
  bool was_told_full = false;  // the engine was, and the reader has not made room since
  bool will_read = false;      // an event says when
  TimePoint stalled_until{};

  bool is_alive() const { return stage == Stage::kSubmitted || is_in_engine(); }  // not ended by the engine
  bool is_in_engine() const { return stage == Stage::kInEngine; }
  bool generates() const { return request.kind == RequestKind::kGenerate; }
  int num_prompt_tokens() const { return static_cast<int>(planned->request.prompt.size()); }
  int number() const { return planned->number; }
  int num_taken() const;  // tokens, by its reader
  // Some sequence's position of the prompt up to here was computed for it.
  int most_prompt_computed() const;
  bool SharesWith(const Life& other) const;

  // The engine ends it then, unless something else does before. It may end earlier where it cannot be in time.
  TimePoint Expiry(Duration slow_consumer) const;
  FinishReason ExpiryReason(TimePoint now) const;
  bool MayBeHopeless() const {
    return !has_started && std::min(request.scheduling.first_token_by, request.deadline) != kNever;
  }
};

// All requests of a scenario, at stable addresses.
class Lives {
 public:
  explicit Lives(const Scenario& scenario);

  std::vector<Life>& all() { return lives_; }
  const std::vector<Life>& all() const { return lives_; }
  Life* ByNumber(int number);
  // These CHECK that there is one.
  Life& ById(RequestId id);
  SequenceLife& ById(SequenceId id);

  // Runs `visit(SequenceLife&)` for each that is in the engine.
  template <class Visit>
  void ForEachInEngine(const Visit& visit) {
    for (Life& life : lives_) {
      if (!life.is_in_engine()) continue;
      for (SequenceLife& sequence : life.sequences) {
        if (sequence.is_in_engine()) visit(sequence);
      }
    }
  }
  template <class Visit>
  void ForEachInEngine(const Visit& visit) const {
    for (const Life& life : lives_) {
      if (!life.is_in_engine()) continue;
      for (const SequenceLife& sequence : life.sequences) {
        if (sequence.is_in_engine()) visit(sequence);
      }
    }
  }

 private:
  std::vector<Life> lives_;
  std::vector<int> places_;  // by number: in lives_, or -1
};

}  // namespace latentd::simulation
