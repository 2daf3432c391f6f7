#include "engine/step/engine.h"

#include <algorithm>

#include "base/check.h"

namespace latentd {
namespace {

bool Contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

Phase PhaseOf(const Sequence& sequence) {
  if (!sequence.was_scheduled()) return Phase::kQueued;
  return sequence.num_generated() == 0 ? Phase::kPrefill : Phase::kDecode;
}

size_t IndexOf(Phase phase) { return static_cast<size_t>(phase); }

int64_t& InFlight(MetricsData& data, Phase phase) { return data.requests_in_flight[IndexOf(phase)]; }

StepKind KindOf(const BatchPlan& plan) {
  const auto prefills = [](const PlannedRow& row) { return row.first_position < row.sequence->num_prompt_tokens; };
  const auto num_prefills = std::count_if(plan.rows.begin(), plan.rows.end(), prefills);
  if (num_prefills == 0) return StepKind::kDecode;
  return num_prefills == std::ssize(plan.rows) ? StepKind::kPrefill : StepKind::kMixed;
}

int PromptTokensOf(const PlannedRow& row) {
  return std::max(0, std::min(row.end_position(), row.sequence->num_prompt_tokens) - row.first_position);
}

}  // namespace

Engine::Engine(StepExecutor& executor, const EngineOptions& options, Metrics& metrics)
    : executor_(executor),
      options_(options),
      metrics_(metrics),
      scheduler_(options_.scheduler),
      builder_(options_.vocabulary),
      budget_(options_.step) {
  metrics_.Update([this](MetricsData& data) { ReportBlocks(data); });
}

absl::Status Engine::Add(Request request) {
  const size_t prompt_tokens = request.prompt.size();
  absl::Status status = scheduler_.Add(std::move(request));
  if (status.ok()) since_report_.admitted_prompt_tokens += prompt_tokens;
  return status;
}

StepAllowance Engine::Allowance() const {
  // One token for each running sequence whatever the clock says: rotating them through smaller steps would cost the
  // fixed part of a step more often and serve each of them later.
  const int chunk_tokens = options_.scheduler.chunk_tokens;
  return {.tokens = std::max({budget_.tokens(), scheduler_.num_running(), chunk_tokens}),
          .work = std::max<double>(budget_.tokens(), chunk_tokens),
          .work_per_key = options_.step.work_per_key,
          .least_chunk = std::max(1, options_.step.min_tokens)};
}

std::vector<SequenceStatus> Engine::Describe() const {
  std::vector<SequenceStatus> all;
  scheduler_.ForEach([&all](const Sequence& sequence) {
    const Phase phase = PhaseOf(sequence);
    const SequenceTimings& timings = sequence.timings;
    const TimePoint began = phase == Phase::kQueued    ? timings.received
                            : phase == Phase::kPrefill ? timings.first_scheduled
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

StepOutput Engine::Step(TimePoint now) {
  step_started_ = now;
  generating_.clear();
  finished_.clear();
  progress_ = {};
  scheduler_.Plan(now, Allowance(), plan_);
  progress_.kind = KindOf(plan_);
  progress_.work = plan_.work;
  progress_.waits = plan_.waits;
  StepOutput output{.num_rows = static_cast<int>(plan_.rows.size()), .num_tokens = plan_.num_tokens};
  std::span<const SampleResult> results;
  if (!plan_.rows.empty()) {
    builder_.Build(plan_);
    executor_.Launch(builder_.inputs(), builder_.samples());
    results = executor_.Collect();
    CHECK_EQ(static_cast<int>(results.size()), plan_.num_logits);
  }
  Commit(plan_, results, output);
  return output;
}

void Engine::Commit(const BatchPlan& plan, std::span<const SampleResult> results, StepOutput& output) {
  scheduler_.Commit(plan);
  for (const PlannedRow& row : plan.rows) {
    if (row.first_position == 0) ++progress_.started;
    progress_.prompt_tokens += PromptTokensOf(row);
    SequenceOutput of_row{.id = row.sequence->id()};
    CommitRow(row, results.first(static_cast<size_t>(row.num_logits)), of_row);
    results = results.subspan(static_cast<size_t>(row.num_logits));
    if (!of_row.tokens.empty()) output.sequences.push_back(std::move(of_row));
  }
  ReportEnds(output);
}

void Engine::CommitRow(const PlannedRow& row, std::span<const SampleResult> results, SequenceOutput& output) {
  Sequence& sequence = *row.sequence;
  const auto is_finite = [](const SampleResult& result) { return result.finite; };
  if (!std::all_of(results.begin(), results.end(), is_finite)) {
    ++progress_.nonfinite_rows;
    scheduler_.Finish(sequence, FinishReason::kNonFiniteLogits);
    return;
  }
  output.tokens.assign(results.begin(), results.end());
  if (sequence.request.kind == RequestKind::kGenerate) {
    for (const SampleResult& result : results) CommitToken(sequence, result);
    return;
  }
  for (size_t i = 0; i < results.size(); ++i) {
    output.tokens[i].id = sequence.tokens[static_cast<size_t>(row.first_logit_position) + i + 1];
  }
  if (sequence.num_uncomputed() == 0) scheduler_.Finish(sequence, FinishReason::kScored);
}

void Engine::CommitToken(Sequence& sequence, const SampleResult& result) {
  const StoppingRule& stopping = sequence.request.stopping;
  if (sequence.num_generated() == 0) ++progress_.first_tokens;
  sequence.tokens.push_back(result.id);
  generating_.push_back(&sequence);
  if (!stopping.ignore_eos && Contains(options_.vocabulary.eos_ids, result.id)) {
    scheduler_.Finish(sequence, FinishReason::kEos);
  } else if (Contains(stopping.stop_token_ids, result.id)) {
    scheduler_.Finish(sequence, FinishReason::kStopToken);
  } else if (sequence.num_generated() >= stopping.max_tokens) {
    scheduler_.Finish(sequence, FinishReason::kMaxTokens);
  } else if (sequence.num_tokens() >= options_.scheduler.max_context_tokens) {
    scheduler_.Finish(sequence, FinishReason::kContextLimit);
  }
}

void Engine::ReportEnds(StepOutput& output) {
  for (std::unique_ptr<Sequence>& finished : scheduler_.TakeFinished()) {
    const SequenceId id = finished->id();
    const FinishReason reason = finished->finish_reason;
    SequenceEnd end{.reason = reason,
                    .prompt_tokens = finished->num_prompt_tokens,
                    .generated_tokens = finished->num_generated(),
                    .computed_tokens = finished->computed};
    progress_.abandoned_prompt_tokens += finished->num_uncomputed_prompt();
    if (reason == FinishReason::kEos || reason == FinishReason::kStopToken) end.stop_token_id = finished->tokens.back();
    const auto has_id = [id](const SequenceOutput& sequence) { return sequence.id == id; };
    auto place = std::find_if(output.sequences.begin(), output.sequences.end(), has_id);
    if (place == output.sequences.end()) place = output.sequences.insert(place, {.id = id});
    place->end = std::move(end);
    ++progress_.ended_in[IndexOf(PhaseOf(*finished))];
    finished_.emplace(id, std::move(finished));
  }
}

void Engine::FinishStep(TimePoint now, StepOutput& output) {
  if (output.idle()) last_busy_finish_ = kNever;
  if (output.idle() && since_report_ == Commanded{}) return;
  if (output.num_rows > 0) budget_.Observe(progress_.work, Seconds(now - step_started_));
  StampTokens(now);
  metrics_.Update([&](MetricsData& data) {
    ReportStep(now, output, data);
    ReportTokens(data);
    ReportPhases(data);
    ReportBlocks(data);
  });
  since_report_ = {};
  const bool has_work = scheduler_.num_running() + scheduler_.num_waiting() > 0;
  last_busy_finish_ = has_work && !output.idle() ? now : kNever;
  for (SequenceOutput& sequence : output.sequences) {
    if (!sequence.end) continue;
    sequence.end->timings = finished_.at(sequence.id)->timings;
    sequence.end->timings.finished = now;
    sequence.end->timings.released = step_started_;
  }
}

void Engine::StampTokens(TimePoint now) {
  for (Sequence* sequence : generating_) {
    SequenceTimings& timings = sequence->timings;
    if (timings.first_token == kNever) {
      timings.first_token = now;
    } else {
      timings.token_gaps.Observe(Seconds(now - timings.last_token));
    }
    timings.last_token = now;
  }
}

void Engine::ReportStep(TimePoint now, const StepOutput& output, MetricsData& data) const {
  data.sequences_paused += since_report_.paused;
  data.sequences_resumed += since_report_.resumed;
  if (output.num_rows == 0) return;
  const Duration duration = now - step_started_;
  data.step_seconds[static_cast<size_t>(progress_.kind)].Observe(Seconds(duration));
  data.step_rows.Observe(output.num_rows);
  data.step_tokens.Observe(output.num_tokens);
  if (const auto of_model = executor_.last_duration()) data.scheduler_seconds.Observe(Seconds(duration - *of_model));
  if (last_busy_finish_ != kNever) data.step_gap_seconds.Observe(Seconds(step_started_ - last_busy_finish_));
  for (size_t i = 0; i < kNumWaitReasons; ++i) data.queue_waits[i] += progress_.waits[i];
  data.nonfinite_rows += static_cast<uint64_t>(progress_.nonfinite_rows);
  data.last_step = now;
}

void Engine::ReportTokens(MetricsData& data) const {
  data.prompt_tokens_admitted += since_report_.admitted_prompt_tokens;
  data.prompt_tokens_computed += static_cast<uint64_t>(progress_.prompt_tokens);
  data.prompt_tokens_abandoned += static_cast<uint64_t>(progress_.abandoned_prompt_tokens);
  data.prompt_tokens_pending = scheduler_.num_pending_prompt_tokens();
}

void Engine::ReportPhases(MetricsData& data) const {
  InFlight(data, Phase::kQueued) -= progress_.started;
  InFlight(data, Phase::kPrefill) += progress_.started - progress_.first_tokens;
  InFlight(data, Phase::kDecode) += progress_.first_tokens;
  for (Phase phase : {Phase::kQueued, Phase::kPrefill, Phase::kDecode}) {
    InFlight(data, phase) -= progress_.ended_in[IndexOf(phase)];
    InFlight(data, Phase::kOutput) += progress_.ended_in[IndexOf(phase)];
  }
}

void Engine::ReportBlocks(MetricsData& data) const {
  const BlockPool& pool = scheduler_.pool();
  data.kv_blocks_free = pool.num_free() - pool.num_promised();
  data.kv_blocks_promised = pool.num_promised();
  data.kv_blocks_active = pool.num_active();
  data.kv_blocks_reserved = pool.num_total() - pool.num_usable();
  data.kv_blocks_total = pool.num_total();
}

}  // namespace latentd
