#include "engine/schedule/scheduler.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"

namespace latentd {
namespace {

FinishReason ExpiredIn(const Sequence& sequence, TimePoint now) {
  if (!sequence.was_scheduled()) return FinishReason::kExpiredInQueue;
  if (sequence.phase == SequencePhase::kPaused && sequence.request.deadline > now) return FinishReason::kSlowConsumer;
  return sequence.num_generated() == 0 ? FinishReason::kExpiredInPrefill : FinishReason::kExpiredInDecode;
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options),
      capacity_{.max_context_tokens = options.max_context_tokens, .num_blocks = UsableBlocks(options.pool.num_blocks)},
      recorder_(options.num_recorded),
      pool_(options.pool) {
  CHECK_GE(options_.max_step_tokens, 1);
  CHECK_GE(options_.max_step_rows, 1);
  CHECK_GE(options_.max_step_logits, 1);
  CHECK_GE(options_.chunk_tokens, 0);
  CHECK_GE(options_.max_context_tokens, 1);
}

absl::Status Scheduler::Add(Request request) {
  if (absl::Status status = CheckFits(request, capacity_); !status.ok()) return status;
  const SequenceId id{.request = request.id};
  const CapacityDemand most = DemandOf(request, capacity_);
  const auto [place, is_new] =
      sequences_.emplace(id, std::make_unique<Sequence>(std::move(request), most, ++num_arrived_));
  CHECK(is_new);
  Sequence& sequence = *place->second;
  sequence.places = {.in_phase = waiting_.insert(waiting_.end(), &sequence),
                     .in_expiries = expiries_.Add(sequence, sequence.arrival, Expiry(sequence))};
  num_pending_prompt_tokens_ += sequence.num_prompt_tokens;
  return absl::OkStatus();
}

// `act` may end the sequence.
template <class Act>
void Scheduler::ForRequest(RequestId id, const Act& act) {
  auto next = sequences_.lower_bound({.request = id});
  while (next != sequences_.end() && next->first.request == id) act(*(next++)->second);
}

Scheduler::Sequences& Scheduler::ListOf(SequencePhase phase) {
  CHECK(phase != SequencePhase::kFinished);
  if (phase == SequencePhase::kWaiting) return waiting_;
  return phase == SequencePhase::kRunning ? running_ : paused_;
}

void Scheduler::MoveTo(Sequence& sequence, SequencePhase phase) {
  CHECK(phase != SequencePhase::kWaiting && "the queue's order is that of arrival: say where preempted ones go");
  Sequences& to = ListOf(phase);
  auto before = to.end();
  if (phase == SequencePhase::kRunning && sequence.phase == SequencePhase::kPaused) {
    const auto is_served_later = [&sequence](const Sequence* other) { return sequence.last_turn < other->last_turn; };
    before = std::find_if(to.begin(), to.end(), is_served_later);
  }
  to.splice(before, ListOf(sequence.phase), sequence.places.in_phase);
  sequence.phase = phase;
  RefreshExpiry(sequence);
}

void Scheduler::Cancel(RequestId id, FinishReason reason, TimePoint asked) {
  ForRequest(id, [&](Sequence& sequence) {
    sequence.timings.cancel_asked = asked;
    Finish(sequence, reason);
  });
}

void Scheduler::CancelAll(FinishReason reason) {
  while (!sequences_.empty()) Finish(*sequences_.begin()->second, reason);
}

int Scheduler::Pause(RequestId id) {
  int num_paused = 0;
  ForRequest(id, [&](Sequence& sequence) {
    if (sequence.phase != SequencePhase::kRunning) return;
    MoveTo(sequence, SequencePhase::kPaused);
    ++num_paused;
  });
  return num_paused;
}

int Scheduler::Resume(RequestId id) {
  int num_resumed = 0;
  ForRequest(id, [&](Sequence& sequence) {
    if (sequence.phase != SequencePhase::kPaused) return;
    sequence.paused_since = kNever;
    MoveTo(sequence, SequencePhase::kRunning);
    ++num_resumed;
  });
  return num_resumed;
}

void Scheduler::Finish(Sequence& sequence, FinishReason reason) {
  CHECK(sequence.phase != SequencePhase::kFinished && "it ended before: look for who goes on committing its tokens");
  CHECK(reason != FinishReason::kStopString && "only the publisher finds those; it cancels the sequence");
  if (!sequence.was_scheduled()) LeaveQueue(sequence);
  ListOf(sequence.phase).erase(sequence.places.in_phase);
  expiries_.Remove(sequence.places.in_expiries);
  sequence.phase = SequencePhase::kFinished;
  sequence.finish_reason = reason;
  auto node = sequences_.extract(sequence.id());
  CHECK(!node.empty());
  if (sequence.rows_in_flight == 0) return Release(std::move(node.mapped()));
  CHECK(retired_.insert(std::move(node)).inserted);
}

void Scheduler::LeaveQueue(const Sequence& sequence) {
  ++departures_.requests;
  departures_.tokens += sequence.num_prompt_tokens;
}

// From here on the rest of its prompt is abandoned, as TakeFinished tells; until here it is pending.
void Scheduler::Release(std::unique_ptr<Sequence> sequence) {
  num_pending_prompt_tokens_ -= sequence->num_uncomputed_prompt();
  sequence->blocks.Release();
  finished_.push_back(std::move(sequence));
}

void Scheduler::ReleaseRetired(const Sequence& sequence) {
  auto node = retired_.extract(sequence.id());
  CHECK(!node.empty());
  Release(std::move(node.mapped()));
}

std::vector<std::unique_ptr<Sequence>> Scheduler::TakeFinished() { return std::exchange(finished_, {}); }

TimePoint Scheduler::Expiry(const Sequence& sequence) const {
  const TimePoint deadline = sequence.request.deadline;
  if (!sequence.was_scheduled()) return std::min(deadline, sequence.request.queue_deadline);
  if (sequence.paused_since == kNever) return deadline;
  return std::min(deadline, sequence.paused_since + FromSeconds(options_.slow_consumer_seconds));
}

void Scheduler::RefreshExpiry(Sequence& sequence) {
  sequence.places.in_expiries = expiries_.Move(sequence.places.in_expiries, Expiry(sequence));
}

void Scheduler::EndExpired(TimePoint now) {
  // Those paused since the last step stand last: their time begins now.
  for (auto paused = paused_.rbegin(); paused != paused_.rend() && (*paused)->paused_since == kNever; ++paused) {
    (*paused)->paused_since = now;
    RefreshExpiry(**paused);
  }
  while (Sequence* sequence = expiries_.FirstBy(now)) Finish(*sequence, ExpiredIn(*sequence, now));
}

PlannedRow Scheduler::Deal(Sequence& sequence, const BatchPlan& plan, const StepAllowance& allowance) const {
  // A sequence that generates gets its token at any cost. A part of a prompt for which no time is left waits for the
  // next step, where it comes first.
  const bool generates = sequence.phase == SequencePhase::kRunning && sequence.num_unplanned() == 1;
  const int least = plan.rows.empty() ? allowance.least_chunk : generates ? 1 : 0;
  const int affordable = std::max(least, allowance.TokensFor(allowance.work - plan.work, sequence.planned));
  int count = std::min({sequence.num_unplanned(), allowance.tokens - plan.num_tokens, affordable});
  if (options_.chunk_tokens > 0) count = std::min(count, options_.chunk_tokens);
  const int first_logit = std::max(sequence.first_logit_position(), sequence.planned);
  const int logits_left = options_.max_step_logits - plan.num_logits;
  const auto wanted_logits = [&] {
    const int end = std::min(sequence.planned + count, sequence.end_logit_position());
    return std::max(0, end - first_logit);
  };
  if (wanted_logits() > logits_left) count = first_logit - sequence.planned + logits_left;
  return {.sequence = &sequence,
          .first_position = sequence.planned,
          .num_tokens = count,
          .first_logit_position = first_logit,
          .num_logits = wanted_logits()};
}

void Scheduler::AddRow(const PlannedRow& row, const StepAllowance& allowance, BatchPlan& plan) {
  Sequence& sequence = *row.sequence;
  sequence.blocks.ExtendTo(BlocksFor(row.end_position()));
  sequence.planned = row.end_position();
  ++sequence.rows_in_flight;
  sequence.last_turn = ++num_turns_;
  running_.splice(running_.end(), running_, sequence.places.in_phase);
  plan.num_tokens += row.num_tokens;
  plan.num_logits += row.num_logits;
  plan.work += allowance.WorkOf(row.first_position, row.num_tokens);
  plan.rows.push_back(row);
}

bool Scheduler::Admit(Sequence& sequence, TimePoint now, BatchPlan& plan) {
  auto blocks = pool_.Reserve({.num_new = sequence.most.blocks});
  if (!blocks) return false;
  sequence.blocks = std::move(*blocks);
  sequence.tokens.reserve(static_cast<size_t>(sequence.most.tokens));
  if (!sequence.was_scheduled()) {
    ++plan.num_started;
    LeaveQueue(sequence);
    sequence.timings.first_scheduled = now;
  }
  MoveTo(sequence, SequencePhase::kRunning);
  return true;
}

std::optional<WaitReason> Scheduler::Lacks(const StepAllowance& allowance, const BatchPlan& plan) const {
  if (plan.num_tokens == allowance.tokens) return WaitReason::kTokens;
  if (static_cast<int>(plan.rows.size()) == options_.max_step_rows) return WaitReason::kRows;
  return std::nullopt;
}

// The sequence served longest ago comes first, so that none starves in a step too small for all.
std::optional<WaitReason> Scheduler::DealToRunning(const StepAllowance& allowance, BatchPlan& plan) {
  auto next = running_.begin();
  for (size_t left = running_.size(); left > 0; --left) {
    if (const auto lacks = Lacks(allowance, plan)) return lacks;
    Sequence& sequence = **next++;  // a row moves it to the end
    const PlannedRow row = Deal(sequence, plan, allowance);
    if (row.num_tokens > 0) AddRow(row, allowance, plan);
  }
  return std::nullopt;
}

// The first in the queue is never overtaken, or small requests would starve a large one.
std::optional<WaitReason> Scheduler::DealToWaiting(TimePoint now, const StepAllowance& allowance, BatchPlan& plan) {
  while (!waiting_.empty()) {
    if (const auto lacks = Lacks(allowance, plan)) return lacks;
    Sequence& sequence = *waiting_.front();
    const bool has_time = allowance.TokensFor(allowance.work - plan.work, sequence.planned) > 0;
    if (!plan.rows.empty() && !has_time) return WaitReason::kTokens;
    const PlannedRow row = Deal(sequence, plan, allowance);
    if (row.num_tokens == 0) return WaitReason::kLogits;
    if (!Admit(sequence, now, plan)) return WaitReason::kBlocks;
    AddRow(row, allowance, plan);
  }
  return std::nullopt;
}

void Scheduler::Plan(TimePoint now, const StepAllowance& given, BatchPlan& plan) {
  StepAllowance allowance = given;
  allowance.tokens = std::min(allowance.tokens, options_.max_step_tokens);
  EndExpired(now);
  for (const auto& sequence : finished_) sequence->timings.released = std::min(sequence->timings.released, now);
  plan.Clear();
  std::optional<WaitReason> lacks = DealToRunning(allowance, plan);
  if (!lacks) lacks = DealToWaiting(now, allowance, plan);
  if (lacks) plan.waits[static_cast<size_t>(*lacks)] = static_cast<uint64_t>(num_waiting());
}

int Scheduler::Commit(const BatchPlan& plan) {
  int num_prompt_tokens = 0;
  for (const PlannedRow& row : plan.rows) {
    Sequence& sequence = *row.sequence;
    CHECK_GT(sequence.rows_in_flight, 0);
    --sequence.rows_in_flight;
    if (sequence.phase == SequencePhase::kFinished) {
      if (sequence.rows_in_flight == 0) ReleaseRetired(sequence);
      continue;
    }
    CHECK_EQ(sequence.computed, row.first_position);
    sequence.computed = row.end_position();
    CHECK_LE(sequence.computed, sequence.planned);
    const int newly_computed =
        std::max(0, std::min(sequence.computed, sequence.num_prompt_tokens) - sequence.prompt_computed);
    sequence.prompt_computed += newly_computed;
    num_prompt_tokens += newly_computed;
  }
  num_pending_prompt_tokens_ -= num_prompt_tokens;
  return num_prompt_tokens;
}

}  // namespace latentd
