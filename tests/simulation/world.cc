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

}  // namespace

World::World(const Scenario& scenario, const Tokenizer& tokenizer, Telling telling)
    : scenario_(scenario),
      telling_(telling),
      slow_consumer_(FromSeconds(scenario.engine.scheduler.slow_consumer_seconds)),
      events_(scenario.seed),
      lives_(scenario),
      executor_(scenario.engine.scheduler, lives_, clock_),
      inbox_({.most_queued = scenario.most_queued}),
      loop_(std::make_unique<Engine>(executor_, scenario.engine, metrics_), clock_),
      publisher_(&tokenizer, metrics_) {
  const TimePoint start = clock_.Now();
  for (Life& life : lives_.all()) {
    events_.Add(start + life.planned->arrival, {EventKind::kArrival, life.number()});
    sinks_.emplace_back(*this, life);
  }
  for (const Fault& fault : scenario.faults) {
    Life* life = lives_.ByNumber(fault.request);
    if (fault.kind == FaultKind::kNonFinite) {
      if (life != nullptr) life->nonfinite_at = fault.count;
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

// Something is in the inbox: a rest ends.
void World::Poke() {
  has_word_ = true;
  if (engine_state_ != EngineState::kResting) return;
  events_.Add(clock_.Now() + Within(milliseconds(1), EventKind::kTurn),
              {.kind = EventKind::kTurn, .num_rests = num_rests_});
}

void World::BeginTurn() {
  engine_state_ = EngineState::kPlanning;
  has_word_ = false;
  begun_ = clock_.Now();
  executor_.Clear();
  ForeseeCommands();
  loop_.Begin(inbox_.Take());
  engine_state_ = EngineState::kInStep;
  CheckBlocks(loop_.engine().scheduler());
  for (const LaunchedRow& row : executor_.rows()) {
    Life& life = *row.life;
    ++life.num_rows;
    StrikeAt(Moment::kRow, life, life.num_rows - 1, life.num_rows);
  }
  AddStepEvents();
}

// A turn without rows is over at once. In every other step of a model the commands that have come are applied at some
// moment of it; else, and those that come later, they wait for the next turn.
void World::AddStepEvents() {
  Duration duration{};
  if (!executor_.rows().empty()) {
    duration = scenario_.step.fixed + scenario_.step.per_token * executor_.num_tokens() +
               Within(scenario_.step.jitter, EventKind::kStepDone) + std::exchange(late_, {});
    Tell("step of tokens:", executor_.num_tokens());
    const Duration moment = Within(2 * duration, EventKind::kCommands);
    if (moment <= duration) events_.Add(begun_ + moment, {.kind = EventKind::kCommands, .num_rests = num_rests_});
  }
  events_.Add(begun_ + duration, {EventKind::kStepDone});
}

void World::ApplyDuringStep() {
  ForeseeCommands();
  Commands commands = inbox_.Take();
  if (!commands.empty()) coverage_.Add(Counted::kCommandsInSteps);
  loop_.Apply(std::move(commands));
  executor_.CheckHeld(loop_.engine().scheduler().pool());
  CheckBlocks(loop_.engine().scheduler());
}

// What the commands that the inbox holds now, and the time, do to each request in this turn.
void World::ForeseeCommands() {
  for (Life* life : submitted_) {
    life->stage = Stage::kWaiting;
    life->order = ++num_seen_;
    counts_.prompt_tokens_admitted += static_cast<uint64_t>(life->num_prompt_tokens());
  }
  submitted_.clear();
  for (Life& life : lives_.all()) {
    if (life.is_in_engine()) ForeseeEnd(life);
  }
  end_all_sent_ = false;
}

// A pause counts from the first plan that sees it.
void World::ForeseeReader(Life& life) {
  const ReaderState word = std::exchange(life.reader_word, ReaderState::kUnchanged);
  if (word == ReaderState::kCaughtUp) life.is_paused = false;
  if (word == ReaderState::kFull) life.is_paused = true;
  if (!life.is_paused) life.paused_from = kNever;
  const bool is_planned = engine_state_ == EngineState::kInStep;
  if (life.is_paused && life.paused_from == kNever && !is_planned) life.paused_from = begun_;
}

void World::ForeseeEnd(Life& life) {
  if (life.must_end) return;  // it has ended, and the turn will tell
  ForeseeReader(life);
  const bool is_planned = engine_state_ == EngineState::kInStep;
  if (life.end_asked) {
    life.must_end = life.end_asked;
  } else if (end_all_sent_) {
    life.must_end = FinishReason::kDraining;
  } else if (!is_planned && life.Expiry(slow_consumer_) <= begun_) {
    life.must_end = life.ExpiryReason(begun_);
  }
  life.must_end_late = life.must_end && is_planned;
}

void World::EndTurn() {
  loop_.Complete(turn_);
  if (!executor_.rows().empty()) ++counts_.steps;
  counts_.tokens += static_cast<uint64_t>(executor_.num_tokens());
  int num_new_tokens = 0;
  for (const LaunchedRow& row : executor_.rows()) {
    CountRow(row);
    num_new_tokens += row.life->num_new_tokens;
  }
  for (const SequenceOutput& output : turn_.output.sequences) {
    num_new_tokens -= output.num_tokens;
    TakeOutput(output);
  }
  for (const SequenceEnd& end : turn_.output.ends) TakeEnd(end);
  Require(num_new_tokens == 0, Rule::kOutput,
          [&] { return absl::StrFormat("%d tokens of a step are in no output", num_new_tokens); });
  CheckTurn();
  HandOver();
  Rest();
}

void World::CountRow(const LaunchedRow& row) {
  Life& life = *row.life;
  const int num_prompt = life.num_prompt_tokens();
  const int end = row.first_position + row.num_tokens;
  if (life.stage == Stage::kWaiting) {
    life.stage = Stage::kPrefill;
    life.first_scheduled = begun_;
  }
  ++counts_.rows;
  if (life.must_end) {  // while the row was in flight: it gives nothing
    coverage_.Add(Counted::kRetired);
    return;
  }
  life.num_computed = end;
  life.num_steps_without = -1;  // CheckTurns counts this step, too
  life.most_started = 0;
  life.num_new_tokens = row.is_finite ? row.num_logits : 0;
  counts_.prompt_tokens_computed += static_cast<uint64_t>(std::max(0, std::min(end, num_prompt) - row.first_position));
  if (!row.is_finite) {
    life.was_nonfinite = true;
    coverage_.Add(Counted::kNonFiniteRow);
    ++counts_.nonfinite_rows;
  } else if (life.generates() && row.num_logits > 0) {
    life.stage = Stage::kDecode;
    life.num_generated += row.num_logits;
    counts_.generated += static_cast<uint64_t>(row.num_logits);
    life.last_token = clock_.Now();
    if (life.first_token == kNever) life.first_token = life.last_token;
  }
}

void World::TakeOutput(const SequenceOutput& output) {
  Life& life = lives_.ById(output.id.request);
  const auto name = [&] { return absl::StrFormat("request %d", life.number()); };
  Require(life.is_in_engine(), Rule::kOneEnd, [&] { return name() + " has output and is not in the engine"; });
  Require(output.num_tokens == std::exchange(life.num_new_tokens, 0), Rule::kOutput,
          [&] { return name() + absl::StrFormat(": %d tokens, not what its row gave", output.num_tokens); });
}

void World::TakeEnd(const SequenceEnd& end) {
  Life& life = lives_.ById(end.id.request);
  const auto name = [&] { return absl::StrFormat("request %d", life.number()); };
  Require(life.is_in_engine(), Rule::kOneEnd, [&] { return name() + " ends and is not in the engine"; });
  Require(life.num_new_tokens == 0, Rule::kOutput,
          [&] { return name() + absl::StrFormat(" ends without the last %d tokens", life.num_new_tokens); });
  CheckEnd(end, life, {.begun = begun_, .over = clock_.Now()});
  Tell("ended", life.number());
  life.stage = Stage::kEnded;
  life.engine_reason = end.reason;
}

void World::CheckTurn() {
  for (const Life& life : lives_.all()) {
    const auto name = [&] { return absl::StrFormat("request %d", life.number()); };
    if (!life.is_in_engine()) continue;
    Require(!life.must_end, Rule::kEnded, [&] { return name() + " was to end in this turn and has not"; });
    Require(!life.was_nonfinite, Rule::kReason, [&] { return name() + " goes on after logits that are not finite"; });
    Require(!life.generates() || life.num_generated < std::ssize(life.quiet.generated), Rule::kReason,
            [&] { return name() + " goes on after its last token"; });
  }
  const Scheduler& scheduler = loop_.engine().scheduler();
  CheckBlocks(scheduler);
  CheckReleased(scheduler);
  CheckSequences(scheduler, lives_);
  CheckMetrics(metrics_, counts_, lives_);
  const bool is_idle = executor_.rows().empty() && turn_.output.empty();
  Require(turn_.idle == is_idle, Rule::kLiveness, [] { return "an idle turn is none, or a busy one is"; });
  if (is_idle) CheckRest(turn_.next_expiry, lives_, slow_consumer_);
  if (!executor_.rows().empty()) CheckTurns();
}

// The one served longest ago comes first, so each step brings a row nearer; those that resume may come before it.
void World::CheckTurns() {
  const auto was_started = [](const Life& life) { return life.is_in_engine() && life.stage != Stage::kWaiting; };
  const auto num_started = static_cast<int>(std::count_if(lives_.all().begin(), lives_.all().end(), was_started));
  for (Life& life : lives_.all()) {
    if (!was_started(life)) continue;
    life.num_steps_without = life.is_paused ? 0 : life.num_steps_without + 1;
    life.most_started = std::max(life.most_started, num_started);
    Require(life.num_steps_without <= 2 * life.most_started, Rule::kLiveness, [&] {
      return absl::StrFormat("request %d had no row in %d steps", life.number(), life.num_steps_without);
    });
  }
}

void World::HandOver() {
  if (!turn_.left_queue.empty()) inbox_.LeaveQueue(turn_.left_queue, clock_.Now());
  has_letter_ = has_letter_ || !turn_.opened.empty() || !turn_.output.empty();
  outbox_.Put(turn_.opened, turn_.output);
  if (has_letter_) WakePublisher();
}

void World::Rest() {
  engine_state_ = EngineState::kResting;
  ++num_rests_;
  if (!turn_.idle || has_word_) {
    events_.Add(clock_.Now(), {.kind = EventKind::kTurn, .num_rests = num_rests_});
  } else if (turn_.next_expiry != kNever) {
    events_.Add(turn_.next_expiry, {.kind = EventKind::kTurn, .num_rests = num_rests_});
  }
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
    Life& life = lives_.ById(id.request);
    if (life.is_alive() && !life.end_asked) life.end_asked = FinishReason::kCancelled;
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
  Require(pool.num_free() == pool.num_usable() && pool.num_promised() == 0, Rule::kBlocks,
          [&] { return absl::StrFormat("%d of %d blocks are free at the end", pool.num_free(), pool.num_usable()); });
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
}

}  // namespace latentd::simulation
