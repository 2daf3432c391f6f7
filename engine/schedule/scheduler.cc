#include "engine/schedule/scheduler.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <absl/strings/str_format.h>

#include "kernels/check.h"

namespace latentd {
namespace {

// The one place for policy. Running before waiting; among the running whoever was served longest ago, so that none
// starves in a step too small for all; then by arrival.
bool GoesBefore(const Sequence* a, const Sequence* b) {
  const bool a_waits = a->phase == SequencePhase::kWaiting;
  const bool b_waits = b->phase == SequencePhase::kWaiting;
  if (a_waits != b_waits) return b_waits;
  if (a->last_turn != b->last_turn) return a->last_turn < b->last_turn;
  return a->arrival < b->arrival;
}

FinishReason ExpiredIn(const Sequence& sequence, TimePoint now) {
  if (sequence.phase == SequencePhase::kWaiting) return FinishReason::kExpiredInQueue;
  if (sequence.request.deadline > now) return FinishReason::kSlowConsumer;
  return sequence.num_generated() == 0 ? FinishReason::kExpiredInPrefill : FinishReason::kExpiredInDecode;
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options) : options_(options), pool_(options.pool) {
  CHECK_GE(options_.max_step_tokens, 1);
  CHECK_GE(options_.max_step_rows, 1);
  CHECK_GE(options_.max_step_logits, 1);
  CHECK_GE(options_.chunk_tokens, 0);
  CHECK_GE(options_.max_context_tokens, 1);
}

absl::Status Scheduler::CheckFits(const Request& request) const {
  const bool generates = request.kind == RequestKind::kGenerate;
  const int max_prompt = options_.max_context_tokens - (generates ? 1 : 0);
  const size_t prompt_tokens = request.prompt.size();
  if (prompt_tokens < 1 || prompt_tokens > static_cast<size_t>(max_prompt)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("prompt has %d tokens, expected 1 to %d (max_context_tokens=%d%s); shorten it", prompt_tokens,
                        max_prompt, options_.max_context_tokens, generates ? ", one of them for the output" : ""));
  }
  if (generates && request.stopping.max_tokens < 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("max_tokens=%d, expected at least 1", request.stopping.max_tokens));
  }
  const int needed = WorstCaseBlocks(request, static_cast<int>(prompt_tokens));
  if (needed > pool_.num_usable()) {
    return absl::FailedPreconditionError(
        absl::StrFormat("prompt of %d tokens and max_tokens=%d need %d cache blocks of %d tokens, the cache has %d; "
                        "lower max_tokens or raise kv_blocks",
                        prompt_tokens, request.stopping.max_tokens, needed, kBlockTokens, pool_.num_usable()));
  }
  return absl::OkStatus();
}

int Scheduler::WorstCaseBlocks(const Request& request, int num_prompt_tokens) const {
  int64_t tokens = num_prompt_tokens;
  if (request.kind == RequestKind::kGenerate) {
    // The last token is sampled but never computed.
    tokens = std::min<int64_t>(tokens + request.stopping.max_tokens, options_.max_context_tokens) - 1;
  }
  return BlocksFor(static_cast<int>(tokens));
}

absl::Status Scheduler::Add(Request request) {
  if (absl::Status status = CheckFits(request); !status.ok()) return status;
  const SequenceId id = request.id;
  const auto [place, is_new] = sequences_.emplace(id, std::make_unique<Sequence>(std::move(request), ++num_arrived_));
  CHECK(is_new);
  ++phase_counts_[static_cast<size_t>(SequencePhase::kWaiting)];
  num_waiting_tokens_ += place->second->num_tokens();
  return absl::OkStatus();
}

Sequence* Scheduler::Find(SequenceId id) {
  const auto found = sequences_.find(id);
  return found == sequences_.end() ? nullptr : found->second.get();
}

void Scheduler::MoveTo(Sequence& sequence, SequencePhase phase) {
  if (sequence.phase == SequencePhase::kWaiting) num_waiting_tokens_ -= sequence.num_tokens();
  --phase_counts_[static_cast<size_t>(sequence.phase)];
  ++phase_counts_[static_cast<size_t>(phase)];
  sequence.phase = phase;
}

void Scheduler::Cancel(SequenceId id, FinishReason reason, TimePoint asked) {
  Sequence* sequence = Find(id);
  if (sequence == nullptr) return;
  sequence->timings.cancel_asked = asked;
  Finish(*sequence, reason);
}

void Scheduler::CancelAll(FinishReason reason) {
  while (!sequences_.empty()) Finish(*sequences_.begin()->second, reason);
}

bool Scheduler::Pause(SequenceId id) {
  Sequence* sequence = Find(id);
  if (sequence == nullptr || sequence->phase != SequencePhase::kRunning) return false;
  MoveTo(*sequence, SequencePhase::kPaused);
  return true;
}

bool Scheduler::Resume(SequenceId id) {
  Sequence* sequence = Find(id);
  if (sequence == nullptr || sequence->phase != SequencePhase::kPaused) return false;
  MoveTo(*sequence, SequencePhase::kRunning);
  sequence->timings.paused = kNever;
  return true;
}

int64_t Scheduler::NumPendingPromptTokens() const {
  int64_t pending = 0;
  for (const auto& [id, sequence] : sequences_) pending += sequence->num_uncomputed_prompt();
  return pending;
}

void Scheduler::Finish(Sequence& sequence, FinishReason reason) {
  sequence.blocks.Release();
  MoveTo(sequence, SequencePhase::kFinished);
  sequence.finish_reason = reason;
  auto node = sequences_.extract(sequence.request.id);
  CHECK(!node.empty());
  --phase_counts_[static_cast<size_t>(SequencePhase::kFinished)];
  finished_.push_back(std::move(node.mapped()));
}

