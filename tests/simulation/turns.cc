// The part of the world that is the engine's thread: turns of the production loop, and what each of them must do.
#include <algorithm>
#include <cstdlib>
#include <utility>

#include <absl/strings/str_format.h>

#include "tests/simulation/answers.h"
#include "tests/simulation/violation.h"
#include "tests/simulation/world.h"

namespace latentd::simulation {

using std::chrono::milliseconds;

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
  ranking_.Remember(lives_, begun_);
  loop_.Begin(inbox_.Take());
  engine_state_ = EngineState::kInStep;
  planned_rate_ = loop_.engine().tokens_per_second();
  CheckBlocks(loop_.engine().scheduler());
  follower_.Check();
  ranking_.Check(executor_.rows(), FollowPreemptions());
  for (const LaunchedRow& row : executor_.rows()) StartRow(row);
  AddStepEvents();
}

// A turn without rows is over at once. In every other step of a model the commands that have come are applied at some
// moment of it; else, and those that come later, they wait for the next turn.
void World::AddStepEvents() {
  Duration duration{};
  if (!executor_.rows().empty()) {
    duration = StepDuration() + std::exchange(late_, {});
    Tell("step of tokens:", executor_.num_tokens());
    const Duration moment = Within(2 * duration, EventKind::kCommands);
    if (moment <= duration) events_.Add(begun_ + moment, {.kind = EventKind::kCommands, .num_rests = num_rests_});
  }
  events_.Add(begun_ + duration, {EventKind::kStepDone});
}

Duration World::StepDuration() const {
  const StepTimes& times = scenario_.step;
  if (counts_.steps < times.recorded.size()) return times.recorded[counts_.steps];
  return times.fixed + times.per_token * executor_.num_tokens() + Within(times.jitter, EventKind::kStepDone);
}

void World::ApplyDuringStep() {
  ForeseeCommands();
  Commands commands = inbox_.Take();
  if (!commands.empty()) coverage_.Add(Counted::kCommandsInSteps);
  loop_.Apply(std::move(commands));
  executor_.CheckHeld(loop_.engine().scheduler().cache());
  CheckBlocks(loop_.engine().scheduler());
  follower_.Check();
}

// What the commands that the inbox holds now, and the time, do to each request in this turn.
void World::ForeseeCommands() {
  for (Life* life : submitted_) {
    life->stage = Stage::kInEngine;
    for (SequenceLife& sequence : life->sequences) sequence.stage = SequenceStage::kWaiting;
    life->order = ++num_seen_;
    counts_.prompt_tokens_admitted += static_cast<uint64_t>(life->num_prompt_tokens());
  }
  submitted_.clear();
  for (Life& life : lives_.all()) {
    if (!life.is_in_engine()) continue;
    ForeseeReader(life);
    for (SequenceLife& sequence : life.sequences) {
      if (sequence.is_in_engine()) ForeseeEnd(sequence);
    }
  }
  end_all_sent_ = false;
}

// A pause counts from the first plan that sees it.
void World::ForeseeReader(Life& life) {
  const ReaderState word = std::exchange(life.reader_word, ReaderState::kUnchanged);
  if (word == ReaderState::kCaughtUp && std::exchange(life.is_paused, false)) {
    for (SequenceLife& sequence : life.sequences) sequence.rate_at_wait = planned_rate_;
  }
  if (word == ReaderState::kFull) life.is_paused = true;
  if (!life.is_paused) life.paused_from = kNever;
  const bool is_planned = engine_state_ == EngineState::kInStep;
  if (life.is_paused && life.paused_from == kNever && !is_planned) life.paused_from = begun_;
}

void World::ForeseeEnd(SequenceLife& sequence) {
  if (sequence.must_end) return;  // it has ended, and the turn will tell
  const Life& life = *sequence.life;
  const bool is_planned = engine_state_ == EngineState::kInStep;
  if (sequence.end_asked) {
    sequence.must_end = sequence.end_asked;
  } else if (life.end_asked) {
    sequence.must_end = life.end_asked;
  } else if (end_all_sent_) {
    sequence.must_end = FinishReason::kDraining;
  } else if (!is_planned && life.Expiry(slow_consumer_) <= begun_) {
    sequence.must_end = life.ExpiryReason(begun_);
  }
  sequence.must_end_late = sequence.must_end && is_planned;
}

// The plan is made: who lost its blocks in it, to come back in a later one or in this.
std::vector<SequenceLife*> World::FollowPreemptions() {
  std::vector<SequenceLife*> preempted;
  loop_.engine().scheduler().ForEach([&](const Sequence& found) {
    SequenceLife& sequence = lives_.ById(found.id());
    const int num_new = found.num_preemptions - sequence.num_preemptions;
    if (num_new == 0) return;
    Tell("preempted", sequence.life->number());
    sequence.num_preemptions = found.num_preemptions;
    sequence.is_preempted = true;
    sequence.rate_at_wait = planned_rate_;
    sequence.preempted_since = begun_;
    sequence.num_computed = 0;
    sequence.num_checked_blocks = 0;
    sequence.drafts.clear();
    preempted.push_back(&sequence);
    counts_.preemptions += static_cast<uint64_t>(num_new);
  });
  return preempted;
}

