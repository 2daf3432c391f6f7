#include "engine/step/engine.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <limits>
#include <utility>

#include "base/check.h"
#include "engine/step/verdict.h"

namespace latentd {
namespace {

// What prompts get of a step while there are other sequences: at least so much where rows decode, and so much at most
// where none does. More would be faster for them, but what comes meanwhile waits for the step's end.
constexpr double kBesideDecode = 0.05, kBesidePrompts = 0.25;

Phase PhaseOf(const Sequence& sequence) {
  const RequestRun& run = *sequence.run;
  if (!run.has_started) return Phase::kQueued;
  return run.has_token ? Phase::kDecode : Phase::kPrefill;
}

bool IsPrefill(const PlannedRow& row) { return row.first_new() < row.sequence->num_prompt_tokens; }

int NumPrefills(const BatchPlan& plan) {
  return static_cast<int>(std::count_if(plan.rows.begin(), plan.rows.end(), IsPrefill));
}

StepKind KindOf(const BatchPlan& plan) {
  const int num_prefills = NumPrefills(plan);
  if (num_prefills == 0) return StepKind::kDecode;
  return num_prefills == std::ssize(plan.rows) ? StepKind::kPrefill : StepKind::kMixed;
}

void StampToken(TimePoint now, Sequence& sequence) {
  SequenceTimings& timings = sequence.timings;
  if (timings.first_token == kNever) {
    timings.first_token = now;
  } else {
    timings.token_gaps.Observe(Seconds(now - timings.last_token));
  }
  timings.last_token = now;
}

PriorityCounts WaitingByPriority(const WaitingQueue& queue) {
  PriorityCounts counts{};
  for (int priority = kLowestPriority; priority <= kHighestPriority; ++priority) {
    counts[static_cast<size_t>(priority - kLowestPriority)] = queue.size_of(priority);
  }
  return counts;
}

SchedulerLevels LevelsOf(const Scheduler& scheduler) {
  const BlockCache& cache = scheduler.cache();
  return {.pending_prompt_tokens = scheduler.num_pending_prompt_tokens(),
          .free_blocks = cache.num_free(),
          .active_blocks = cache.num_held(),
          .cached_blocks = cache.num_cached(),
          .reserved_blocks = cache.num_total() - cache.num_usable(),
          .total_blocks = cache.num_total(),
          .num_evictions = cache.num_evictions(),
          .totals = scheduler.totals(),
          .waiting = WaitingByPriority(scheduler.waiting()),
          .tenants = &scheduler.tenants(),
          .has_work = scheduler.num_running() + scheduler.num_waiting() > 0};
}

// How many drafts each of the rows verified and was asked for again; nothing where they differ, or where a prompt was
// computed.
std::optional<int> DraftsOfEach(const BatchPlan& plan) {
  if (plan.rows.empty()) return std::nullopt;
  const int num_drafts = plan.rows.front().num_drafts;
  const auto is_alike = [&](const PlannedRow& row) {
    const int num_next = row.following ? row.following->num_drafts : 0;
    return !IsPrefill(row) && row.num_drafts == num_drafts && num_next == num_drafts;
  };
  return std::ranges::all_of(plan.rows, is_alike) ? std::optional(num_drafts) : std::nullopt;
}

void JudgeRows(std::span<const SampleResult> results, const EndRules& rules, BatchPlan& plan) {
  for (PlannedRow& row : plan.rows) {
    const auto own = results.first(static_cast<size_t>(row.num_logits));
    row.verdict = Judge(row, own, rules);
    results = results.subspan(own.size());
  }
}

// The results that the row's sequence gets: nothing follows what the verdict stopped at.
std::span<SampleResult> Given(const PlannedRow& row, std::span<SampleResult> results) {
  const RowVerdict& verdict = row.verdict;
  if (row.sequence->request.kind == RequestKind::kScore) return verdict.is_finite ? results : results.first(0);
  const int count = verdict.num_accepted + (verdict.is_finite ? 1 : 0);
  return results.first(std::min(results.size(), static_cast<size_t>(count)));
}

SequenceEnd EndOf(const Sequence& sequence, TimePoint finished) {
  const FinishReason reason = sequence.finish_reason;
  const int most_computed = std::max(sequence.computed, sequence.most_computed);
  SequenceEnd end{.id = sequence.id(),
                  .reason = reason,
                  .prompt_tokens = sequence.num_prompt_tokens,
                  .generated_tokens = sequence.num_generated(),
                  .computed_tokens = std::max(0, most_computed - (sequence.index == 0 ? sequence.cached_tokens : 0)),
                  .cached_tokens = sequence.cached_tokens,
                  .drafted_tokens = sequence.drafted_tokens,
                  .accepted_tokens = sequence.accepted_tokens,
                  .timings = sequence.timings};
  if (reason == FinishReason::kEos || reason == FinishReason::kStopToken) end.stop_token_id = sequence.tokens.back();
  if (sequence.preempted_since != kNever) end.timings.preempted += finished - sequence.preempted_since;
  end.timings.num_preemptions = sequence.num_preemptions;
  end.timings.finished = finished;
  end.timings.released = std::min(end.timings.released, finished);
  return end;
}

}  // namespace

Engine::Engine(StepExecutor& executor, const EngineOptions& options, Metrics& metrics)
    : executor_(executor),
      options_(options),
      scheduler_(options_.scheduler),
      builder_(options_.vocabulary),
      budget_(options_.step),
      speculation_(options_.scheduler.max_drafts),
      reporter_(metrics, LevelsOf(scheduler_)),
      spare_(kMaxStepsInFlight) {}

absl::Status Engine::Add(Request request) {
  const auto prompt_tokens = static_cast<int64_t>(request.prompt.size());
  absl::Status status = scheduler_.Add(std::move(request));
  if (status.ok()) reporter_.Admit(prompt_tokens);
  return status;
}

StepAllowance Engine::Allowance() const {
  // One token for each running sequence, and its drafts, whatever the clock says: rotating them through smaller steps
  // would cost the fixed part of a step more often and serve each of them later. And some for a prompt, or it would
  // starve.
  const int chunk_tokens = options_.scheduler.chunk_tokens;
  const int least_chunk = std::max(1, options_.step.min_tokens);
  const int num_running = scheduler_.num_running();
  const int most_decoding = std::min(num_running, options_.scheduler.max_step_rows);
  const int of_decoding = num_running + most_decoding * options_.scheduler.max_drafts;
  return {.tokens = std::max({budget_.tokens(), of_decoding + least_chunk, chunk_tokens}),
          .work = std::max<double>(budget_.tokens(), chunk_tokens),
          .work_per_key = options_.step.work_per_key,
          .least_chunk = least_chunk,
          .work_beside_decode = std::clamp(budget_.tokens_in(budget_.decode_seconds()),
                                           kBesideDecode * budget_.tokens(), kBesidePrompts * budget_.tokens()),
          .work_beside_prompts = kBesidePrompts * budget_.tokens(),
          .auto_drafts = speculation_.DraftsFor(std::max(1, most_decoding)),
          .tokens_per_second = budget_.tokens_per_second()};
}

std::vector<SequenceStatus> Engine::Describe() const {
  std::vector<SequenceStatus> all;
  scheduler_.ForEach([&all](const Sequence& sequence) {
    const Phase phase = PhaseOf(sequence);
    const SequenceTimings& timings = sequence.timings;
    if (sequence.phase == SequencePhase::kAwaitingPrompt) return;  // it has nothing of its own
    const TimePoint began = phase == Phase::kQueued || !sequence.was_scheduled() ? timings.received
                            : phase == Phase::kPrefill                           ? timings.first_scheduled
                                                                                 : timings.first_token;
    all.push_back({.id = sequence.id(),
                   .phase = phase,
                   .phase_began = began,
                   .prompt_tokens = sequence.num_prompt_tokens,
                   .computed_tokens = sequence.computed,
                   .generated_tokens = sequence.num_generated(),
                   .kv_blocks = sequence.blocks.num_blocks()});
  });
  return all;
}

std::optional<StepInFlight> Engine::Begin(TimePoint now) {
  CHECK(num_in_flight_ < kMaxStepsInFlight &&
        "complete the step before, or give each its own buffers in BatchBuilder and StepExecutor");
  StepInFlight step = std::move(spare_.back());
  spare_.pop_back();
  step.started = now;
  SetTime(now);
  const StepAllowance allowance = Allowance();
  step.auto_drafts = allowance.auto_drafts;
  scheduler_.Plan(now, allowance, step.plan);
  if (step.plan.rows.empty() && !scheduler_.has_finished() && !reporter_.has_news()) {
    reporter_.Rest();
    spare_.push_back(std::move(step));
    return std::nullopt;
  }
  if (!step.plan.rows.empty()) {
    builder_.Build(step.plan);
    executor_.Launch(builder_.inputs(), builder_.samples(), builder_.drafts());
  }
  ++num_in_flight_;
  return step;
}

void Engine::Complete(StepInFlight step, const Clock& clock, StepOutput& output) {
  CHECK_GT(num_in_flight_, 0);
  --num_in_flight_;
  output.Clear();
  const BatchPlan& plan = step.plan;
  Completion completion{.step = step, .output = output, .record = {}};
  StepRecord& record = completion.record;
  record.started = step.started;
  record.kind = KindOf(plan);
  record.waits = plan.waits;
  record.auto_drafts = step.auto_drafts;
  record.started_requests = plan.num_started;
  record.num_rows = output.num_rows = static_cast<int>(plan.rows.size());
  record.num_tokens = output.num_tokens = plan.num_tokens;
  if (!plan.rows.empty()) {
    const std::span<SampleResult> results = executor_.Collect();
    CHECK_EQ(static_cast<int>(results.size()), plan.num_logits);
    Commit(results, completion);
    record.model_duration = executor_.last_duration();
  }
  const std::vector<std::unique_ptr<Sequence>> finished = scheduler_.TakeFinished();
  for (const auto& sequence : finished) {
    if (sequence->index == 0) record.abandoned_prompt_tokens += sequence->num_unaccounted_prompt();
    if (--sequence->run->num_untold == 0) ++record.ended_in[static_cast<size_t>(PhaseOf(*sequence))];
  }
  record.finished = clock.Now();
  SetTime(record.finished);
  if (record.num_rows > 0) {
    const double seconds = Seconds(record.finished - record.started);
    RecordStep(record, plan);
    budget_.Observe({.all = plan.work, .of_decode = plan.work_of_decode}, seconds);
    ObserveDrafts(plan, seconds);
  }
  for (Sequence* sequence : generating_) StampToken(record.finished, *sequence);
  reporter_.Report(record, LevelsOf(scheduler_));
  for (const auto& sequence : finished) output.ends.push_back(EndOf(*sequence, record.finished));
  generating_.clear();
  spare_.push_back(std::move(step));
}

void Engine::RecordStep(const StepRecord& record, const BatchPlan& plan) {
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(record.finished - record.started);
  const auto most = static_cast<int64_t>(std::numeric_limits<int32_t>::max());
  scheduler_.recorder().Record(
      FlightDecision::kStep, {},
      {record.num_rows, record.num_tokens, static_cast<int32_t>(std::min(micros.count(), most)),
       record.num_rows - NumPrefills(plan)});
}

void Engine::ObserveDrafts(const BatchPlan& plan, double seconds) {
  for (const PlannedRow& row : plan.rows) {
    const RowVerdict& verdict = row.verdict;
    if (row.num_drafts > 0 && verdict.is_finite && !verdict.end) {
      speculation_.CountDrafts(row.num_drafts, verdict.num_accepted);
    }
  }
  const int num_decoding = static_cast<int>(std::ssize(plan.rows)) - NumPrefills(plan);
  if (num_decoding == 0) return;
  speculation_.Observe({.num_rows = num_decoding, .num_drafts = DraftsOfEach(plan), .seconds = seconds});
}

void Engine::Commit(std::span<SampleResult> results, Completion& completion) {
  BatchPlan& plan = completion.step.plan;
  completion.output.sequences.reserve(plan.rows.size());
  completion.output.tokens.reserve(results.size());
  generating_.reserve(results.size());
  JudgeRows(results,
            {.eos_ids = options_.vocabulary.eos_ids, .max_context_tokens = options_.scheduler.max_context_tokens},
            plan);
  completion.record.prompt_tokens = scheduler_.Commit(plan);
  auto drafts = executor_.drafts().begin();  // of the rows that are followed
  for (const PlannedRow& row : plan.rows) {
    const auto num_logits = static_cast<size_t>(row.num_logits);
    Sequence& sequence = *row.sequence;
    // What ended meanwhile gets nothing.
    if (sequence.phase != SequencePhase::kFinished) CommitRow(row, results.first(num_logits), completion);
    results = results.subspan(num_logits);
    if (!row.following || drafts == executor_.drafts().end()) continue;
    if (sequence.phase != SequencePhase::kFinished) sequence.AddDrafts(drafts->view());
    ++drafts;
  }
  for (const PlannedRow& row : plan.rows) {
    if (!row.verdict.is_finite) FailRow(row, completion.record);
  }
}

// It ends all sequences of its request, each of which has what the step gave it.
void Engine::FailRow(const PlannedRow& row, StepRecord& record) {
  if (row.sequence->phase == SequencePhase::kFinished) return;
  ++record.nonfinite_rows;
  scheduler_.Finish(*row.sequence, FinishReason::kNonFiniteLogits);
}

void Engine::CommitRow(const PlannedRow& row, std::span<SampleResult> results, Completion& completion) {
  Sequence& sequence = *row.sequence;
  const RowVerdict& verdict = row.verdict;
  completion.record.CountDrafts(row.num_drafts, verdict.num_accepted);
  const std::span<SampleResult> given = Given(row, results);
  if (sequence.request.kind == RequestKind::kScore) {
    for (size_t i = 0; i < given.size(); ++i)
      given[i].id = sequence.tokens[static_cast<size_t>(row.first_logit_position) + i + 1];
  } else if (!given.empty()) {
    CommitTokens(row, given, completion.record);
  }
  HandOut(given, sequence, completion.output);
  if (!verdict.is_finite) return;
  if (verdict.end) {
    scheduler_.Finish(sequence, *verdict.end);
  } else if (sequence.request.kind == RequestKind::kScore && sequence.num_uncomputed() == 0) {
    scheduler_.Finish(sequence, FinishReason::kScored);
  }
}

// The scheduler has made tokens of the accepted drafts: the one behind them is new.
void Engine::CommitTokens(const PlannedRow& row, std::span<const SampleResult> given, StepRecord& record) {
  Sequence& sequence = *row.sequence;
  if (!std::exchange(sequence.run->has_token, true)) ++record.first_tokens;
  if (row.verdict.is_finite) sequence.tokens.push_back(given.back().id);
  generating_.insert(generating_.end(), given.size(), &sequence);
}

void Engine::HandOut(std::span<SampleResult> given, const Sequence& sequence, StepOutput& output) {
  if (given.empty()) return;
  output.sequences.push_back({.id = sequence.id(),
                              .first_token = static_cast<int>(output.tokens.size()),
                              .num_tokens = static_cast<int>(given.size()),
                              .cached_tokens = sequence.cached_tokens});
  std::move(given.begin(), given.end(), std::back_inserter(output.tokens));
}

}  // namespace latentd
