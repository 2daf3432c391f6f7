// A random workload against the scheduler, its invariants checked after every step.
#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "engine/schedule/scheduler.h"

namespace latentd {
namespace {

class Workload {
 public:
  explicit Workload(uint64_t seed) : random_(seed), options_(DrawOptions(seed)), scheduler_(options_) {}

  void Run(int num_steps) {
    for (int step = 0; step < num_steps; ++step) {
      now_ += std::chrono::milliseconds(Below(50));
      const bool arrivals = step < num_steps / 2;
      for (int i = Below(4); arrivals && i > 0; --i) AddOne();
      Disturb();
      CheckAndCompute(Plan(1 + Below(options_.max_step_tokens * 2)));
      CollectEnds();
      CheckAll();
      if (testing::Test::HasFailure()) return;
    }
    for (RequestId id : paused_) scheduler_.Resume(id);
    for (int step = 0; !live_.empty(); ++step) {
      ASSERT_LT(step, 20000) << "sequences starve: " << live_.size();
      CheckAndCompute(Plan(options_.max_step_tokens));
      CollectEnds();
    }
    EXPECT_EQ(scheduler_.cache().num_held(), 0);
    EXPECT_EQ(num_ended_, last_id_);
  }

 private:
  int Below(int bound) { return static_cast<int>(random_() % static_cast<uint64_t>(bound)); }

  SchedulerOptions DrawOptions(uint64_t seed) {
    return {.cache = {.num_blocks = 10 + Below(40), .shuffle_seed = seed},
            .max_step_tokens = 8 + Below(200),
            .max_step_rows = 1 + Below(16),
            .max_step_logits = 1 + Below(16),
            .chunk_tokens = Below(2) * (1 + Below(70)),
            .max_context_tokens = 512,
            .slow_consumer_seconds = 0.5};
  }

  void AddOne() {
    Request request{.id = last_id_ + 1, .received = now_};
    // Few kinds of prompts, so that they share prefixes of all lengths.
    request.prompt.assign(static_cast<size_t>(1 + Below(300)), Below(3));
    if (Below(4) == 0) request.cache.reads = false;
    if (Below(4) == 0) request.cache.stores = false;
    if (Below(4) == 0) request.cache.keep_seconds = 0.2;
    if (Below(3) == 0) request.scheduling.priority = Below(3);
    if (Below(3) == 0) request.scheduling.tenant = Below(2) == 0 ? "a" : "b";
    request.stopping.max_tokens = 1 + Below(200);
    if (Below(5) == 0) request.kind = RequestKind::kScore;
    if (Below(4) == 0) request.deadline = now_ + std::chrono::milliseconds(Below(2000));
    if (Below(4) == 0) request.queue_deadline = now_ + std::chrono::milliseconds(Below(1000));
    if (!scheduler_.Add(request).ok()) return;  // larger than a small pool
    ++last_id_;
    live_.insert(last_id_);
  }

  void Disturb() {
    if (live_.empty()) return;
    const RequestId id = *std::next(live_.begin(), Below(static_cast<int>(live_.size())));
    switch (Below(8)) {
      case 0:
        scheduler_.Cancel(id);
        return;
      case 1:
        scheduler_.Pause(id), paused_.insert(id);
        return;
      case 2:
      case 3:
        for (RequestId paused : paused_) scheduler_.Resume(paused);
        paused_.clear();
        return;
      default:
        return;
    }
  }

  const BatchPlan& Plan(int num_tokens) {
    scheduler_.Plan(now_, {.tokens = num_tokens, .tokens_per_second = tokens_per_second_}, plan_);
    return plan_;
  }

  void CheckAndCompute(const BatchPlan& plan) {
    int num_tokens = 0;
    int num_logits = 0;
    std::set<RequestId> ids;
    for (const PlannedRow& row : plan.rows) {
      const Sequence& sequence = *row.sequence;
      EXPECT_TRUE(ids.insert(sequence.request.id).second);
      EXPECT_EQ(sequence.phase, SequencePhase::kRunning);
      EXPECT_GT(sequence.request.deadline, now_);
      EXPECT_EQ(row.first_position, sequence.computed);
      EXPECT_GE(row.num_tokens, 1);
      EXPECT_LE(row.num_tokens, options_.chunk_tokens > 0 ? options_.chunk_tokens : options_.max_step_tokens);
      EXPECT_LE(row.end_position(), sequence.num_tokens());
      EXPECT_EQ(sequence.blocks.num_blocks(), BlocksFor(row.end_position()));
      CheckWrittenBlocks(row);
      num_tokens += row.num_tokens;
      num_logits += row.num_logits;
    }
    EXPECT_LE(num_tokens, options_.max_step_tokens);
    EXPECT_LE(num_logits, options_.max_step_logits);
    EXPECT_LE(static_cast<int>(plan.rows.size()), options_.max_step_rows);
    EXPECT_EQ(num_tokens, plan.num_tokens);
    EXPECT_EQ(num_logits, plan.num_logits);
    Compute(plan);
  }

  // What a row writes into is its sequence's alone.
  void CheckWrittenBlocks(const PlannedRow& row) {
    const auto blocks = row.sequence->blocks.blocks().subspan(static_cast<size_t>(row.first_position / kBlockSlots));
    for (BlockId block : blocks) {
      EXPECT_EQ(scheduler_.cache().num_references(block), 1);
      EXPECT_NE(block, kScratchBlock);
    }
  }

  void Compute(const BatchPlan& plan) {
    scheduler_.Commit(plan);
    for (const PlannedRow& row : plan.rows) {
      Sequence& sequence = *row.sequence;
      if (sequence.request.kind == RequestKind::kScore) {
        scored_[sequence.request.id] += row.num_logits;
        if (sequence.num_uncomputed() > 0) continue;
        EXPECT_EQ(scored_[sequence.request.id], sequence.num_prompt_tokens - 1);
        scheduler_.Finish(sequence, FinishReason::kScored);
      } else if (row.num_logits == 1) {
        EXPECT_EQ(row.end_position(), sequence.num_tokens());
        sequence.tokens.push_back(5);
        if (sequence.num_generated() == sequence.request.stopping.max_tokens) {
          scheduler_.Finish(sequence, FinishReason::kMaxTokens);
        } else if (sequence.num_tokens() == options_.max_context_tokens) {
          scheduler_.Finish(sequence, FinishReason::kContextLimit);
        }
      }
    }
  }

  void CollectEnds() {
    for (const auto& sequence : scheduler_.TakeFinished()) {
      EXPECT_EQ(live_.erase(sequence->request.id), 1u);
      EXPECT_EQ(sequence->blocks.num_blocks(), 0);
      paused_.erase(sequence->request.id);
      ++num_ended_;
    }
  }

  void CheckAll() {
    const absl::Status status = scheduler_.CheckInvariants();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(static_cast<size_t>(scheduler_.num_waiting() + scheduler_.num_running() + scheduler_.num_paused()),
              live_.size());
  }

  std::mt19937_64 random_;
  const SchedulerOptions options_;
  const double tokens_per_second_ = 50.0 * Below(20);
  Scheduler scheduler_;
  BatchPlan plan_;
  TimePoint now_{};
  RequestId last_id_ = 0;
  uint64_t num_ended_ = 0;
  std::set<RequestId> live_;
  std::set<RequestId> paused_;
  std::map<RequestId, int> scored_;
};

TEST(Scheduler, KeepsItsInvariantsUnderRandomLoad) {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Workload(seed).Run(300);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace latentd
