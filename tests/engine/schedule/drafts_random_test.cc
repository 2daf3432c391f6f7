// A random workload with drafts, up to two plans in flight, beside a cache of what each slot holds: of a token and all
// before it, in the main layers and in the one that drafts. What the scheduler says is there must be there.
#include <algorithm>
#include <chrono>
#include <deque>
#include <random>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/schedule/scheduler.h"

namespace latentd {
namespace {

constexpr int32_t kWrong = 99;  // no token is this one
// What every sequence goes on with.
int32_t TokenAt(int position) { return 10 + position % 7; }

// One value for the first token, one for the first two, and so on.
std::vector<uint64_t> PrefixesOf(std::span<const int32_t> tokens) {
  std::vector<uint64_t> prefixes;
  uint64_t hash = 1;
  for (const int32_t token : tokens) {
    hash = (hash ^ static_cast<uint64_t>(token)) * 1099511628211u;
    prefixes.push_back(hash);
  }
  return prefixes;
}

// One layer's slots.
class Layer {
 public:
  explicit Layer(int num_blocks) : slots_(static_cast<size_t>(num_blocks * kBlockSlots)) {}

  uint64_t& At(std::span<const BlockId> table, int position) {
    const BlockId block = table[static_cast<size_t>(position / kBlockSlots)];
    return slots_[static_cast<size_t>(block * kBlockSlots + position % kBlockSlots)];
  }
  void Copy(const BlockCopy& copy) {
    std::copy_n(slots_.begin() + copy.from * kBlockSlots, copy.num_slots, slots_.begin() + copy.to * kBlockSlots);
  }
  bool Has(std::span<const BlockId> table, std::span<const uint64_t> prefixes, int from, int to) {
    for (int position = from; position < to; ++position) {
      if (At(table, position) != prefixes[static_cast<size_t>(position)]) return false;
    }
    return true;
  }

 private:
  std::vector<uint64_t> slots_;
};

class DraftingWorkload {
 public:
  explicit DraftingWorkload(uint64_t seed)
      : random_(seed),
        options_(DrawOptions(seed)),
        scheduler_(options_),
        main_(options_.cache.num_blocks),
        drafting_(options_.cache.num_blocks) {}

  void Run(int num_steps) {
    for (int step = 0; step < num_steps; ++step) {
      for (int i = Below(3); step < num_steps / 2 && i > 0; --i) AddOne();
      Disturb();
      Plan(1 + Below(options_.max_step_tokens * 2));
      if (in_flight_.size() == 2 || Below(2) == 0) Compute();
      Check();
      if (testing::Test::HasFailure()) return;
    }
    for (RequestId id : paused_) scheduler_.Resume(id);
    for (int step = 0; !live_.empty(); ++step) {
      ASSERT_LT(step, 20000) << "sequences starve: " << live_.size();
      Plan(options_.max_step_tokens);
      Compute();
      Check();
      if (testing::Test::HasFailure()) return;
    }
    while (!in_flight_.empty()) Compute();
    EXPECT_EQ(scheduler_.cache().num_held(), 0);
  }

  int num_accepted() const { return num_accepted_; }
  int num_again() const { return num_again_; }

 private:
  // A plan with the tables that its rows had when they were launched.
  struct Launched {
    BatchPlan plan;
    std::vector<std::vector<BlockId>> tables = {};
  };

  int Below(int bound) { return static_cast<int>(random_() % static_cast<uint64_t>(bound)); }

  SchedulerOptions DrawOptions(uint64_t seed) {
    return {.cache = {.num_blocks = 8 + Below(30), .shuffle_seed = seed},
            .max_step_tokens = 8 + Below(150),
            .max_step_rows = 1 + Below(10),
            .max_step_logits = 1 + Below(30),
            .chunk_tokens = Below(2) * (1 + Below(70)),
            .max_drafts = 1 + Below(4),
            .max_context_tokens = 300,
            .slow_consumer_seconds = 1e6};
  }

  void AddOne() {
    Request request{.id = last_id_ + 1};
    request.prompt.assign(static_cast<size_t>(1 + Below(200)), Below(3));
    request.stopping.max_tokens = 1 + Below(150);
    request.max_drafts = Below(3) == 0 ? Below(5) : kAutoDrafts;
    if (Below(4) == 0) request.num_sequences = 2;
    if (Below(5) == 0) request.kind = RequestKind::kScore;
    if (Below(5) == 0) request.cache.reads = false;
    if (Below(3) == 0) request.scheduling.priority = Below(3);
    if (!scheduler_.Add(request).ok()) return;  // larger than a small pool
    live_.insert(++last_id_);
  }

