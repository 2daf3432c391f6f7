// The part of the world that is outside the daemon's engine: requests that arrive, readers that take, what goes wrong.
#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include <absl/strings/str_format.h>

#include "engine/schedule/capacity.h"
#include "tests/simulation/answers.h"
#include "tests/simulation/violation.h"
#include "tests/simulation/world.h"

namespace latentd::simulation {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Counted CountedOf(RefusalCause cause) {
  switch (cause) {
    case RefusalCause::kQueueFull:
      return Counted::kRefusedFullQueue;
    case RefusalCause::kQueueTokens:
      return Counted::kRefusedQueueTokens;
    case RefusalCause::kTenantQuota:
      return Counted::kRefusedTenantQuota;
    case RefusalCause::kSloUnattainable:
      return Counted::kRefusedSloUnattainable;
    case RefusalCause::kDraining:
      return Counted::kRefusedDraining;
    case RefusalCause::kNeverFits:
      return Counted::kRefusedNeverFits;
  }
  CHECK(false);
}

Counted CountedOf(FinishReason reason) {
  static_assert(static_cast<int>(Counted::kDrained) - static_cast<int>(Counted::kEndedByEos) ==
                static_cast<int>(FinishReason::kDraining));
  return static_cast<Counted>(static_cast<int>(Counted::kEndedByEos) + static_cast<int>(reason));
}

Counted CountedOf(FaultKind kind) {
  static_assert(static_cast<int>(Counted::kEndAll) - static_cast<int>(Counted::kCancel) ==
                static_cast<int>(FaultKind::kEndAll));
  return static_cast<Counted>(static_cast<int>(Counted::kCancel) + static_cast<int>(kind));
}

}  // namespace

// As an RPC does it: received, judged, submitted.
void World::Arrive(Life& life) {
  const PlannedRequest& planned = *life.planned;
  const TimePoint now = clock_.Now();
  life.request.received = now;
  if (planned.deadline) life.request.deadline = now + *planned.deadline;
  if (planned.queue_deadline) life.request.queue_deadline = now + *planned.queue_deadline;
  if (planned.first_token) life.request.scheduling.first_token_by = now + *planned.first_token;
  ++counts_.received;
  coverage_.Add(Counted::kRequests);
  metrics_.Update([](MetricsData& data) { data.requests_in_flight.Arrive(Phase::kQueued); });
  const SchedulerOptions& options = scenario_.engine.scheduler;
  const bool fits = CheckFits(life.request, {.max_context_tokens = options.max_context_tokens,
                                             .num_blocks = UsableBlocks(options.cache.num_blocks)})
                        .ok();
  Require(fits == CanEverRun(life.request), Rule::kQueue,
          [&] { return absl::StrFormat("whether request %d can ever run is judged wrongly", life.number()); });
  if (!fits) return Refuse(life, {.cause = RefusalCause::kNeverFits});
  for (SequenceLife& sequence : life.sequences) {
    sequence.quiet = RunQuietly(life.request, sequence.index, options.max_context_tokens);
  }
  if (life.request.cache.keep_seconds > 0.0) coverage_.Add(Counted::kKept);
  Submit(life);
}

void World::Submit(Life& life) {
  life.stream = std::make_shared<TokenStream>(
      &sinks_[static_cast<size_t>(&life - lives_.all().data())], life.planned->max_pending_bytes,
      StreamBacklog{.num_bytes = &metrics_.stream_backlog_bytes(), .max_bytes = scenario_.max_backlog_bytes});
  const std::optional<RefusalCause> expected = ExpectedRefusal(life.request);
  const std::optional<Refusal> refusal = inbox_.Submit({.request = life.request, .stream = life.stream}, clock_.Now());
  // Whether it can be in time is a matter of what was measured.
  const bool is_due = std::min(life.request.scheduling.first_token_by, life.request.deadline) != kNever;
  const bool is_hopeless = refusal && refusal->cause == RefusalCause::kSloUnattainable && is_due &&
                           !(expected && *expected == RefusalCause::kDraining);
  const bool is_expected = expected.has_value() == refusal.has_value() && (!refusal || refusal->cause == *expected);
  Require(is_expected || is_hopeless, Rule::kQueue,
          [&] { return absl::StrFormat("request %d is let in or refused wrongly", life.number()); });
  if (refusal) return Refuse(life, *refusal);
  Tell("submitted", life.number());
  life.stage = Stage::kSubmitted;
  coverage_.Add(Counted::kAdmitted);
  submitted_.push_back(&life);
  Poke();
  StrikeAt(Moment::kArrival, life, 0, INT_MAX);
}