std::vector<std::unique_ptr<Sequence>> Scheduler::TakeFinished() { return std::exchange(finished_, {}); }

TimePoint Scheduler::Expiry(const Sequence& sequence) const {
  const TimePoint deadline = sequence.request.deadline;
  if (sequence.phase == SequencePhase::kWaiting) return std::min(deadline, sequence.request.queue_deadline);
  if (sequence.timings.paused == kNever) return deadline;
  return std::min(deadline, sequence.timings.paused + FromSeconds(options_.slow_consumer_seconds));
}

TimePoint Scheduler::NextExpiry() const {
  TimePoint next = kNever;
  for (const auto& [id, sequence] : sequences_) next = std::min(next, Expiry(*sequence));
  return next;
}

void Scheduler::EndExpired(TimePoint now) {
  std::vector<Sequence*> expired;
  for (const auto& [id, sequence] : sequences_) {
    if (sequence->phase == SequencePhase::kPaused && sequence->timings.paused == kNever) sequence->timings.paused = now;
    if (Expiry(*sequence) <= now) expired.push_back(sequence.get());
  }
  for (Sequence* sequence : expired) Finish(*sequence, ExpiredIn(*sequence, now));
}

std::vector<Sequence*> Scheduler::RunnableInOrder() const {
  std::vector<Sequence*> order;
  order.reserve(sequences_.size());
  for (const auto& [id, sequence] : sequences_) {
    if (sequence->phase != SequencePhase::kPaused) order.push_back(sequence.get());
  }
  std::sort(order.begin(), order.end(), GoesBefore);
  return order;
}

PlannedRow Scheduler::Deal(Sequence& sequence, const BatchPlan& plan, const StepAllowance& allowance) const {
  // Whoever generates gets its token whatever that costs. A part of a prompt for which no time is left waits for the
  // next step, where it comes first.
  const bool generates = sequence.phase == SequencePhase::kRunning && sequence.num_uncomputed() == 1;
  const int least = plan.rows.empty() ? allowance.least_chunk : generates ? 1 : 0;
  const int affordable = std::max(least, allowance.TokensFor(allowance.work - plan.work, sequence.computed));
  int count = std::min({sequence.num_uncomputed(), allowance.tokens - plan.num_tokens, affordable});
  if (options_.chunk_tokens > 0) count = std::min(count, options_.chunk_tokens);
  const int first_logit = std::max(sequence.first_logit_position(), sequence.computed);
  const int logits_left = options_.max_step_logits - plan.num_logits;
  const auto wanted_logits = [&] {
    const int end = std::min(sequence.computed + count, sequence.end_logit_position());
    return std::max(0, end - first_logit);
  };
  if (wanted_logits() > logits_left) count = first_logit - sequence.computed + logits_left;
  return {.sequence = &sequence,
          .first_position = sequence.computed,
          .num_tokens = count,
          .first_logit_position = first_logit,
          .num_logits = wanted_logits()};
}

bool Scheduler::Admit(Sequence& sequence, TimePoint now) {
  auto blocks = pool_.Reserve({.num_new = WorstCaseBlocks(sequence.request, sequence.num_prompt_tokens)});
  if (!blocks) return false;
  sequence.blocks = std::move(*blocks);
  sequence.timings.first_scheduled = now;
  MoveTo(sequence, SequencePhase::kRunning);
  return true;
}

BatchPlan Scheduler::Plan(TimePoint now, const StepAllowance& given) {
  StepAllowance allowance = given;
  allowance.tokens = std::min(allowance.tokens, options_.max_step_tokens);
  EndExpired(now);
  BatchPlan plan;
  std::optional<WaitReason> lacks;
  for (Sequence* sequence : RunnableInOrder()) {
    if (static_cast<int>(plan.rows.size()) == options_.max_step_rows) lacks = WaitReason::kRows;
    if (plan.num_tokens == allowance.tokens) lacks = WaitReason::kTokens;
    if (lacks) break;
    const bool waits = sequence->phase == SequencePhase::kWaiting;
    if (waits && !plan.rows.empty() && allowance.TokensFor(allowance.work - plan.work, sequence->computed) == 0) {
      lacks = WaitReason::kTokens;
      break;
    }
    const PlannedRow row = Deal(*sequence, plan, allowance);
    if (waits && row.num_tokens == 0) {
      lacks = WaitReason::kLogits;
    } else if (waits && !Admit(*sequence, now)) {
      lacks = WaitReason::kBlocks;
    }
    // Nobody overtakes the first in the queue, or small requests would starve a large one.
    if (lacks) break;
    if (row.num_tokens == 0) continue;
    sequence->blocks.ExtendTo(BlocksFor(row.end_position()));
    sequence->last_turn = ++num_turns_;
    plan.num_tokens += row.num_tokens;
    plan.num_logits += row.num_logits;
    plan.work += allowance.WorkOf(row.first_position, row.num_tokens);
    plan.rows.push_back(row);
  }
  if (lacks) plan.waits[static_cast<size_t>(*lacks)] = static_cast<uint64_t>(num_waiting());
  return plan;
}

void Scheduler::Commit(const BatchPlan& plan) {
  for (const PlannedRow& row : plan.rows) {
    CHECK_EQ(row.sequence->computed, row.first_position);
    row.sequence->computed = row.end_position();
    CHECK_LE(row.sequence->computed, row.sequence->num_tokens());
  }
}

}  // namespace latentd