  void Disturb() {
    if (live_.empty()) return;
    const RequestId id = *std::next(live_.begin(), Below(static_cast<int>(live_.size())));
    switch (Below(12)) {
      case 0:
        return scheduler_.Cancel(id);
      case 1:
        scheduler_.Pause(id);
        paused_.insert(id);
        return;
      case 2:
        for (RequestId paused : paused_) scheduler_.Resume(paused);
        return paused_.clear();
      default:
        return;
    }
  }

  void Plan(int num_tokens) {
    Launched& launched = in_flight_.emplace_back();
    const StepAllowance allowance{.tokens = num_tokens, .auto_drafts = Below(3) == 0 ? 0 : 1 + Below(4)};
    scheduler_.Plan({}, allowance, launched.plan);
    std::set<const Sequence*> sequences;
    int num_tokens_planned = 0, num_logits = 0;
    for (const PlannedRow& row : launched.plan.rows) {
      EXPECT_TRUE(sequences.insert(row.sequence).second);
      CheckRow(row);
      num_tokens_planned += row.num_tokens;
      num_logits += row.num_logits;
      num_again_ += row.num_again;
      const auto blocks = row.sequence->blocks.blocks();
      launched.tables.emplace_back(blocks.begin(), blocks.end());
    }
    EXPECT_EQ(num_tokens_planned, launched.plan.num_tokens);
    EXPECT_EQ(num_logits, launched.plan.num_logits);
    EXPECT_LE(num_tokens_planned, std::min(num_tokens, options_.max_step_tokens));
    EXPECT_LE(num_logits, options_.max_step_logits);
    EXPECT_LE(static_cast<int>(launched.plan.rows.size()), options_.max_step_rows);
  }

  void CheckRow(const PlannedRow& row) {
    const Sequence& sequence = *row.sequence;
    EXPECT_EQ(sequence.phase, SequencePhase::kRunning);
    EXPECT_GE(row.num_tokens, 1 + row.num_again + row.num_drafts);
    EXPECT_TRUE(options_.chunk_tokens == 0 || row.num_tokens <= options_.chunk_tokens) << row.num_tokens;
    EXPECT_EQ(row.end_position(), sequence.planned);
    EXPECT_LE(row.end_position() - row.num_drafts, sequence.num_tokens());
    EXPECT_LE(row.num_drafts, std::min(sequence.num_drafts, options_.max_drafts));
    EXPECT_LE(row.end_position(), std::max(sequence.most.tokens - 1, sequence.num_prompt_tokens));
    EXPECT_LE(sequence.blocks.num_blocks(), sequence.most.blocks);
    EXPECT_TRUE(row.num_drafts == 0 || sequence.rows_in_flight == 1);
    EXPECT_TRUE(!row.following || sequence.request.kind == RequestKind::kGenerate);
    const auto own = sequence.blocks.blocks().subspan(static_cast<size_t>(row.first_new() / kBlockSlots));
    for (BlockId block : own) EXPECT_EQ(scheduler_.cache().num_references(block), 1);
  }

  void Compute() {
    if (in_flight_.empty()) return;
    Launched launched = std::move(in_flight_.front());
    in_flight_.pop_front();
    for (const BlockCopy& copy : launched.plan.copies) main_.Copy(copy), drafting_.Copy(copy);
    for (size_t i = 0; i < launched.plan.rows.size(); ++i) ComputeRow(launched.plan.rows[i], launched.tables[i]);
    std::vector<std::vector<int32_t>> drafts;
    for (size_t i = 0; i < launched.plan.rows.size(); ++i) {
      drafts.push_back(FollowRow(launched.plan.rows[i], launched.tables[i]));
    }
    scheduler_.Commit(launched.plan);
    for (size_t i = 0; i < launched.plan.rows.size(); ++i) CommitRow(launched.plan.rows[i], drafts[i]);
    for (const auto& sequence : scheduler_.TakeFinished()) {
      EXPECT_EQ(sequence->blocks.num_blocks(), 0);
      if (sequence->run->num_left == 0) live_.erase(sequence->request.id), paused_.erase(sequence->request.id);
    }
  }

  // The main layers, and how many of the drafts are right.
  void ComputeRow(PlannedRow& row, std::span<const BlockId> table) {
    const Sequence& sequence = *row.sequence;
    const auto tokens = std::span(sequence.tokens).first(static_cast<size_t>(row.end_position()));
    const std::vector<uint64_t> prefixes = PrefixesOf(tokens);
    EXPECT_TRUE(main_.Has(table, prefixes, 0, row.first_new())) << "they must have all that lies before";
    for (int position = row.first_new(); position < row.end_position(); ++position) {
      main_.At(table, position) = prefixes[static_cast<size_t>(position)];
    }
    row.verdict.is_finite = Below(200) > 0;
    if (row.num_drafts == 0 || !row.verdict.is_finite) return;
    int& num_accepted = row.verdict.num_accepted;
    for (const int32_t draft : tokens.last(static_cast<size_t>(row.num_drafts))) {
      if (draft != TokenAt(row.committed_end())) break;
      ++num_accepted;
    }
    if (Below(20) == 0) {
      num_accepted = Below(num_accepted + 1);
      row.verdict.end = FinishReason::kEos;
    }
    EXPECT_LE(sequence.num_tokens() + num_accepted + 1, sequence.most.tokens);
  }