void World::Refuse(Life& life, const Refusal& refusal) {
  const bool comes_back = refusal.cause != RefusalCause::kDraining && refusal.cause != RefusalCause::kNeverFits;
  const bool is_told_when = refusal.retry_after >= milliseconds(100) && refusal.retry_after <= seconds(60);
  Require(!comes_back || is_told_when, Rule::kQueue, [] { return "a refusal without a time to come back"; });
  Tell("refused", life.number());
  coverage_.Add(CountedOf(refusal.cause));
  life.stage = Stage::kRefused;
  life.stream = nullptr;
  ++counts_.finished;
  metrics_.Update([](MetricsData& data) { data.requests_in_flight.Leave(Phase::kQueued); });
}

bool World::CanEverRun(const Request& request) const {
  const SchedulerOptions& options = scenario_.engine.scheduler;
  const bool generates = request.kind == RequestKind::kGenerate;
  const int output = generates ? request.stopping.max_tokens : 0;
  const int prompt = static_cast<int>(request.prompt.size());
  if (generates && (output < 1 || prompt + 1 > options.max_context_tokens)) return false;
  if (prompt > options.max_context_tokens) return false;
  // The last token is never computed.
  const int computed = std::min(prompt + output, options.max_context_tokens) - (generates ? 1 : 0);
  return (computed + kBlockSlots - 1) / kBlockSlots <= options.cache.num_blocks - 1;
}

std::optional<RefusalCause> World::ExpectedRefusal(const Request& request) const {
  if (!is_admitting_) return RefusalCause::kDraining;
  if (request.scheduling.first_token_by <= clock_.Now()) return RefusalCause::kSloUnattainable;
  const auto num_tokens = static_cast<int64_t>(request.prompt.size());
  const std::string& tenant = request.scheduling.tenant;
  const TenantRule& rule = scenario_.engine.scheduler.tenants.Of(tenant);
  const QueueLoad own = WaitingOf(lives_, &tenant), all = WaitingOf(lives_);
  if (own.requests >= rule.max_queued_requests) return RefusalCause::kTenantQuota;
  if (own.requests > 0 && own.tokens + num_tokens > rule.max_queued_tokens) return RefusalCause::kTenantQuota;
  if (all.requests >= scenario_.most_queued.requests) return RefusalCause::kQueueFull;
  if (all.requests > 0 && all.tokens + num_tokens > scenario_.most_queued.tokens) return RefusalCause::kQueueTokens;
  return std::nullopt;
}

void World::AddRead(TimePoint at, Life& life) {
  life.will_read = true;
  events_.Add(at, {EventKind::kRead, life.number()});
}

void World::ScheduleRead(Life& life) {
  if (life.will_read || life.is_gone) return;
  AddRead(clock_.Now() + (is_quiet_ ? Duration::zero() : life.planned->reading), life);
}

void World::Read(Life& life) {
  life.will_read = false;
  if (life.is_gone || life.stage == Stage::kFinished) return;
  if (clock_.Now() < life.stalled_until) return AddRead(life.stalled_until, life);
  TakeOne(life);
}

