#include "tests/simulation/world.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include <absl/strings/str_format.h>

#include "tests/simulation/answers.h"
#include "tests/simulation/violation.h"

namespace latentd::simulation {
namespace {

using std::chrono::milliseconds;

constexpr uint64_t kMostEvents = 300'000;  // many times what the requests of a scenario need
constexpr uint64_t kBacklogCheckEvery = 16;
constexpr size_t kKvEvents = 2048;  // more than a turn has

EngineOptions WithEvents(EngineOptions options) {
  options.scheduler.num_kv_events = kKvEvents;
  return options;
}

}  // namespace

World::World(const Scenario& scenario, const Tokenizer& tokenizer, Telling telling)
    : scenario_(scenario),
      telling_(telling),
      slow_consumer_(FromSeconds(scenario.engine.scheduler.slow_consumer_seconds)),
      events_(scenario.seed),
      lives_(scenario),
      executor_(scenario, lives_, clock_, coverage_),
      inbox_({.most_queued = scenario.most_queued,
              .tenants = scenario.engine.scheduler.tenants,
              .finds_prompts = scenario.engine.scheduler.prefix_cache == PrefixCacheMode::kOn}),
      loop_(std::make_unique<Engine>(executor_, WithEvents(scenario.engine), metrics_), clock_),
      follower_(loop_.engine().scheduler()),
      ranking_(scenario.engine.scheduler, scenario.most_service, loop_.engine().scheduler()),
      publisher_(&tokenizer, metrics_) {
  executor_.Follow(loop_.engine().scheduler());
  TellDecisionsOf(&loop_.engine().scheduler().recorder());
  const TimePoint start = clock_.Now();
  for (Life& life : lives_.all()) {
    events_.Add(start + life.planned->arrival, {EventKind::kArrival, life.number()});
    sinks_.emplace_back(*this, life);
  }
  for (const Fault& fault : scenario.faults) {
    Life* life = lives_.ByNumber(fault.request);
    if (fault.kind == FaultKind::kNonFinite) {
      if (life == nullptr) continue;
      life->nonfinite_at = fault.count;
      life->nonfinite_index = fault.number % life->request.num_sequences;
    } else if (fault.moment == Moment::kTime) {
      events_.Add(start + fault.at, {EventKind::kFault, fault.number});
    } else if (life != nullptr) {
      life->faults.push_back(&fault);
    }
  }
  events_.Add(start + scenario.span, {EventKind::kQuiet});
}

void World::Run() {
  while (!events_.empty()) {
    Dispatch(events_.Take(clock_));
    CheckQueue(inbox_.waiting(), lives_, scenario_.most_queued);
    if (++num_events_ % kBacklogCheckEvery == 0) CheckBacklog(metrics_, lives_);
    Require(num_events_ < kMostEvents, Rule::kLiveness, [] { return "events without end"; });
  }
  CheckAtEnd();
}

std::vector<FlightEntry> World::Decisions() const {
  const FlightRecorder& recorder = loop_.engine().scheduler().recorder();
  return recorder.Before(recorder.num_recorded(), recorder.num_entries());
}

void World::Dispatch(const Event& event) {
  const auto life = [&]() -> Life& {
    Life* const found = lives_.ByNumber(event.subject);
    CHECK(found != nullptr);
    return *found;
  };
  switch (event.kind) {
    case EventKind::kArrival:
      return Arrive(life());
    case EventKind::kTurn:
      if (engine_state_ == EngineState::kResting && event.num_rests == num_rests_) BeginTurn();
      return;
    case EventKind::kCommands:
      if (engine_state_ == EngineState::kInStep && event.num_rests == num_rests_) ApplyDuringStep();
      return;
    case EventKind::kStepDone:
      return EndTurn();
    case EventKind::kPublish:
      return Publish();
    case EventKind::kEffects:
      return SendEffects();
    case EventKind::kLookAgain:
      return LookAgain();
    case EventKind::kRead:
      return Read(life());
    case EventKind::kFault:
      return Strike(FaultOf(event.subject));
    case EventKind::kQuiet:
      return Quieten();
  }
}

void World::Tell(const char* what, int number) const {
  if (telling_ == Telling::kSilent) return;
  std::fprintf(stderr, "%10.4f s  %s %d\n", Seconds(clock_.Now() - VirtualClock().Now()), what, number);
}

Duration World::Within(Duration most, EventKind kind) const {
  const auto now = static_cast<uint64_t>(clock_.Now().time_since_epoch().count());
  return Random(Mix(Mix(scenario_.seed, static_cast<uint64_t>(kind) + 1), now)).Within(most);
}

const Fault& World::FaultOf(int number) const {
  const auto& faults = scenario_.faults;
  const auto found = std::find_if(faults.begin(), faults.end(), [=](const Fault& it) { return it.number == number; });
  CHECK(found != faults.end());
  return *found;
}

void World::WakePublisher() {
  if (publisher_state_ != PublisherState::kResting) return;
  publisher_state_ = PublisherState::kWoken;
  events_.Add(clock_.Now() + Within(scenario_.publishing, EventKind::kPublish), {EventKind::kPublish});
}

void World::Publish() {
  if (publisher_state_ != PublisherState::kWoken) return;
  if (clock_.Now() < publisher_late_until_) return events_.Add(publisher_late_until_, {EventKind::kPublish});
  publisher_state_ = PublisherState::kSending;
  // Never waits: there is a letter.
  CHECK(std::exchange(has_letter_, false) && outbox_.Await(letter_));
  for (StreamOpening& opening : letter_.opened) publisher_.Open(std::move(opening));
  publisher_.Publish(letter_.outputs, effects_);
  outbox_.GiveBack(letter_);
  for (const Effects::Pause& pause : effects_.pause) lives_.ById(pause.id).was_told_full = true;
  for (const RequestId id : effects_.ended) {
    Life& life = lives_.ById(id);
    Require(life.stage == Stage::kEnded && !life.is_published && life.stream->has_end(), Rule::kOneEnd,
            [&] { return absl::StrFormat("the stream of request %d ends wrongly", life.number()); });
    life.is_published = true;
    while (life.is_gone && life.stage != Stage::kFinished) TakeOne(life);
  }
  effects_.ended.clear();
  events_.Add(clock_.Now() + Within(milliseconds(1), EventKind::kEffects), {EventKind::kEffects});
}

// A moment later, as a thread would: readers may have come in between.
void World::SendEffects() {
  for (const Effects::Pause& pause : effects_.pause) {
    lives_.ById(pause.id).reader_word = ReaderState::kFull;
    coverage_.Add(Counted::kPauses);
  }
  for (const SequenceId id : effects_.cancel) {
    SequenceLife& sequence = lives_.ById(id);
    if (sequence.is_in_engine() && !sequence.life->end_asked) sequence.end_asked = FinishReason::kCancelled;
  }
  if (!effects_.cancel.empty() || !effects_.pause.empty()) {
    inbox_.Send(effects_);
    Poke();
  }
  if (effects_.pause.empty()) return LookAgain();
  events_.Add(clock_.Now() + Within(milliseconds(1), EventKind::kLookAgain), {EventKind::kLookAgain});
}

// A moment later again: a reader that made room since its stream was full may have said so before the pause was sent.
void World::LookAgain() {
  for (const Effects::Pause& pause : effects_.pause) {
    Life& life = lives_.ById(pause.id);
    if (!life.was_told_full) life.reader_word = ReaderState::kCaughtUp;
  }
  if (!effects_.pause.empty()) {
    inbox_.LookAgain(effects_);
    Poke();
  }
  effects_ = {};
  publisher_state_ = PublisherState::kResting;
  if (has_letter_) WakePublisher();
}

void World::CheckAtEnd() {
  for (const Life& life : lives_.all()) {
    Require(life.stage == Stage::kRefused || life.stage == Stage::kFinished, Rule::kLiveness,
            [&] { return absl::StrFormat("request %d never ends, it stays in stage %d", life.number(), life.stage); });
  }
  const BlockCache& cache = loop_.engine().scheduler().cache();
  RequireEqual(cache.num_held(), 0, Rule::kBlocks, "blocks that are held at the end");
  Require(cache.num_cached() <= executor_.NumShareableBlocks(), Rule::kCache, [&] {
    return absl::StrFormat("%d blocks are cached at the end, %d of them may be", cache.num_cached(),
                           executor_.NumShareableBlocks());
  });
  CheckMetrics(metrics_, counts_, lives_);
  CheckBacklog(metrics_, lives_);
  metrics_.Update([this](const MetricsData& data) {
    const uint64_t published = data.generated_tokens_delivered + data.generated_tokens_discarded;
    Require(published == counts_.generated, Rule::kMetrics,
            [&] { return absl::StrFormat("%d of %d tokens published", published, counts_.generated); });
  });
  coverage_.Add(Counted::kWorlds);
  coverage_.Add(Counted::kSteps, counts_.steps);
  coverage_.Add(Counted::kRows, counts_.rows);
  coverage_.Add(Counted::kTokens, counts_.tokens);
  coverage_.Add(Counted::kEvents, num_events_);
  CoverCache();
}

void World::CoverCache() {
  const SchedulerOptions& options = scenario_.engine.scheduler;
  if (options.prefix_cache == PrefixCacheMode::kOff) coverage_.Add(Counted::kWorldsWithoutCache);
  if (options.max_drafts > 0) coverage_.Add(Counted::kDraftingWorlds);
  for (const uint64_t drafted : counts_.drafted) coverage_.Add(Counted::kDraftedTokens, drafted);
  for (const uint64_t accepted : counts_.accepted) coverage_.Add(Counted::kAcceptedDrafts, accepted);
  if (options.cache.hash_mask != ~uint64_t{0}) coverage_.Add(Counted::kCollidingWorlds);
  metrics_.Update([this](const MetricsData& data) {
    coverage_.Add(Counted::kEvictions, data.kv_evictions);
    coverage_.Add(Counted::kPreemptedForBlocks, data.preemptions[static_cast<size_t>(PreemptionReason::kBlocks)]);
    coverage_.Add(Counted::kPreemptedForPriority, data.preemptions[static_cast<size_t>(PreemptionReason::kPriority)]);
    coverage_.Add(Counted::kRecomputedTokens, data.recomputed_tokens);
    coverage_.Add(Counted::kHitTokens, data.prefix_hit_tokens);
    coverage_.Add(Counted::kLostToSalt, data.prefix_lost_tokens[static_cast<size_t>(PrefixLoss::kSalt)]);
    coverage_.Add(Counted::kLostToEviction, data.prefix_lost_tokens[static_cast<size_t>(PrefixLoss::kEviction)]);
  });
}

}  // namespace latentd::simulation