  // The layer that drafts: what it sees must be there. Returns what it drafts.
  std::vector<int32_t> FollowRow(const PlannedRow& row, std::span<const BlockId> table) {
    if (!row.following) return {};
    std::vector<int32_t> tokens(row.sequence->tokens.begin(), row.sequence->tokens.begin() + row.committed_end());
    const bool is_sampled = row.num_logits > 0;
    tokens.push_back(is_sampled ? TokenAt(row.committed_end())
                                : row.sequence->tokens[static_cast<size_t>(row.committed_end())]);
    const std::vector<uint64_t> prefixes = PrefixesOf(tokens);
    const int first = row.first_position + 1;
    EXPECT_LE(row.following->first_key, first);
    EXPECT_GE(row.following->first_key, kFirstDraftedSlot);
    EXPECT_TRUE(drafting_.Has(table, prefixes, row.following->first_key, first));
    const int num_slots = static_cast<int>(table.size()) * kBlockSlots;
    for (int position = first; position < std::min(static_cast<int>(tokens.size()), num_slots); ++position) {
      drafting_.At(table, position) = prefixes[static_cast<size_t>(position)];
    }
    std::vector<int32_t> drafts;
    for (int position = static_cast<int>(tokens.size()) - 1; position < num_slots; ++position) {
      if (std::ssize(drafts) == row.following->num_drafts) break;
      if (!drafts.empty()) drafting_.At(table, position) = kWrong;
      drafts.push_back(Below(4) == 0 ? kWrong : TokenAt(position + 1));
    }
    return drafts;
  }

  void CommitRow(const PlannedRow& row, std::span<const int32_t> drafts) {
    Sequence& sequence = *row.sequence;
    if (sequence.phase == SequencePhase::kFinished) return;
    if (!row.verdict.is_finite) return scheduler_.Finish(sequence, FinishReason::kNonFiniteLogits);
    num_accepted_ += row.verdict.num_accepted;
    EXPECT_EQ(sequence.num_drafts, 0);
    EXPECT_EQ(sequence.computed, row.committed_end());
    if (sequence.request.kind == RequestKind::kScore) {
      if (sequence.num_uncomputed() == 0) scheduler_.Finish(sequence, FinishReason::kScored);
      return;
    }
    if (row.num_logits == 0) return;
    EXPECT_EQ(sequence.computed, sequence.num_tokens());
    sequence.tokens.push_back(TokenAt(sequence.num_tokens()));
    if (row.verdict.end) return scheduler_.Finish(sequence, *row.verdict.end);
    const bool is_full = sequence.num_tokens() >= options_.max_context_tokens;
    const bool has_all = sequence.num_generated() >= sequence.request.stopping.max_tokens;
    if (is_full || has_all) return scheduler_.Finish(sequence, FinishReason::kMaxTokens);
    sequence.AddDrafts(drafts);
  }

  void Check() {
    const absl::Status status = scheduler_.CheckInvariants();
    EXPECT_TRUE(status.ok()) << status;
    scheduler_.ForEach([this](const Sequence& sequence) {
      if (sequence.rows_in_flight > 0 || sequence.blocks.num_blocks() == 0) return;
      const auto [from, to] = sequence.drafted;
      const std::vector<uint64_t> prefixes = PrefixesOf(sequence.tokens);
      EXPECT_TRUE(drafting_.Has(sequence.blocks.blocks(), prefixes, from, to)) << from << " to " << to;
    });
  }

  std::mt19937_64 random_;
  const SchedulerOptions options_;
  Scheduler scheduler_;
  Layer main_, drafting_;
  std::deque<Launched> in_flight_;
  RequestId last_id_ = 0;
  std::set<RequestId> live_;
  std::set<RequestId> paused_;
  int num_accepted_ = 0, num_again_ = 0;
};

TEST(DraftDealer, WhatItSaysIsThereUnderRandomLoad) {
  int num_accepted = 0, num_again = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    DraftingWorkload workload(seed);
    workload.Run(200);
    if (testing::Test::HasFailure()) return;
    num_accepted += workload.num_accepted();
    num_again += workload.num_again();
  }
  EXPECT_GT(num_accepted, 10'000);
  EXPECT_GT(num_again, 1000);
}

}  // namespace
}  // namespace latentd
