// The life of sequences; scheduler_plan.cc deals out steps.
#include "engine/schedule/scheduler.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <absl/strings/str_format.h>

#include "base/check.h"

namespace latentd {
namespace {

// Continuations share their prompt, and preempted ones find what they had, also where none of it may be left to others.
RequestRun::Sharing SharingOf(const Request& request, PrefixCacheMode mode) {
  const bool is_on = mode == PrefixCacheMode::kOn;
  return {.salt = JoinSalt(request.scheduling.tenant, request.cache.salt),
          .own = is_on && request.cache.stores ? std::string() : std::to_string(request.id),
          .reads = is_on && request.cache.reads};
}

// Names of clients are told apart from those of tenants, which have no such character.
std::string AccountOf(const SchedulingRule& rule) {
  return rule.tenant.empty() && !rule.client.empty() ? '\0' + rule.client : rule.tenant;
}

// A paused sequence that takes a place for which others wait gets this part of its patience.
constexpr double kCrowdedPatience = 0.1;

// It wants it only while it has not started.
TimePoint FirstTokenBy(const Sequence& sequence) {
  return sequence.run->has_started ? kNever : sequence.request.scheduling.first_token_by;
}

BlockCacheOptions WithEvents(BlockCacheOptions options, KvEvents* events) {
  options.events = events;
  return options;
}

size_t PlaceOf(int priority) { return static_cast<size_t>(priority - kLowestPriority); }

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options),
      capacity_{.max_context_tokens = options.max_context_tokens, .num_blocks = UsableBlocks(options.cache.num_blocks)},
      recorder_(options.num_recorded),
      kv_events_(options.num_kv_events),
      cache_(WithEvents(options.cache, &kv_events_)),
      drafts_(options_, cache_, recorder_),
      tenants_(options.tenants),
      waiting_(tenants_, FromSeconds(options.ageing_seconds)) {
  kv_events_.Cleared();  // number 1: a reader that knew an earlier process forgets what it knew
  CHECK_GE(options_.max_step_tokens, 1);
  CHECK_GE(options_.max_step_rows, 1);
  CHECK_GE(options_.max_step_logits, 1);
  CHECK_GE(options_.chunk_tokens, 0);
  CHECK_GE(options_.max_context_tokens, 1);
  CHECK(options_.max_drafts >= 0 && options_.max_drafts <= kMaxDrafts);
  decoding_.reserve(static_cast<size_t>(options_.max_step_rows));
  prefilling_.reserve(decoding_.capacity());
}

absl::Status Scheduler::Add(Request request) {
  if (absl::Status status = CheckFits(request, capacity_); !status.ok()) return status;
  const CapacityDemand most = DemandOf(request, capacity_);
  std::vector<int32_t> prompt = std::move(request.prompt);
  RequestRun::Sharing sharing = SharingOf(request, options_.prefix_cache);
  const auto run = std::make_shared<RequestRun>(RequestRun{.request = std::move(request),
                                                           .num_prompt_tokens = static_cast<int>(prompt.size()),
                                                           .sharing = std::move(sharing)});
  run->num_left = run->num_untold = run->request.num_sequences;
  const uint64_t arrival = num_arrived_ + 1;
  num_arrived_ += static_cast<uint64_t>(run->request.num_sequences);
  for (int32_t index = 0; index < run->request.num_sequences; ++index) {
    const auto [place, is_new] = sequences_.emplace(SequenceId{.request = run->request.id, .index = index},
                                                    std::make_unique<Sequence>(run, index, most));
    CHECK(is_new);
    Sequence& sequence = *place->second;
    Tenant& tenant = tenants_.Enter(AccountOf(run->request.scheduling));
    sequence.standing = {.sequence = &sequence,
                         .tenant = &tenant,
                         .priority = std::min(run->request.scheduling.priority, tenant.rule.max_priority),
                         .received = run->request.received,
                         .arrival = arrival,
                         .index = index};
    sequence.places.in_phase = elsewhere_.insert(elsewhere_.end(), &sequence);
    sequence.places.in_expiries = expiries_.Add(sequence, arrival + static_cast<uint64_t>(index), Expiry(sequence));
  }
  Sequence& first = *sequences_.find({.request = run->request.id})->second;
  first.tokens = std::move(prompt);
  num_pending_prompt_tokens_ += first.num_prompt_tokens;
  recorder_.Record(FlightDecision::kSubmit, first.id(),
                   {first.num_prompt_tokens, run->request.stopping.max_tokens, run->request.scheduling.priority,
                    run->request.num_sequences});
  Enter(first, SequencePhase::kWaiting);
  return absl::OkStatus();
}

// --------------------------------------------------------------------------------------------------- between phases

// It is in no phase: it is new, or Leave took it out of the one before.
void Scheduler::Enter(Sequence& sequence, SequencePhase phase) {
  sequence.phase = phase;
  switch (phase) {
    case SequencePhase::kWaiting:
      sequence.standing.SetStarts({.prompt_tokens = sequence.num_tokens() - sequence.most_computed,
                                   .tokens_per_second = tokens_per_second_,
                                   .due = std::min(sequence.request.deadline, FirstTokenBy(sequence))});
      return waiting_.Add(sequence.standing);
    case SequencePhase::kRunning:
      return EnterRunning(sequence);
    case SequencePhase::kPaused:
      return paused_.splice(paused_.end(), elsewhere_, sequence.places.in_phase);
    case SequencePhase::kAwaitingPrompt:
    case SequencePhase::kFinished:
      return;
  }
}

// One that was paused stands where those stand that were served when it was.
void Scheduler::EnterRunning(Sequence& sequence) {
  ++running_by_priority_[PlaceOf(sequence.standing.priority)];
  const auto is_served_later = [&sequence](const Sequence* other) { return sequence.last_turn < other->last_turn; };
  const auto before = sequence.blocks.num_blocks() == 0
                          ? running_.end()
                          : std::find_if(running_.begin(), running_.end(), is_served_later);
  running_.splice(before, elsewhere_, sequence.places.in_phase);
}

void Scheduler::Leave(Sequence& sequence) {
  switch (sequence.phase) {
    case SequencePhase::kWaiting:
      return waiting_.Remove(sequence.standing);
    case SequencePhase::kRunning:
      --running_by_priority_[PlaceOf(sequence.standing.priority)];
      return elsewhere_.splice(elsewhere_.end(), running_, sequence.places.in_phase);
    case SequencePhase::kPaused:
      return elsewhere_.splice(elsewhere_.end(), paused_, sequence.places.in_phase);
    case SequencePhase::kAwaitingPrompt:
      return;
    case SequencePhase::kFinished:
      CHECK(false && "it ended before: look for who goes on committing its tokens");
  }
}

int Scheduler::Pause(RequestId id) {
  int num_paused = 0;
  ForRequest(id, [&](Sequence& sequence) {
    const bool waits_again = sequence.phase == SequencePhase::kWaiting && sequence.run->has_started;
    if (sequence.phase != SequencePhase::kRunning && !waits_again) return;
    Leave(sequence);
    Enter(sequence, SequencePhase::kPaused);
    recorder_.Record(FlightDecision::kPause, sequence.id(), {sequence.computed});
    ++num_paused;
  });
  return num_paused;
}

int Scheduler::Resume(RequestId id) {
  int num_resumed = 0;
  ForRequest(id, [&](Sequence& sequence) {
    if (sequence.phase != SequencePhase::kPaused) return;
    sequence.paused_since = kNever;
    Leave(sequence);
    const bool has_place = sequence.blocks.num_blocks() > 0;
    Enter(sequence, has_place ? SequencePhase::kRunning : SequencePhase::kWaiting);
    RefreshExpiry(sequence);
    recorder_.Record(FlightDecision::kResume, sequence.id(), {sequence.computed});
    ++num_resumed;
  });
  return num_resumed;
}

// The prompt of its request is computed: the others begin with it, and wait for their rows.
void Scheduler::Fork(const Sequence& first) {
  if (first.request.num_sequences > 1) {
    first.run->prompt.assign(first.tokens.begin(), first.tokens.begin() + first.num_prompt_tokens);
  }
  ForRequest(first.request.id, [&](Sequence& sequence) {
    if (sequence.phase != SequencePhase::kAwaitingPrompt) return;
    sequence.prompt_accounted = sequence.most_computed = sequence.num_prompt_tokens;
    sequence.cached_tokens = first.cached_tokens;
    Enter(sequence, SequencePhase::kWaiting);
  });
}

void Scheduler::TakeDepartures(std::vector<RequestId>& departed) {
  departed.clear();
  departed.swap(departed_);
}

// ------------------------------------------------------------------------------------------------------- committing

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
    num_prompt_tokens += CommitRow(row);
  }
  num_pending_prompt_tokens_ -= num_prompt_tokens;
  return num_prompt_tokens;
}

