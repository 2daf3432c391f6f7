// How a step is dealt out, and committed; scheduler.cc has the life of sequences.
#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "base/check.h"
#include "engine/schedule/eviction_watch.h"
#include "engine/schedule/scheduler.h"

namespace latentd {
namespace {

bool MayBePreempted(const Sequence& sequence) {
  return sequence.blocks.num_blocks() > 0 && sequence.rows_in_flight == 0;
}

// One that lost its blocks for this plan may have come back in it, and has its row then.
bool MayGetRow(const Sequence& sequence, const BatchPlan& plan) {
  if (sequence.phase != SequencePhase::kRunning) return false;
  return plan.rows.empty() || sequence.last_turn < plan.rows.front().sequence->last_turn;
}

constexpr auto kAnyOne = [](const Sequence&) { return true; };

auto ByRank(const RankingMoment& moment) {
  return [moment](const Sequence* a, const Sequence* b) { return RanksBefore(a->standing, b->standing, moment); };
}

Loss LossOf(const Sequence& sequence) { return {.standing = sequence.standing, .num_tokens = sequence.computed}; }

}  // namespace

// ----------------------------------------------------------------------------------------------------------- blocks

PrefixKey Scheduler::KeyOf(const Sequence& sequence) const {
  const RequestRun::Sharing& sharing = sequence.run->sharing;
  const std::span<const int32_t> tokens = sequence.tokens;
  return {.salt = sharing.salt,
          .tokens = tokens.empty() ? sequence.run->prompt : tokens.first(static_cast<size_t>(sequence.num_tokens())),
          .own = sharing.own};
}

// Positions that may come from the prefix cache: not the last one, whose hidden state gives the next token, and none
// whose logits are wanted.
int Scheduler::ReusableLimit(const Sequence& sequence) const {
  const RequestRun::Sharing& sharing = sequence.run->sharing;
  const bool has_stored = sequence.index > 0 || sequence.num_preemptions > 0;
  if (!sharing.reads && !has_stored) return 0;
  const int limit = std::min(sequence.num_tokens() - 1, sequence.first_logit_position());
  return sharing.reads ? limit : std::min(limit, sequence.most_computed);
}

// So many blocks stay available where a sequence is admitted, for those that run to grow into.
int Scheduler::Watermark() const {
  if (running_.empty()) return 0;
  return std::max(cache_.num_usable() / 100, num_running());
}

template <class Accepts>
Sequence* Scheduler::LowestRanked(const Sequences& among, const Accepts& accepts) const {
  const RankingMoment moment = waiting_.MomentAt(now_);
  Sequence* lowest = nullptr;
  for (Sequence* sequence : among) {
    if (!MayBePreempted(*sequence) || !accepts(*sequence)) continue;
    if (lowest == nullptr || LosesFirst(LossOf(*sequence), LossOf(*lowest), moment)) lowest = sequence;
  }
  return lowest;
}

// The sequence that gives its blocks up for a running one: first those that are paused and could not go on anyway. Of
// those that run the highest-ranked never does, so that some row always goes on to its end.
Sequence* Scheduler::FindVictim() const {
  Sequence* const paused = LowestRanked(paused_, kAnyOne);
  if (paused != nullptr) return paused;
  const auto highest = std::min_element(running_.begin(), running_.end(), ByRank(waiting_.MomentAt(now_)));
  return LowestRanked(running_, [&](const Sequence& sequence) { return &sequence != *highest; });
}

void Scheduler::Preempt(Sequence& sequence, PreemptionReason reason) {
  recorder_.Record(FlightDecision::kPreempt, sequence.id(),
                   {static_cast<int32_t>(reason), sequence.computed, sequence.blocks.num_blocks()});
  ++totals_.preemptions[static_cast<size_t>(reason)];
  const bool runs = sequence.phase == SequencePhase::kRunning;
  if (runs) Leave(sequence);
  GiveBack(sequence);
  sequence.most_computed = std::max(sequence.most_computed, sequence.computed);
  sequence.computed = sequence.planned = 0;
  sequence.TakeDrafts(0);
  ++sequence.num_preemptions;
  sequence.preempted_since = now_;
  sequence.timings.first_preempted = std::min(sequence.timings.first_preempted, now_);
  if (runs) Enter(sequence, SequencePhase::kWaiting);
}

// Where nothing runs or is paused, those that were preempted must not keep others from going on.
bool Scheduler::FindsNoPlace(const Sequence& sequence) const {
  const bool is_full = num_started_ >= options_.max_started && num_running() + num_paused() > 0;
  return is_full && !sequence.was_scheduled();
}

// A waiting sequence of a strictly higher priority takes the place of a running one where it has none: the row, or the
// blocks. Ageing does not count for it, but guards the one that runs: what ageing has raised to its class stays.
void Scheduler::MakeWayForClass() {
  const bool lacks_row = num_running() >= options_.max_step_rows;
  const bool lacks_blocks = cache_.num_available() <= Watermark();
  if (running_.empty() || (!lacks_row && !lacks_blocks)) return;
  // Admit takes the blocks of paused ones first.
  if (!lacks_row && LowestRanked(paused_, kAnyOne) != nullptr) return;
  const auto lowest =
      std::find_if(running_by_priority_.begin(), running_by_priority_.end(), [](int64_t count) { return count > 0; });
  const int lowest_priority = kLowestPriority + static_cast<int>(lowest - running_by_priority_.begin());
  const Standing* const first = waiting_.FirstAbove(lowest_priority, now_);
  if (first == nullptr || FindsNoPlace(*first->sequence)) return;
  const RankingMoment moment = waiting_.MomentAt(now_);
  const auto gives_way = [&](const Sequence& sequence) {
    return sequence.standing.priority < first->priority && ClassOf(sequence.standing, moment) < ClassOf(*first, moment);
  };
  Sequence* const victim = LowestRanked(running_, gives_way);
  if (victim != nullptr) Preempt(*victim, PreemptionReason::kPriority);
}

// Before rows are dealt out, so that none of those that must give way has one already.
void Scheduler::MakeRoomForDecoding() {
  const auto needs_block = [](const Sequence* sequence) {
    return sequence->phase == SequencePhase::kRunning && sequence->is_decoding() &&
           sequence->blocks.num_blocks() < BlocksFor(sequence->num_tokens());
  };
  const size_t most = std::min(decoding_.size(), static_cast<size_t>(options_.max_step_rows));
  auto num_needed =
      std::count_if(decoding_.begin(), decoding_.begin() + static_cast<std::ptrdiff_t>(most), needs_block);
  while (num_needed > cache_.num_available()) {
    Sequence* const victim = FindVictim();
    if (victim == nullptr) return;
    if (needs_block(victim)) --num_needed;
    Preempt(*victim, PreemptionReason::kBlocks);
  }
  // The first prompt, too, before those that it would preempt have their rows.
  Sequence* const prompt = prefilling_.empty() ? nullptr : prefilling_.front();
  const bool needs_room = prompt != nullptr && prompt->phase == SequencePhase::kRunning &&
                          prompt->blocks.num_blocks() * kBlockSlots == prompt->planned;
  if (needs_room) MakeRoomFor(*prompt, static_cast<int>(num_needed));
}

// For one more block of a sequence that runs, beside those that are needed otherwise.
bool Scheduler::MakeRoomFor(const Sequence& sequence, int num_needed) {
  while (cache_.num_available() <= num_needed) {
    Sequence* const victim = FindVictim();
    if (victim == nullptr) return false;
    const bool goes_on = victim->phase == SequencePhase::kRunning &&
                         !RanksBefore(sequence.standing, victim->standing, waiting_.MomentAt(now_));
    if (goes_on) return false;
    Preempt(*victim, PreemptionReason::kBlocks);
  }
  return true;
}

// ---------------------------------------------------------------------------------------------------------- dealing

PlannedRow Scheduler::Deal(const Share& share, const BatchPlan& plan, const StepAllowance& allowance) const {
  Sequence& sequence = share.sequence;
  const int left = sequence.num_tokens() - share.first;
  // A sequence that generates gets its token at any cost, and so does the first prompt of a step get some. Further ones
  // for which no time is left wait for the next step.
  const bool generates = sequence.phase == SequencePhase::kRunning && left == 1;
  const int least = generates ? 1 : plan.has_prompt() ? 0 : allowance.least_chunk;
  const double work = generates ? allowance.work - plan.work : std::min(allowance.work - plan.work, most_of_one_);
  const int affordable = std::max(least, allowance.TokensFor(work, share.first));
  const bool has_spare = allowance.tokens - plan.num_tokens > std::max(1, NumUndealt(plan));
  const int num_again = has_spare ? drafts_.NumAgain(sequence, share.first, allowance) : 0;
  int count = std::min({left, share.most, allowance.tokens - plan.num_tokens - num_again, affordable});
  if (options_.chunk_tokens > 0) count = std::min(count, options_.chunk_tokens - num_again);
  const int first_logit = std::max(sequence.first_logit_position(), share.first);
  const int logits_left = options_.max_step_logits - plan.num_logits;
  const auto wanted_logits = [&] {
    const int end = std::min(share.first + count, sequence.end_logit_position());
    return std::max(0, end - first_logit);
  };
  if (wanted_logits() > logits_left) count = first_logit - share.first + logits_left;
  if (count == 0) return {.sequence = &sequence};
  return {.sequence = &sequence,
          .first_position = share.first - num_again,
          .num_tokens = num_again + count,
          .first_logit_position = first_logit,
          .num_logits = wanted_logits(),
          .num_again = num_again};
}

void Scheduler::AddRow(const PlannedRow& row, const StepAllowance& allowance, BatchPlan& plan) {
  Sequence& sequence = *row.sequence;
  while (sequence.blocks.num_blocks() < BlocksFor(row.end_position())) TakeBlock(cache_, sequence.blocks, recorder_);
  const int charged = std::max(row.first_new(), std::max(sequence.prompt_accounted, sequence.most_computed));
  const int num_new = std::max(0, std::min(row.end_position(), sequence.num_prompt_tokens) - charged);
  const bool generates = sequence.request.kind == RequestKind::kGenerate;
  tenants_.Charge(*sequence.standing.tenant,
                  {.prompt_tokens = num_new, .generated_tokens = generates ? row.num_logits : 0});
  sequence.planned = row.end_position();
  ++sequence.rows_in_flight;
  sequence.last_turn = ++num_turns_;
  running_.splice(running_.end(), running_, sequence.places.in_phase);
  plan.num_tokens += row.num_tokens;
  plan.num_logits += row.num_logits;
  plan.work += allowance.WorkOf(row.first_position, row.num_tokens);
  plan.rows.push_back(row);
}

std::optional<WaitReason> Scheduler::Lacks(const StepAllowance& allowance, const BatchPlan& plan) const {
  if (plan.num_tokens == allowance.tokens) return WaitReason::kTokens;
  if (static_cast<int>(plan.rows.size()) == options_.max_step_rows) return WaitReason::kRows;
  return std::nullopt;
}

void Scheduler::SortRunning() {
  decoding_.clear();
  prefilling_.clear();
  for (Sequence* sequence : running_) {
    if (sequence->num_unplanned() > 0) (sequence->is_decoding() ? decoding_ : prefilling_).push_back(sequence);
  }
  std::sort(prefilling_.begin(), prefilling_.end(), ByRank(waiting_.MomentAt(now_)));
}

// Readers that come back make more of them than there are rows: a prompt that has begun takes its turn with them, and
// then before other prompts.
int Scheduler::RowsForDecoding() {
  const auto is_served_before = [](const Sequence* a, const Sequence* b) { return a->last_turn < b->last_turn; };
  const auto prompt = std::min_element(prefilling_.begin(), prefilling_.end(), is_served_before);
  const bool has_too_many = num_running() > options_.max_step_rows;
  if (!has_too_many || prompt == prefilling_.end() || decoding_.empty()) return options_.max_step_rows;
  if (is_served_before(decoding_.front(), *prompt)) return options_.max_step_rows;
  std::rotate(prefilling_.begin(), prompt, prompt + 1);
  return options_.max_step_rows - 1;
}

// Those that decode and can still get a row.
int Scheduler::NumUndealt(const BatchPlan& plan) const {
  const auto most = std::min<std::ptrdiff_t>(std::ssize(decoding_), options_.max_step_rows);
  return static_cast<int>(std::max<std::ptrdiff_t>(0, most - std::ssize(plan.rows)));
}

// The sequence served longest ago comes first, so that none starves in a step too small for all.
void Scheduler::DealToDecoding(int most_rows, const StepAllowance& allowance, BatchPlan& plan) {
  for (Sequence* sequence : decoding_) {
    if (Lacks(allowance, plan) || static_cast<int>(plan.rows.size()) >= most_rows) return;
    if (!MayGetRow(*sequence, plan)) continue;
    const bool has_room = sequence->blocks.num_blocks() >= BlocksFor(sequence->num_tokens());
    if (!has_room && cache_.num_available() == 0) continue;
    const PlannedRow row = Deal({.sequence = *sequence, .first = sequence->planned, .most = 1}, plan, allowance);
    if (row.num_tokens > 0) AddRow(row, allowance, plan);
  }
}

// Drafts leave a token and a logit row to each that decodes and has none yet, and half of the rest to prompts.
DraftRoom Scheduler::RoomForDrafts(const StepAllowance& allowance, const BatchPlan& plan) const {
  const int num_prompts = std::min(options_.max_step_rows - static_cast<int>(std::ssize(plan.rows)),
                                   static_cast<int>(std::ssize(prefilling_)) + num_waiting());
  DraftRoom room{.tokens = allowance.tokens - plan.num_tokens - NumUndealt(plan),
                 .logits = options_.max_step_logits - plan.num_logits - NumUndealt(plan),
                 .blocks = cache_.num_available() - Watermark()};
  if (num_prompts <= 0) return room;
  room.tokens /= 2;
  room.logits = std::min(room.logits / 2, room.logits - num_prompts);
  return room;
}

// A prompt that is there takes the whole step where it is alone. Else prompts together take about as much time as rows
// that decode: those get their tokens evenly, and what comes meanwhile waits for no more than a short step.
StepAllowance Scheduler::ForPrompts(const StepAllowance& given, const BatchPlan& plan) {
  most_of_one_ = std::numeric_limits<double>::infinity();
  StepAllowance allowance = given;
  if (num_running() + num_waiting() <= 1) return allowance;
  const double shared = plan.rows.empty() ? given.work_beside_prompts : given.work_beside_decode;
  allowance.work = std::min(given.work, plan.work + shared);
  const bool has_several = static_cast<int>(prefilling_.size()) + num_waiting() > 1;
  if (has_several) most_of_one_ = StepAllowance::kShareOfOne * shared;
  return allowance;
}

std::optional<WaitReason> Scheduler::DealToPrefill(const StepAllowance& allowance, BatchPlan& plan) {
  size_t next = 0;
  while (true) {
    while (next < prefilling_.size() && !MayGetRow(*prefilling_[next], plan)) ++next;
    Sequence* const running = next < prefilling_.size() ? prefilling_[next] : nullptr;
    Standing* const waiting = waiting_.First(now_);
    if (running == nullptr && waiting == nullptr) return std::nullopt;
    if (const auto lacks = Lacks(allowance, plan)) return lacks;
    const bool goes_on =
        waiting == nullptr || (running != nullptr && RanksBefore(running->standing, *waiting, waiting_.MomentAt(now_)));
    if (goes_on) {
      ContinuePrefill(*running, allowance, plan);
      ++next;
    } else if (const auto lacks = Admit(*waiting->sequence, allowance, plan)) {
      // It waits, and so do all that rank below it; those that run go on.
      for (; next < prefilling_.size(); ++next) ContinuePrefill(*prefilling_[next], allowance, plan);
      return lacks;
    }
  }
}

void Scheduler::ContinuePrefill(Sequence& sequence, const StepAllowance& allowance, BatchPlan& plan) {
  if (!MayGetRow(sequence, plan) || Lacks(allowance, plan)) return;
  const auto room = [&] {
    return (sequence.blocks.num_blocks() + cache_.num_available()) * kBlockSlots - sequence.planned;
  };
  if (room() == 0 && !MakeRoomFor(sequence, 0)) return;
  const PlannedRow row = Deal({.sequence = sequence, .first = sequence.planned, .most = room()}, plan, allowance);
  if (row.num_tokens == 0) return;
  recorder_.Record(FlightDecision::kChunk, sequence.id(), {row.first_position, row.num_tokens});
  AddRow(row, allowance, plan);
}

// Why it waits on, if it does.
std::optional<WaitReason> Scheduler::Admit(Sequence& sequence, const StepAllowance& allowance, BatchPlan& plan) {
  // Each that runs has a row; else prompts that have begun would wait behind those that decode.
  if (FindsNoPlace(sequence) || num_running() >= options_.max_step_rows) return WaitReason::kRows;
  if (cache_.num_available() <= Watermark() && paused_.empty()) return WaitReason::kBlocks;
  PrefixMatch match = cache_.Match(KeyOf(sequence), ReusableLimit(sequence));
  // Tokens for which there are blocks behind what was found, whose own blocks are taken, too.
  const auto most_tokens = [&] {
    const int tail = match.has_tail ? 1 : 0;
    const int left = cache_.num_available() - Watermark() - match.num_cached_blocks - tail;
    return left < 0 ? 0 : (match.num_blocks + tail + left) * kBlockSlots - match.num_tokens;
  };
  // A paused one has no use for its blocks now.
  while (most_tokens() <= 0) {
    Sequence* const paused = LowestRanked(paused_, kAnyOne);
    if (paused == nullptr) return WaitReason::kBlocks;
    Preempt(*paused, PreemptionReason::kBlocks);
    match = cache_.Match(KeyOf(sequence), ReusableLimit(sequence));
  }
  const int most = most_tokens();
  // As it will be once it starts.
  sequence.drafted = match.drafted;
  const bool has_time = allowance.TokensFor(allowance.work - plan.work, match.num_tokens) > 0;
  if (plan.has_prompt() && !has_time) return WaitReason::kTokens;
  const PlannedRow row = Deal({.sequence = sequence, .first = match.num_tokens, .most = most}, plan, allowance);
  if (row.num_tokens == 0) {
    return plan.num_logits < options_.max_step_logits ? WaitReason::kTokens : WaitReason::kLogits;
  }
  Start(sequence, match, plan);
  recorder_.Record(FlightDecision::kChunk, sequence.id(), {row.first_position, row.num_tokens});
  AddRow(row, allowance, plan);
  return std::nullopt;
}

void Scheduler::Start(Sequence& sequence, const PrefixMatch& match, BatchPlan& plan) {
  Leave(sequence);
  sequence.blocks.ReserveMemory(sequence.most.blocks);
  const EvictionWatch evictions(cache_, recorder_);
  if (const auto copy = cache_.Open(sequence.blocks)) {
    plan.copies.push_back(*copy);
    recorder_.Record(FlightDecision::kCopy, sequence.id(), {copy->from, copy->to, copy->num_slots});
    evictions.Record(sequence.blocks);
  }
  sequence.computed = sequence.planned = match.num_tokens;
  sequence.tokens.reserve(static_cast<size_t>(sequence.most.tokens + options_.max_drafts));
  if (sequence.tokens.empty()) sequence.tokens = sequence.run->prompt;
  CountLookup(sequence, match);
  recorder_.Record(FlightDecision::kAdmit, sequence.id(),
                   {sequence.cached_tokens, match.num_tokens, sequence.blocks.num_blocks()});
  if (sequence.preempted_since != kNever) {
    sequence.timings.preempted += now_ - std::exchange(sequence.preempted_since, kNever);
  }
  if (!sequence.was_scheduled()) {
    sequence.timings.first_scheduled = now_;
    ++num_started_;
  }
  Enter(sequence, SequencePhase::kRunning);
  RequestRun& run = *sequence.run;
  if (run.has_started) return;
  run.has_started = true;
  ++plan.num_started;
  departed_.push_back(run.request.id);
  ForRequest(run.request.id, [this](Sequence& each) { RefreshExpiry(each); });
}

// A prompt's tokens count once: where its first sequence comes to them.
void Scheduler::CountLookup(Sequence& sequence, const PrefixMatch& match) {
  if (sequence.index > 0) return;
  const int num_found = std::min(match.num_tokens, sequence.num_prompt_tokens);
  const int num_new = std::max(0, num_found - sequence.prompt_accounted);
  sequence.prompt_accounted += num_new;
  sequence.cached_tokens += num_new;
  num_pending_prompt_tokens_ -= num_new;
  totals_.hit_tokens += static_cast<uint64_t>(num_new);
  const bool is_first = sequence.num_preemptions == 0 && ReusableLimit(sequence) > 0;
  const int evicted = is_first ? match.lost_to_eviction : 0, salted = is_first ? match.lost_to_salt : 0;
  if (num_new > 0 || evicted > 0 || salted > 0) {
    recorder_.Record(FlightDecision::kHit, sequence.id(), {num_new, num_new / kBlockSlots, evicted, salted});
  }
  if (!is_first) return;
  totals_.queried_tokens += static_cast<uint64_t>(sequence.num_prompt_tokens);
  totals_.lost(PrefixLoss::kGranularity) += static_cast<uint64_t>(match.lost_to_granularity);
  totals_.lost(PrefixLoss::kEviction) += static_cast<uint64_t>(match.lost_to_eviction);
  totals_.lost(PrefixLoss::kSalt) += static_cast<uint64_t>(match.lost_to_salt);
}

void Scheduler::Plan(TimePoint now, const StepAllowance& given, BatchPlan& plan) {
  now_ = now;
  tokens_per_second_ = given.tokens_per_second;
  StepAllowance allowance = given;
  allowance.tokens = std::min(allowance.tokens, options_.max_step_tokens);
  cache_.ExpireKept(now);
  EndExpired(now);
  for (const auto& sequence : finished_) sequence->timings.released = std::min(sequence->timings.released, now);
  plan.Clear();
  MakeWayForClass();
  SortRunning();
  MakeRoomForDecoding();
  DealToDecoding(RowsForDecoding(), allowance, plan);
  if (options_.max_drafts > 0) drafts_.Deal(RoomForDrafts(allowance, plan), allowance, plan);
  plan.work_of_decode = plan.work;
  const std::optional<WaitReason> lacks = DealToPrefill(ForPrompts(allowance, plan), plan);
  DealToDecoding(options_.max_step_rows, allowance, plan);
  if (options_.max_drafts > 0) drafts_.Follow(cache_.num_available() - Watermark(), allowance, plan);
  if (!lacks || num_waiting() == 0) return;
  plan.waits[static_cast<size_t>(*lacks)] = static_cast<uint64_t>(num_waiting());
  recorder_.Record(FlightDecision::kWait, {}, {static_cast<int32_t>(*lacks), num_waiting()});
}

}  // namespace latentd