// Its positions before the row were found in the cache, where it comes from the queue.
void World::StartRow(const LaunchedRow& row) {
  SequenceLife& sequence = *row.sequence;
  Life& life = *sequence.life;
  if (row.has_waited) {
    sequence.num_computed = row.first_new_position();
    sequence.most_computed = std::max(sequence.most_computed, sequence.num_computed);
    if (sequence.index == 0) {
      const int found = std::min(sequence.num_computed, life.num_prompt_tokens());
      const int num_new = std::max(0, found - sequence.prompt_accounted);
      sequence.prompt_accounted += num_new;
      sequence.num_cached += num_new;
      counts_.prompt_tokens_cached += static_cast<uint64_t>(num_new);
      if (num_new > 0) coverage_.Add(Counted::kHits);
    } else if (!sequence.is_preempted) {
      coverage_.Add(Counted::kForks);
    }
    if (sequence.is_preempted) {
      coverage_.Add(Counted::kResumedAfterPreemption);
      sequence.preempted += begun_ - sequence.preempted_since;
      sequence.is_preempted = false;
    }
  }
  ++life.num_rows;
  StrikeAt(Moment::kRow, life, life.num_rows - 1, life.num_rows);
}

void World::EndTurn() {
  loop_.Complete(turn_);
  if (!executor_.rows().empty()) ++counts_.steps;
  counts_.tokens += static_cast<uint64_t>(executor_.num_tokens());
  int num_new_tokens = 0;
  for (const LaunchedRow& row : executor_.rows()) CountRow(row);
  for (const LaunchedRow& row : executor_.rows()) {
    if (row.sequence->was_nonfinite) FailSiblings(*row.sequence);
  }
  executor_.TakeDrafts();
  for (const LaunchedRow& row : executor_.rows()) num_new_tokens += row.sequence->num_new_tokens;
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
  SequenceLife& sequence = *row.sequence;
  sequence.life->has_started = true;
  if (sequence.stage == SequenceStage::kWaiting) {
    sequence.stage = SequenceStage::kPrefill;
    sequence.first_scheduled = begun_;
  }
  ++counts_.rows;
  if (sequence.must_end) {  // while the row was in flight: it gives nothing
    coverage_.Add(Counted::kRetired);
    return;
  }
  CountPositions(row);
  ranking_.ChargeDrafts(row);
  CountTokens(row);
  if (row.is_finite) return;
  sequence.was_nonfinite = true;
  coverage_.Add(Counted::kNonFiniteRow);
  ++counts_.nonfinite_rows;
}

void World::CountTokens(const LaunchedRow& row) {
  SequenceLife& sequence = *row.sequence;
  CountDrafts(row);
  sequence.num_new_tokens = row.num_given;
  if (!sequence.life->generates() || row.num_given == 0) return;
  sequence.stage = SequenceStage::kDecode;
  sequence.life->has_token = true;
  sequence.num_generated += row.num_given;
  counts_.generated += static_cast<uint64_t>(row.num_given);
  sequence.last_token = clock_.Now();
  if (sequence.first_token == kNever) sequence.first_token = sequence.last_token;
}

void World::CountDrafts(const LaunchedRow& row) {
  SequenceLife& sequence = *row.sequence;
  sequence.num_drafted += row.num_drafts;
  sequence.num_accepted += row.num_accepted;
  for (int i = 0; i < row.num_drafts; ++i) ++counts_.drafted[static_cast<size_t>(i)];
  for (int i = 0; i < row.num_accepted; ++i) ++counts_.accepted[static_cast<size_t>(i)];
  const bool is_cut = row.is_finite && row.num_accepted < row.num_drafts &&
                      sequence.num_generated + row.num_given == std::ssize(sequence.quiet.generated);
  if (is_cut) coverage_.Add(Counted::kEndsAmongDrafts);
}

void World::CountPositions(const LaunchedRow& row) {
  SequenceLife& sequence = *row.sequence;
  const int num_prompt = sequence.num_prompt_tokens();
  const int end = row.committed_end();
  const int num_again = std::min(end, sequence.most_computed) - row.first_new_position();
  counts_.recomputed_tokens += static_cast<uint64_t>(std::max(0, num_again));
  sequence.num_computed = end;
  sequence.most_computed = std::max(sequence.most_computed, sequence.num_computed);
  const int num_new = std::max(0, std::min(end, num_prompt) - sequence.prompt_accounted);
  sequence.prompt_accounted += num_new;
  counts_.prompt_tokens_computed += static_cast<uint64_t>(num_new);
  if (sequence.index == 0 && row.first_position < num_prompt && end >= num_prompt) Fork(*sequence.life);
}