int Scheduler::CommitRow(const PlannedRow& row) {
  Sequence& sequence = *row.sequence;
  CHECK_EQ(sequence.computed, row.first_new());
  CommitDrafts(row);
  const int num_accepted = row.verdict.num_accepted;
  tenants_.Charge(*sequence.standing.tenant,
                  {.generated_tokens = num_accepted, .rejected_drafts = row.num_drafts - num_accepted});
  sequence.computed = row.committed_end();
  CHECK_LE(sequence.computed, sequence.planned);
  sequence.logits_given = std::max(sequence.logits_given, row.first_logit_position + row.num_logits);
  const int num_again = std::min(sequence.computed, sequence.most_computed) - row.first_new();
  totals_.recomputed_tokens += static_cast<uint64_t>(std::max(0, num_again));
  const int num_new = std::max(0, std::min(sequence.computed, sequence.num_prompt_tokens) - sequence.prompt_accounted);
  sequence.prompt_accounted += num_new;
  const bool has_prompt =
      row.first_new() < sequence.num_prompt_tokens && sequence.computed >= sequence.num_prompt_tokens;
  if (row.verdict.is_finite) Publish(sequence, has_prompt ? TailRule::kWithTail : TailRule::kFullBlocks);
  if (has_prompt && sequence.index == 0) Fork(sequence);
  return num_new;
}