void World::TakeOne(Life& life) {
  bool was_full = false;
  std::optional<StreamChunk> chunk = life.stream->Take(&was_full);
  if (!chunk) return;
  CheckRoom(life, was_full);
  if (chunk->tokens.size() > 1) coverage_.Add(Counted::kMergedChunks);
  const auto num_tokens_before = static_cast<int>(life.num_taken());
  const bool has_end = chunk->end.has_value();
  const FinishReason reason = has_end ? chunk->end->reason : FinishReason::kEos;
  const auto index = static_cast<size_t>(chunk->index);
  const bool more_pending = chunk->more_pending;
  TakeChunk(std::move(*chunk), life);
  CheckStopped(life.sequences[index]);
  if (was_full) {
    life.was_told_full = false;
    life.reader_word = ReaderState::kCaughtUp;
    coverage_.Add(Counted::kResumes);
    inbox_.Resume(life.request.id);
    Poke();
  }
  if (has_end) return Finish(life, reason);
  StrikeAt(Moment::kToken, life, num_tokens_before, life.num_taken());
  if (more_pending) ScheduleRead(life);
}

// A reader that makes room is told so, or its sequence would stay paused.
void World::CheckRoom(const Life& life, bool was_full) const {
  const size_t pending = life.stream->pending_bytes();
  const bool has_room = life.is_in_engine() && pending <= life.planned->max_pending_bytes &&
                        (pending <= kMaxChunkBytes || scenario_.max_backlog_bytes == INT64_MAX);
  Require(!life.was_told_full || !has_room || was_full, Rule::kBackLog,
          [&] { return absl::StrFormat("request %d has room again and is not resumed", life.number()); });
}

// Past its stop string a sequence is ended, rather than computed to its own end.
void World::CheckStopped(const SequenceLife& sequence) const {
  const bool is_stopped =
      sequence.quiet.reason == FinishReason::kStopString && sequence.tokens.size() == sequence.quiet.tokens.size();
  if (!is_stopped || !sequence.is_in_engine() || sequence.end_asked || sequence.life->end_asked) return;
  const auto& ended = effects_.cancel;
  Require(std::find(ended.begin(), ended.end(), sequence.id()) != ended.end(), Rule::kEnded,
          [&] { return sequence.Name() + " has its stop string and goes on"; });
}

// The RPC is over: its end was taken.
void World::Finish(Life& life, FinishReason reason) {
  Tell("finished", life.number());
  coverage_.Add(CountedOf(reason));
  life.stage = Stage::kFinished;
  ++counts_.finished;
  metrics_.Update([](MetricsData& data) { data.requests_in_flight.Leave(Phase::kOutput); });
  StrikeAt(Moment::kEnd, life, 0, INT_MAX);
}

void World::StrikeAt(Moment moment, const Life& life, int first, int end) {
  for (const Fault* fault : life.faults) {
    const bool is_counted = moment == Moment::kRow || moment == Moment::kToken;
    if (fault->moment != moment || (is_counted && (fault->count < first || fault->count >= end))) continue;
    events_.Add(clock_.Now(), {EventKind::kFault, fault->number});
  }
}

void World::Strike(const Fault& fault) {
  if (is_quiet_) return;
  coverage_.Add(CountedOf(fault.kind));
  Tell(std::string(NameOf(fault.kind)).c_str(), fault.request);
  switch (fault.kind) {
    case FaultKind::kLongStep:
      late_ = fault.length;
      return;
    case FaultKind::kLatePublisher:
      publisher_late_until_ = clock_.Now() + fault.length;
      return;
    case FaultKind::kClockJump:
      return clock_.AdvanceTo(clock_.Now() + fault.length);
    case FaultKind::kDescribe:
      return Describe();
    case FaultKind::kFlush:
      return Flush();
    case FaultKind::kStopAdmitting:
      is_admitting_ = false;
      return inbox_.StopAdmitting();
    case FaultKind::kEndAll:
      return EndAll();
    default:
      if (Life* life = lives_.ByNumber(fault.request)) StrikeRequest(fault, *life);
  }
}

