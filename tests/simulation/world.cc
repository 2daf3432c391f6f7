#include "tests/simulation/world.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
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
      random_(Mix(scenario.seed, 1)),
      lives_(scenario),
      executor_(scenario.engine.scheduler, lives_, clock_),
      inbox_(scenario.most_queued),
      loop_(std::make_unique<Engine>(executor_, scenario.engine, metrics_), clock_),
      publisher_(&tokenizer, metrics_) {
  const TimePoint start = clock_.Now();
  for (Life& life : lives_.all()) {
    events_.Add(start + life.planned->arrival, {EventKind::kArrival, static_cast<int>(sinks_.size())});
    sinks_.emplace_back(*this, life);
  }
  for (size_t i = 0; i < scenario.faults.size(); ++i) {
    const Fault& fault = scenario.faults[i];
    Life* life = lives_.ByNumber(fault.request);
    if (fault.kind == FaultKind::kNonFinite) {
      if (life != nullptr) life->nonfinite_at = fault.count;
    } else if (fault.moment == Moment::kTime) {
      events_.Add(start + fault.at, {EventKind::kFault, static_cast<int>(i)});
    } else if (life != nullptr) {
      life->faults.push_back(static_cast<int>(i));
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
  const auto life = [&]() -> Life& { return lives_.all()[static_cast<size_t>(event.subject)]; };
  switch (event.kind) {
    case EventKind::kArrival:
      return Arrive(life());
    case EventKind::kTurn:
      if (engine_state_ == EngineState::kResting && event.subject == num_rests_) BeginTurn();
      return;
    case EventKind::kStepDone:
      return EndTurn();
    case EventKind::kPublish:
      return Publish();
    case EventKind::kEffects:
      return ApplyEffects();
    case EventKind::kRead:
      return Read(life());
    case EventKind::kFault:
      return Strike(scenario_.faults[static_cast<size_t>(event.subject)]);
    case EventKind::kQuiet:
      return Quieten();
  }
}

void World::Tell(const char* what, int number) const {
  if (telling_ == Telling::kSilent) return;
  std::fprintf(stderr, "%10.4f s  %s %d\n", Seconds(clock_.Now() - VirtualClock().Now()), what, number);
}

// Something is in the inbox: a rest ends.
void World::Poke() {
  has_word_ = true;
  if (engine_state_ != EngineState::kResting) return;
  events_.Add(clock_.Now() + random_.Within(milliseconds(1)), {EventKind::kTurn, num_rests_});
}

void World::BeginTurn() {
  engine_state_ = EngineState::kInStep;
  has_word_ = false;
  begun_ = clock_.Now();
  executor_.Clear();
  ForeseeCommands();
  loop_.Begin(inbox_.Take());
  CheckBlocks(loop_.engine().scheduler());
  Duration duration{};
  if (!executor_.rows().empty()) {
    duration = scenario_.step.fixed + scenario_.step.per_token * executor_.num_tokens() +
               random_.Within(scenario_.step.jitter) + std::exchange(late_, {});
    Tell("step of tokens:", executor_.num_tokens());
  }
  for (const LaunchedRow& row : executor_.rows()) {
    Life& life = *row.life;
    ++life.num_rows;
    StrikeAt(Moment::kRow, life, life.num_rows - 1, life.num_rows);
  }
  events_.Add(begun_ + duration, {EventKind::kStepDone});
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

void World::ForeseeEnd(Life& life) {
  const ReaderState word = std::exchange(life.reader_word, ReaderState::kUnchanged);
  if (word == ReaderState::kCaughtUp) life.is_paused = false;
  if (word == ReaderState::kFull && !life.is_paused) {
    life.is_paused = true;
    life.paused_from = begun_;
  }
  if (life.end_asked) {
    life.must_end = life.end_asked;
  } else if (end_all_sent_) {
    life.must_end = FinishReason::kDraining;
  } else if (life.Expiry(slow_consumer_) <= begun_) {
    life.must_end = life.ExpiryReason(begun_);
  }
}

void World::EndTurn() {
  loop_.Complete(turn_);
  if (turn_.left_queue.requests > 0) inbox_.LeaveQueue(turn_.left_queue, clock_.Now());
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
  life.num_computed = end;
  life.num_steps_without = -1;  // CheckTurns counts this step, too
  life.most_started = 0;
  life.num_new_tokens = row.is_finite ? row.num_logits : 0;
  if (life.stage == Stage::kWaiting) {
    life.stage = Stage::kPrefill;
    life.first_scheduled = begun_;
  }
  ++counts_.rows;
  counts_.prompt_tokens_computed += static_cast<uint64_t>(std::max(0, std::min(end, num_prompt) - row.first_position));
  if (!row.is_finite) {
    life.was_nonfinite = true;
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
  std::move(turn_.opened.begin(), turn_.opened.end(), std::back_inserter(opened_));
  turn_.opened.clear();
  if (!turn_.output.empty()) outputs_.push_back(std::exchange(turn_.output, {}));
  if (!opened_.empty() || !outputs_.empty()) WakePublisher();
}

void World::Rest() {
  engine_state_ = EngineState::kResting;
  ++num_rests_;
  if (!turn_.idle || has_word_) {
    events_.Add(clock_.Now(), {EventKind::kTurn, num_rests_});
  } else if (turn_.next_expiry != kNever) {
    events_.Add(turn_.next_expiry, {EventKind::kTurn, num_rests_});
  }
}

void World::WakePublisher() {
  if (publisher_state_ != PublisherState::kResting) return;
  publisher_state_ = PublisherState::kWoken;
  events_.Add(clock_.Now() + random_.Within(scenario_.publishing), {EventKind::kPublish});
}

void World::Publish() {
  if (publisher_state_ != PublisherState::kWoken) return;
  if (clock_.Now() < publisher_late_until_) return events_.Add(publisher_late_until_, {EventKind::kPublish});
  publisher_state_ = PublisherState::kSending;
  for (StreamOpening& opening : opened_) publisher_.Open(std::move(opening));
  opened_.clear();
  publisher_.Publish(outputs_, effects_);
  outputs_.clear();
  for (const Effects::Pause& pause : effects_.pause) lives_.ById(pause.id).was_told_full = true;
  for (const RequestId id : effects_.ended) {
    Life& life = lives_.ById(id);
    Require(life.stage == Stage::kEnded && !life.is_published && life.stream->has_end(), Rule::kOneEnd,
            [&] { return absl::StrFormat("the stream of request %d ends wrongly", life.number()); });
    life.is_published = true;
    while (life.is_gone && life.stage != Stage::kFinished) TakeOne(life);
  }
  effects_.ended.clear();
  events_.Add(clock_.Now() + random_.Within(milliseconds(1)), {EventKind::kEffects});
}

// A moment later, as a thread would: readers may have come in between.
void World::ApplyEffects() {
  for (const Effects::Pause& pause : effects_.pause) {
    lives_.ById(pause.id).reader_word = pause.stream->full() ? ReaderState::kFull : ReaderState::kCaughtUp;
    coverage_.Add(Counted::kPauses);
  }
  for (const RequestId id : effects_.cancel) {
    Life& life = lives_.ById(id);
    if (life.is_alive() && !life.end_asked) life.end_asked = FinishReason::kCancelled;
  }
  if (!effects_.cancel.empty() || !effects_.pause.empty()) {
    inbox_.Apply(effects_);
    Poke();
  }
  effects_ = {};
  publisher_state_ = PublisherState::kResting;
  if (!opened_.empty() || !outputs_.empty()) WakePublisher();
}

void World::CheckAtEnd() {
  for (const Life& life : lives_.all()) {
    Require(life.stage == Stage::kRefused || life.stage == Stage::kFinished, Rule::kLiveness,
            [&] { return absl::StrFormat("request %d never ends, it stays in stage %d", life.number(), life.stage); });
  }
  const BlockPool& pool = loop_.engine().scheduler().pool();
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