// Requests with the same prompt, and its request's further sequences, find what it computed.
void Scheduler::Publish(Sequence& sequence, TailRule rule) {
  const int num_published = sequence.blocks.num_published();
  sequence.drafted.from = cache_.Publish(sequence.blocks, KeyOf(sequence), sequence.computed, rule, sequence.drafted);
  if (sequence.blocks.num_published() > num_published) {
    recorder_.Record(FlightDecision::kPublish, sequence.id(), {sequence.blocks.num_published() * kBlockSlots});
  }
}

// ------------------------------------------------------------------------------------------------------------- ends

void Scheduler::Cancel(RequestId id, FinishReason reason, TimePoint asked) {
  recorder_.Record(FlightDecision::kCancel, {.request = id}, {static_cast<int32_t>(reason)});
  ForRequest(id, [&](Sequence& sequence) {
    sequence.timings.cancel_asked = asked;
    Finish(sequence, reason);
  });
}

void Scheduler::CancelSequence(SequenceId id, FinishReason reason) {
  const auto found = sequences_.find(id);
  if (found != sequences_.end()) Finish(*found->second, reason);
}

void Scheduler::CancelAll(FinishReason reason) {
  recorder_.Record(FlightDecision::kCancelAll, {}, {static_cast<int32_t>(reason)});
  while (!sequences_.empty()) Finish(*sequences_.begin()->second, reason);
}

void Scheduler::Finish(Sequence& sequence, FinishReason reason) {
  CHECK(reason != FinishReason::kStopString && "only the publisher finds those; it cancels the sequence");
  Leave(sequence);
  RequestRun& run = *sequence.run;
  --run.num_left;
  if (sequence.was_scheduled()) --num_started_;
  if (sequence.index == 0 && !run.has_started) departed_.push_back(run.request.id);
  elsewhere_.erase(sequence.places.in_phase);
  expiries_.Remove(sequence.places.in_expiries);
  tenants_.Leave(*sequence.standing.tenant);
  sequence.phase = SequencePhase::kFinished;
  sequence.finish_reason = reason;
  recorder_.Record(FlightDecision::kFinish, sequence.id(),
                   {static_cast<int32_t>(reason), sequence.num_generated(), sequence.computed});
  auto node = sequences_.extract(sequence.id());
  CHECK(!node.empty());
  if (sequence.rows_in_flight == 0) {
    Release(std::move(node.mapped()));
  } else {
    CHECK(retired_.insert(std::move(node)).inserted);
  }
  if (reason != FinishReason::kNonFiniteLogits) return;
  // What one of them got wrong was computed for all: the end of the next one ends those behind it.
  const auto next = sequences_.lower_bound({.request = run.request.id});
  if (next != sequences_.end() && next->first.request == run.request.id) Finish(*next->second, reason);
}