void World::StrikeRequest(const Fault& fault, Life& life) {
  if (life.stage == Stage::kExpected || life.stage == Stage::kRefused) return;
  switch (fault.kind) {
    case FaultKind::kCancel:
      return EndRequest(life, FinishReason::kCancelled, clock_.Now());
    case FaultKind::kAbort:
      return EndRequest(life, FinishReason::kAborted, clock_.Now());
    case FaultKind::kVanish:
      return Vanish(life);
    case FaultKind::kStall:
      life.stalled_until = clock_.Now() + fault.length;
      return;
    default:
      CHECK(false);
  }
}

void World::EndRequest(Life& life, FinishReason reason, TimePoint asked) {
  if (!life.is_alive()) coverage_.Add(Counted::kLateCommands);
  if (life.is_alive() && !life.end_asked) {
    life.end_asked = reason;
    life.end_asked_at = asked;
  }
  inbox_.Cancel(life.request.id, reason, asked);
  Poke();
}

// Its connection is lost: nothing is read any more, and the RPC's end is the stream's.
void World::Vanish(Life& life) {
  if (life.is_gone || life.stage == Stage::kFinished) return;
  coverage_.Add(Counted::kVanished);
  life.is_gone = true;
  life.stream->Detach();
  EndRequest(life, FinishReason::kCancelled, clock_.Now());
  while (life.is_published && life.stage != Stage::kFinished) TakeOne(life);
}

void World::EndAll() {
  end_all_sent_ = true;
  inbox_.CancelAll();
  Poke();
}

void World::Describe() {
  inbox_.Describe([this](const std::vector<SequenceStatus>& all) { CheckDescription(all); });
  Poke();
}

// Told after the commands of a turn, before its plan or after it: then what expired by the plan has ended, too.
void World::CheckDescription(const std::vector<SequenceStatus>& all) {
  const bool is_planned = engine_state_ == EngineState::kInStep;
  const auto is_listed = [is_planned](const SequenceLife& sequence) {
    const std::optional<FinishReason> end = sequence.must_end;
    const bool is_commanded =
        end == FinishReason::kCancelled || end == FinishReason::kAborted || end == FinishReason::kDraining;
    const bool has_prompt = sequence.index == 0 || sequence.prompt_accounted > 0;
    return has_prompt && (is_planned ? !end : !is_commanded);
  };
  int most = 0, hopeless = 0;  // the latter may have ended with the plan
  lives_.ForEachInEngine([&](const SequenceLife& sequence) {
    most += is_listed(sequence) ? 1 : 0;
    hopeless += is_planned && is_listed(sequence) && sequence.life->MayBeHopeless() ? 1 : 0;
  });
  Require(std::ssize(all) <= most && std::ssize(all) >= most - hopeless, Rule::kEnded,
          [&] { return absl::StrFormat("%d sequences listed, expected %d", all.size(), most); });
  for (const SequenceStatus& status : all) {
    const SequenceLife& sequence = lives_.ById(status.id);
    const bool holds =
        sequence.is_in_engine() && is_listed(sequence) && status.prompt_tokens == sequence.num_prompt_tokens() &&
        status.computed_tokens == sequence.num_computed && status.generated_tokens == sequence.num_generated;
    Require(holds, Rule::kEnded, [&] { return sequence.Name() + " is listed wrongly"; });
  }
}

void World::Flush() {
  inbox_.FlushPrefixCache([this](int64_t) {
    RequireEqual(loop_.engine().scheduler().cache().num_cached(), 0, Rule::kCache, "cached blocks after a flush");
    lives_.ForEachInEngine([](SequenceLife& sequence) { sequence.first_block = -1; });
  });
  Poke();
}

// The faults are over: readers read at once, and what was admitted has to end.
void World::Quieten() {
  is_quiet_ = true;
  publisher_late_until_ = {};
  if (publisher_state_ == PublisherState::kWoken) events_.Add(clock_.Now(), {EventKind::kPublish});
  for (Life& life : lives_.all()) {
    life.stalled_until = {};
    if (life.stream != nullptr && !life.is_gone && life.stage != Stage::kFinished) AddRead(clock_.Now(), life);
  }
}

}  // namespace latentd::simulation
