// A Scheduler whose steps a test makes by hand, and what it needs to fill it.
#pragma once

#include <algorithm>
#include <chrono>
#include <numeric>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/schedule/scheduler.h"

namespace latentd::by_hand {

inline TimePoint At(int second) { return TimePoint(std::chrono::seconds(1000 + second)); }

inline std::vector<int32_t> Tokens(int first, int count) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

// No two requests share anything unless a test wants it.
inline Request Generate(RequestId id, int num_prompt_tokens, int max_tokens) {
  Request request{.id = id, .prompt = Tokens(static_cast<int>(id) * 1000, num_prompt_tokens), .received = At(0)};
  request.stopping.max_tokens = max_tokens;
  return request;
}

inline Request WithPrompt(RequestId id, std::vector<int32_t> prompt, int max_tokens = 5) {
  Request request = Generate(id, 1, max_tokens);
  request.prompt = std::move(prompt);
  return request;
}

inline SchedulerOptions WithBlocks(int num_blocks) {
  return {.cache = {.num_blocks = num_blocks + 1},
          .max_step_tokens = 1000,
          .max_step_rows = 4,
          .max_step_logits = 8,
          .max_context_tokens = 1000,
          .slow_consumer_seconds = 5};
}

// {id, index, first position, tokens} of each row.
using Row = std::tuple<RequestId, int, int, int>;

class Steps {
 public:
  explicit Steps(const SchedulerOptions& options) : scheduler(options) {}
  ~Steps() { scheduler.CancelAll(FinishReason::kCancelled); }

  void Add(const Request& request) { ASSERT_TRUE(scheduler.Add(request).ok()); }
  std::vector<Row> Step(TimePoint now = At(0), int budget = 1 << 30) { return StepWith({.tokens = budget}, now); }
  std::vector<Row> StepWith(const StepAllowance& allowance, TimePoint now = At(0)) {
    scheduler.Plan(now, allowance, plan);
    std::vector<Row> rows;
    for (const PlannedRow& row : plan.rows) {
      rows.emplace_back(row.sequence->request.id, row.sequence->index, row.first_position, row.num_tokens);
    }
    Commit(plan);
    return rows;
  }
  // As the engine does it: what its rows gave is committed, and what was drafted behind them is kept.
  void Commit(BatchPlan& computed) {
    for (PlannedRow& row : computed.rows) row.verdict.num_accepted = std::min(num_right, row.num_drafts);
    scheduler.Commit(computed);
    for (const PlannedRow& row : computed.rows) {
      Sequence& sequence = *row.sequence;
      if (row.num_logits == 0 || sequence.phase == SequencePhase::kFinished) continue;
      sequence.tokens.push_back(7 + sequence.index);
      const int num_slots = sequence.blocks.num_blocks() * kBlockSlots - row.committed_end();
      const int num_drafts = row.following ? std::min(row.following->num_drafts, num_slots) : 0;
      sequence.AddDrafts(std::vector<int32_t>(static_cast<size_t>(num_drafts), 7 + sequence.index));
    }
    EXPECT_TRUE(scheduler.CheckInvariants().ok()) << scheduler.CheckInvariants();
  }
  // {id, tokens} of each row.
  std::vector<std::pair<RequestId, int>> SharesOf(const StepAllowance& allowance) {
    std::vector<std::pair<RequestId, int>> shares;
    for (const Row& row : StepWith(allowance)) shares.emplace_back(std::get<0>(row), std::get<3>(row));
    return shares;
  }
  void Finish(RequestId id) { scheduler.Cancel(id); }
  uint64_t preemptions(PreemptionReason reason) const {
    return scheduler.totals().preemptions[static_cast<size_t>(reason)];
  }

  Scheduler scheduler;
  BatchPlan plan;
  int num_right = 0;  // of each row's drafts
};

}  // namespace latentd::by_hand