// What it holds can be found from here on, as far as it was computed.
void Scheduler::GiveBack(Sequence& sequence) {
  const bool is_bad =
      sequence.finish_reason == FinishReason::kNonFiniteLogits && sequence.phase == SequencePhase::kFinished;
  if (is_bad) {
    cache_.Forget(sequence.blocks);
  } else {
    cache_.Publish(sequence.blocks, KeyOf(sequence), sequence.computed, TailRule::kWithTail, sequence.drafted);
  }
  const double keep_seconds = sequence.request.cache.keep_seconds;
  // What no other request may find takes no room of what is kept for them.
  const bool is_shared = sequence.run->sharing.own.empty();
  const bool is_kept = keep_seconds > 0.0 && is_shared && sequence.phase == SequencePhase::kFinished;
  cache_.Release(sequence.blocks, is_kept ? now_ + FromSeconds(keep_seconds) : kNotKept);
}

// From here on the rest of its prompt is abandoned, as TakeFinished tells; until here it is pending.
void Scheduler::Release(std::unique_ptr<Sequence> sequence) {
  if (sequence->index == 0) num_pending_prompt_tokens_ -= sequence->num_unaccounted_prompt();
  GiveBack(*sequence);
  const RequestRun& run = *sequence->run;
  if (run.num_left == 0 && !run.sharing.own.empty()) cache_.DropPrivate(run.sharing.own);
  finished_.push_back(std::move(sequence));
}

void Scheduler::ReleaseRetired(const Sequence& sequence) {
  auto node = retired_.extract(sequence.id());
  CHECK(!node.empty());
  Release(std::move(node.mapped()));
}

std::vector<std::unique_ptr<Sequence>> Scheduler::TakeFinished() { return std::exchange(finished_, {}); }

int64_t Scheduler::FlushPrefixCache() {
  const int64_t num_freed = cache_.Flush();
  recorder_.Record(FlightDecision::kFlush, {}, {static_cast<int32_t>(num_freed)});
  return num_freed;
}

// --------------------------------------------------------------------------------------------------------- expiries

FinishReason Scheduler::ExpiredIn(const Sequence& sequence, TimePoint now) const {
  const Request& request = sequence.request;
  if (!sequence.run->has_started) {
    const bool is_over = std::min(request.deadline, request.queue_deadline) <= now;
    return is_over ? FinishReason::kExpiredInQueue : FinishReason::kSloUnattainable;
  }
  if (sequence.phase == SequencePhase::kPaused && request.deadline > now) return FinishReason::kSlowConsumer;
  const bool has_token = sequence.run->has_token || sequence.num_generated() > 0;
  return has_token ? FinishReason::kExpiredInDecode : FinishReason::kExpiredInPrefill;
}

TimePoint Scheduler::Expiry(const Sequence& sequence) const {
  const Request& request = sequence.request;
  const TimePoint deadline = request.deadline;
  if (!sequence.run->has_started) {
    const TimePoint ends = std::min(deadline, request.queue_deadline);
    // The first one is judged for all.
    return sequence.index > 0 ? ends : std::min(ends, LatestStart(request, sequence.num_prompt_tokens));
  }
  if (sequence.paused_since == kNever) return deadline;
  return std::min(deadline, sequence.paused_since + FromSeconds(options_.slow_consumer_seconds));
}

// The last moment at which a request that has not started can still meet what it wants; kNever where it wants nothing.
TimePoint Scheduler::LatestStart(const Request& request, int num_prompt_tokens) const {
  const double estimate =
      tokens_per_second_ > 0.0 ? std::min(num_prompt_tokens / tokens_per_second_, kLongestPrefillSeconds) : 0.0;
  const bool is_judged = estimate >= kLeastJudgedSeconds;
  const TimePoint by =
      is_judged ? std::min(request.scheduling.first_token_by, request.deadline) : request.scheduling.first_token_by;
  return by == kNever || !is_judged ? by : by - FromSeconds(estimate);
}

void Scheduler::RefreshExpiry(Sequence& sequence) {
  sequence.places.in_expiries = expiries_.Move(sequence.places.in_expiries, Expiry(sequence));
}

