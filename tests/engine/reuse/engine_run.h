// An engine on a RecordedModel, from its first request to its last, stepped by hand, by a clock that is moved by hand.
// The blocks that it begins with hold NaN: two engines on one model must not run at the same time.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <vector>

#include "engine/step/engine.h"
#include "tests/engine/reuse/recorded_model.h"
#include "tests/support/manual_clock.h"

namespace latentd {

struct RunLimits {
  int num_blocks = RecordedModel::kEngineBlocks - 1;  // that sequences can hold
  int max_rows = RecordedModel::kMaxRows;
  int max_step_tokens = RecordedModel::kMaxTokens;
  int max_context = RecordedModel::kMaxContext;
  int chunk_tokens = 0;
  int max_drafts = 0;
  Duration step_duration{};  // that the engine measures
};

// What ends an answer that doesn't ignore it.
inline const std::vector<int32_t> kEosIds = {5, 17};

class EngineRun {
 public:
  EngineRun(RecordedModel& model, const RunLimits& limits);
  ~EngineRun();

  void Add(Request request);
  // False where there is nothing to do.
  bool Step();
  void RunToEnd();
  // The cache has of every sequence what one step over its tokens leaves there.
  void ExpectFreshLatents();
  // Adds requests of the highest priority, one after the other, and runs until they ended: they take the rows, or the
  // blocks, of others where there are none left.
  void Interrupt(std::vector<int32_t> prompt);

  const Answer& AnswerOf(RequestId id, int32_t index = 0) const { return answers_.at({id, index}); }
  int CachedTokens(RequestId id) const { return ends_.at({id, 0}).cached_tokens; }
  bool has_ended(RequestId id) const { return ends_.contains({id, 0}); }
  const std::map<SequenceId, SequenceEnd>& ends() const { return ends_; }

  Engine& engine() { return engine_; }
  const Scheduler& scheduler() const { return engine_.scheduler(); }
  uint64_t preemptions(PreemptionReason reason) const {
    return scheduler().totals().preemptions[static_cast<size_t>(reason)];
  }

 private:
  RecordedModel& model_;
  const Duration step_duration_;
  ManualClock clock_;
  Metrics metrics_;
  Engine engine_;
  StepOutput output_;
  RequestId next_interruption_ = 1'000'000;
  std::map<SequenceId, Answer> answers_;
  std::map<SequenceId, SequenceEnd> ends_;
};

std::vector<int32_t> RandomIds(std::mt19937_64& random, int count, int vocab_size);

// Draws its tokens, with log-probabilities, and nothing but their number ends them.
Request Draw(RequestId id, std::vector<int32_t> prompt, int num_tokens);
Request Score(RequestId id, std::vector<int32_t> prompt);

}  // namespace latentd
