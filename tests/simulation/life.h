// What the world knows of one request: what it should give, what was done to it, how far it has come. Written by the
// world as events happen; the rules of invariants.h and answers.h compare it with what the product says.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
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

enum class Stage : uint8_t {
  kExpected,   // not arrived
  kRefused,    // at the door
  kSubmitted,  // in the inbox
  kWaiting,    // in the scheduler's queue
  kPrefill,    // rows of it were computed
  kDecode,     // it has a token
  kEnded,      // the engine said so
  kFinished,   // its reader has the end
};

struct Life {
  const PlannedRequest* planned = nullptr;
  Request request;  // as it was submitted
  QuietRun quiet;
  Stage stage = Stage::kExpected;
  std::vector<const Fault*> faults;  // those that wait for a moment of this request

  // Commands: sent, and what the engine's thread makes of them and of the time with its next turn.
  std::optional<FinishReason> end_asked;  // by the first that was sent
  TimePoint end_asked_at = kNever;
  ReaderState reader_word = ReaderState::kUnchanged;  // the newest since the last turn
  std::optional<FinishReason> must_end;               // in the turn that goes on
  bool must_end_late = false;                         // by a command that came after the turn's plan
  bool is_paused = false;
  TimePoint paused_from = kNever;  // the first plan after the pause

  // The engine.
  uint64_t order = 0;  // among the requests that the scheduler has seen
  int num_rows = 0;
  int num_computed = 0;
  int num_generated = 0;
  int num_steps_without = 0;   // since it had a row, while it could have had one
  int most_started = 0;        // requests in the engine meanwhile that had started
  int num_new_tokens = 0;      // in the turn that is over
  int nonfinite_at = -1;       // of its tokens, the one whose logits are not finite
  bool was_nonfinite = false;  // and it was computed
  TimePoint first_scheduled = kNever, first_token = kNever, last_token = kNever;
  FinishReason engine_reason = FinishReason::kEos;  // once it ended
  bool is_published = false;                        // its stream has the end

  // The reader.
  std::shared_ptr<TokenStream> stream;
  bool is_gone = false;
  bool was_told_full = false;  // the engine was, and the reader has not made room since
  bool will_read = false;      // an event says when
  TimePoint stalled_until{};
  int num_chunks = 0;
  std::vector<int32_t> tokens;
  std::string text;

  bool is_alive() const {  // submitted, and not ended by the engine
    return stage == Stage::kSubmitted || is_in_engine();
  }
  bool is_in_engine() const { return stage == Stage::kWaiting || stage == Stage::kPrefill || stage == Stage::kDecode; }
  bool generates() const { return request.kind == RequestKind::kGenerate; }
  // The engine ends it then, unless something else does before.
  TimePoint Expiry(Duration slow_consumer) const;
  FinishReason ExpiryReason(TimePoint now) const;
  int num_prompt_tokens() const { return static_cast<int>(planned->request.prompt.size()); }
  int number() const { return planned->number; }
};

// All requests of a scenario, at stable addresses.
class Lives {
 public:
  explicit Lives(const Scenario& scenario);

  std::vector<Life>& all() { return lives_; }
  const std::vector<Life>& all() const { return lives_; }
  Life* ByNumber(int number);
  // CHECKs that there is one.
  Life& ById(RequestId id);

 private:
  std::vector<Life> lives_;
  std::vector<int> places_;  // by number: in lives_, or -1
};

}  // namespace latentd::simulation