// What seems to come too late may find its prompt in the cache, and that costs no time.
bool Scheduler::PutOff(Sequence& sequence, TimePoint now) {
  const Request& request = sequence.request;
  const int num_found = cache_.Match(KeyOf(sequence), ReusableLimit(sequence)).num_tokens;
  const TimePoint latest = LatestStart(request, sequence.num_prompt_tokens - num_found);
  if (latest <= now) return false;
  const TimePoint at = std::min({request.deadline, request.queue_deadline, latest});
  sequence.places.in_expiries = expiries_.Move(sequence.places.in_expiries, at);
  return true;
}

void Scheduler::EndExpired(TimePoint now) {
  // Those paused since the last step stand last: their time begins now.
  for (auto paused = paused_.rbegin(); paused != paused_.rend() && (*paused)->paused_since == kNever; ++paused) {
    (*paused)->paused_since = now;
    RefreshExpiry(**paused);
  }
  while (Sequence* sequence = expiries_.FirstBy(now)) {
    const FinishReason reason = ExpiredIn(*sequence, now);
    if (reason != FinishReason::kSloUnattainable) {
      Finish(*sequence, reason);
    } else if (!PutOff(*sequence, now)) {
      ForRequest(sequence->request.id, [this](Sequence& each) { Finish(each, FinishReason::kSloUnattainable); });
    }
  }
  while (CrowdedExpiry() <= now) {
    ForRequest(paused_.front()->request.id, [this](Sequence& each) { Finish(each, FinishReason::kSlowConsumer); });
  }
}

// Where those that wait find no place, the one paused longest ends before its time.
TimePoint Scheduler::CrowdedExpiry() const {
  const bool is_crowded = num_started_ >= options_.max_started && num_waiting() > 0 && !paused_.empty();
  if (!is_crowded || paused_.front()->paused_since == kNever) return kNever;
  return paused_.front()->paused_since + FromSeconds(kCrowdedPatience * options_.slow_consumer_seconds);
}

// ------------------------------------------------------------------------------------------------------- invariants

absl::Status Scheduler::CheckInvariants() const {
  std::vector<const BlockTable*> tables;
  ForEachHolder([&tables](const Sequence& sequence) { tables.push_back(&sequence.blocks); });
  if (absl::Status status = cache_.CheckInvariants(tables); !status.ok()) return status;
  int num_running = 0, num_paused = 0, num_waiting = 0;
  int64_t num_pending = 0;
  for (const auto& [id, sequence] : sequences_) {
    num_running += sequence->phase == SequencePhase::kRunning ? 1 : 0;
    num_paused += sequence->phase == SequencePhase::kPaused ? 1 : 0;
    num_waiting += sequence->phase == SequencePhase::kWaiting ? 1 : 0;
    if (sequence->index == 0) num_pending += sequence->num_unaccounted_prompt();
    const int num_drafts = sequence->rows_in_flight > 0 ? sequence->num_drafts : 0;
    const bool is_ahead =
        sequence->computed > sequence->planned || sequence->planned > sequence->num_tokens() + num_drafts;
    const bool has_room = BlocksFor(sequence->planned) <= sequence->blocks.num_blocks();
    if (absl::Status status = CheckDrafts(*sequence, cache_); !status.ok()) return status;
    if (is_ahead || !has_room) {
      return absl::InternalError(absl::StrFormat(
          "request id %d, sequence %d: %d of %d tokens computed, %d planned, in %d blocks", id.request, id.index,
          sequence->computed, sequence->num_tokens(), sequence->planned, sequence->blocks.num_blocks()));
    }
  }
  for (const auto& [id, sequence] : retired_) {
    if (sequence->index == 0) num_pending += sequence->num_unaccounted_prompt();
  }
  const bool has_all = num_running == this->num_running() && num_paused == this->num_paused() &&
                       num_waiting == this->num_waiting() && num_pending == num_pending_prompt_tokens_;
  if (has_all) return absl::OkStatus();
  return absl::InternalError(absl::StrFormat(
      "%d sequences run, %d are paused, %d wait, %d prompt tokens are pending; counted were %d, %d, %d, %d",
      num_running, num_paused, num_waiting, num_pending, this->num_running(), this->num_paused(), this->num_waiting(),
      num_pending_prompt_tokens_));
}

}  // namespace latentd