// The prompt is there for all sequences of the request.
void World::Fork(Life& life) {
  for (SequenceLife& sequence : life.sequences) {
    if (sequence.index == 0 || sequence.prompt_accounted > 0) continue;
    sequence.prompt_accounted = sequence.most_computed = life.num_prompt_tokens();
    sequence.num_cached = life.sequences.front().num_cached;
  }
}

// What one of them got wrong was computed for all. One that got its last token in the same step has its end.
void World::FailSiblings(const SequenceLife& failed) {
  for (SequenceLife& sequence : failed.life->sequences) {
    const bool has_all = sequence.num_generated == std::ssize(sequence.quiet.generated);
    if (sequence.is_in_engine() && !sequence.must_end && !has_all) sequence.was_nonfinite = true;
  }
}

void World::TakeOutput(const SequenceOutput& output) {
  SequenceLife& sequence = lives_.ById(output.id);
  Require(sequence.is_in_engine(), Rule::kOneEnd,
          [&] { return sequence.Name() + " has output and is not in the engine"; });
  Require(output.num_tokens == std::exchange(sequence.num_new_tokens, 0), Rule::kOutput,
          [&] { return sequence.Name() + absl::StrFormat(": %d tokens, not what its row gave", output.num_tokens); });
}

void World::TakeEnd(const SequenceEnd& end) {
  SequenceLife& sequence = lives_.ById(end.id);
  Life& life = *sequence.life;
  Require(sequence.is_in_engine(), Rule::kOneEnd, [&] { return sequence.Name() + " ends and is not in the engine"; });
  Require(sequence.num_new_tokens == 0, Rule::kOutput, [&] {
    return sequence.Name() + absl::StrFormat(" ends without the last %d tokens", sequence.num_new_tokens);
  });
  if (end.reason == FinishReason::kSloUnattainable && life.MayBeHopeless() && !sequence.must_end) {
    sequence.must_end = end.reason;
  }
  CheckEnd(end, sequence, {.begun = begun_, .over = clock_.Now()});
  CheckKept(sequence);
  sequence.stage = SequenceStage::kEnded;
  sequence.engine_reason = end.reason;
  const auto has_ended = [](const SequenceLife& one) { return one.stage == SequenceStage::kEnded; };
  if (!std::all_of(life.sequences.begin(), life.sequences.end(), has_ended)) return;
  Tell("ended", life.number());
  life.stage = Stage::kEnded;
}

// What it leaves behind is kept, if it ended with its step: nothing was evicted since. One that was preempted in that
// step has left nothing.
void World::CheckKept(const SequenceLife& sequence) const {
  const CacheRule& rule = sequence.life->request.cache;
  const bool is_on = scenario_.engine.scheduler.prefix_cache == PrefixCacheMode::kOn;
  const bool has_blocks = !sequence.is_preempted && !sequence.was_nonfinite;
  const bool ended_with_step = (!sequence.must_end || sequence.must_end_late) && has_blocks;
  if (!is_on || !rule.stores || rule.keep_seconds <= 0.0 || sequence.first_block < 0 || !ended_with_step) return;
  const BlockCache& cache = loop_.engine().scheduler().cache();
  const bool is_held = cache.num_references(sequence.first_block) > 0;
  Require(is_held || cache.num_kept() > 0, Rule::kCache, [&] { return sequence.Name() + ": nothing of it is kept"; });
}

void World::CheckTurn() {
  lives_.ForEachInEngine([](const SequenceLife& sequence) {
    Require(!sequence.must_end, Rule::kEnded, [&] { return sequence.Name() + " was to end in this turn and has not"; });
    Require(!sequence.was_nonfinite, Rule::kReason,
            [&] { return sequence.Name() + " goes on after logits that are not finite"; });
    const bool has_all = sequence.life->generates() && sequence.num_generated >= std::ssize(sequence.quiet.generated);
    Require(!has_all, Rule::kReason, [&] { return sequence.Name() + " goes on after its last token"; });
  });
  const Scheduler& scheduler = loop_.engine().scheduler();
  CheckBlocks(scheduler);
  follower_.Check();
  CheckReleased(scheduler);
  CheckSequences(scheduler, lives_);
  executor_.CheckPublished();
  CheckMetrics(metrics_, counts_, lives_);
  const bool is_idle = executor_.rows().empty() && turn_.output.empty();
  Require(turn_.idle == is_idle, Rule::kLiveness, [] { return "an idle turn is none, or a busy one is"; });
  if (is_idle) CheckRest(turn_.next_expiry, lives_, slow_consumer_);
}

void World::HandOver() {
  inbox_.SetPace(turn_.tokens_per_second);
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

}  // namespace latentd::simulation
