#include "tests/simulation/drafter.h"

#include <algorithm>
#include <cmath>

#include <absl/strings/str_format.h>

#include "tests/simulation/random.h"
#include "tests/simulation/violation.h"

namespace latentd::simulation {
namespace {

// In [0, 1), by the sequence and the position.
double ChanceOf(const SequenceLife& sequence, uint64_t what) {
  const auto index = static_cast<uint64_t>(sequence.index);
  return std::ldexp(static_cast<double>(Mix(Mix(sequence.life->request.sampling.seed, index), what) >> 11), -53);
}

int32_t OtherThan(int32_t right, uint64_t number) {
  constexpr size_t kCount = kAlphabet.size() + 1;
  for (;; ++number) {
    const size_t place = number % kCount;
    const int32_t id = place < kAlphabet.size() ? kAlphabet[place] : kEndOfText;
    if (id != right) return id;
  }
}

template <class What>
void RequireOf(const LaunchedRow& row, bool holds, Rule rule, const What& what) {
  Require(holds, rule, [&] {
    return absl::StrFormat("%s, a row from position %d: %s", row.sequence->Name(), row.first_position, what());
  });
}

}  // namespace

Drafter::Drafter(const SchedulerOptions& options, const DrafterRule& rule, Coverage& coverage)
    : options_(options),
      rule_(rule),
      coverage_(coverage),
      slots_(options.max_drafts > 0 ? static_cast<size_t>(options.cache.num_blocks) * kBlockSlots : 0) {}

void Drafter::Copy(const SlotCopy& copy) {
  if (!slots_.empty()) std::copy_n(slots_.begin() + copy.from, copy.count, slots_.begin() + copy.to);
}

void Drafter::Run(const DrawnStep& step) {
  ++num_steps_;
  for (const DraftRow& draft : step.drafts) CheckRow(step, draft);
  CheckAgain(step);
  hidden_.assign(step.states.begin(), step.states.end());
  batch_.Begin(step.batch, step.drafts, step.results);
  while (batch_.has_pass()) {
    RunPass(step);
    batch_.Take(draws_);
  }
}

void Drafter::CheckRow(const DrawnStep& step, const DraftRow& draft) {
  Require(draft.row >= 0 && draft.row < std::ssize(step.rows), Rule::kSlots, [] { return "drafts behind no row"; });
  LaunchedRow& row = step.rows[static_cast<size_t>(draft.row)];
  const Request& request = row.sequence->life->request;
  RequireOf(row, !row.is_followed, Rule::kSlots, [] { return "it is followed twice"; });
  row.is_followed = true;
  const int most = request.max_drafts == kAutoDrafts ? options_.max_drafts : request.max_drafts;
  RequireOf(row, options_.max_drafts > 0 && draft.num_drafts <= std::min(most, options_.max_drafts), Rule::kBudget,
            [&] { return absl::StrFormat("%d drafts, at most %d", draft.num_drafts, most); });
  const bool is_window = draft.first_key >= 1 && draft.first_key <= row.first_position + 1;
  RequireOf(row, is_window, Rule::kSlots, [&] { return absl::StrFormat("a window from %d on", draft.first_key); });
  const bool is_sampled = row.num_logits > 0;
  const bool is_told = draft.is_sampled() == is_sampled && draft.num_verified == row.num_drafts &&
                       (!is_sampled || draft.first_sample == row.first_sample);
  RequireOf(row, is_told, Rule::kOutput, [] { return "what follows is told of other draws than its own"; });
  const bool begins = draft.first_key == row.first_position + 1;
  if (row.first_position > 0) coverage_.Add(begins ? Counted::kWindowsBegun : Counted::kWindowsContinued);
}

// A position whose latents are there is computed once more for its hidden state alone.
void Drafter::CheckAgain(const DrawnStep& step) const {
  for (const LaunchedRow& row : step.rows) {
    if (row.num_again == 0) continue;
    RequireOf(row, row.num_again == 1 && row.is_followed, Rule::kBudget, [&] {
      return absl::StrFormat("%d positions are computed again, and it is %sfollowed", row.num_again,
                             row.is_followed ? "" : "not ");
    });
    coverage_.Add(Counted::kStatesAgain);
  }
}

// All rows are stored before any is read, as in a layer.
void Drafter::RunPass(const DrawnStep& step) {
  const BatchInputs& pass = batch_.inputs();
  const std::span<const SampleRow> samples = batch_.samples();
  states_.clear();
  for (size_t token = 0; token < pass.token_ids.size(); ++token) Store(step, token);
  for (const BatchRow& row : pass.rows) CheckWindow(step, row);
  hidden_.clear();
  draws_.clear();
  for (size_t i = 0; i < samples.size(); ++i) {
    TokenState& state = hidden_.emplace_back(states_[static_cast<size_t>(pass.logit_tokens[i])]);
    state.is_drafted = true;
    const LaunchedRow& row = step.rows[state.row];
    CheckDraw(row, state, samples[i]);
    draws_.push_back(Sample(row, state, samples[i]));
  }
}

void Drafter::Store(const DrawnStep& step, size_t token) {
  const BatchInputs& pass = batch_.inputs();
  const TokenState& before = hidden_.at(static_cast<size_t>(pass.hidden_rows[token]));
  const LaunchedRow& row = step.rows[before.row];
  const QuietRun& quiet = row.sequence->quiet;
  const int position = before.position + 1;
  const uint64_t prefix = Extend(before.prefix, pass.token_ids[token], position);
  RequireOf(row, pass.positions[token] == position, Rule::kSlots,
            [&] { return absl::StrFormat("%d behind the state of %d", pass.positions[token], before.position); });
  // Behind the sequence's end the executor goes on: it knows of none.
  const bool is_known = !before.is_drafted && static_cast<size_t>(position) < quiet.prefixes.size();
  RequireOf(row, !is_known || prefix == quiet.prefixes[static_cast<size_t>(position)], Rule::kOutput,
            [&] { return absl::StrFormat("token %d follows at %d", pass.token_ids[token], position); });
  const auto slot = static_cast<size_t>(pass.slots[token]);
  const bool is_place = pass.slots[token] >= kBlockSlots && slot < slots_.size() &&
                        pass.slots[token] % kBlockSlots == position % kBlockSlots;
  const Sequence* const writer = is_place ? step.writers[slot / kBlockSlots] : nullptr;
  RequireOf(row, writer != nullptr && writer->id() == row.sequence->id(), Rule::kBlocks,
            [&] { return absl::StrFormat("position %d is drafted into slot %d", position, slot); });
  slots_[slot] = {.before = before.prefix,
                  .prefix = prefix,
                  .position = position,
                  .is_drafted = before.is_drafted,
                  .step = num_steps_};
  states_.push_back({.row = before.row, .position = position, .prefix = prefix, .is_drafted = before.is_drafted});
}

// What lies before the step's own slots is read by the first pass already, and stays.
void Drafter::CheckWindow(const DrawnStep& step, const BatchRow& pass_row) const {
  const BatchInputs& pass = batch_.inputs();
  const TokenState& last = states_[static_cast<size_t>(pass_row.first_token + pass_row.num_tokens - 1)];
  const LaunchedRow& row = step.rows[last.row];
  const QuietRun& quiet = row.sequence->quiet;
  const int first = last.is_drafted ? std::max(pass_row.first_key, row.first_position + 1) : pass_row.first_key;
  uint64_t before = quiet.prefixes[static_cast<size_t>(first) - 1];
  for (int position = first; position <= last.position; ++position) {
    const auto index = static_cast<size_t>(pass_row.first_block + position / kBlockSlots);
    const Slot& slot = slots_[static_cast<size_t>(pass.blocks[index] * kBlockSlots + position % kBlockSlots)];
    const bool is_whole = position <= row.first_position
                              ? !slot.is_drafted && slot.prefix == quiet.prefixes[static_cast<size_t>(position)]
                              : slot.step == num_steps_;
    RequireOf(row, slot.position == position && slot.before == before && is_whole, Rule::kSlots, [&] {
      return absl::StrFormat("what follows it reads slot %d, where position %d was %s", position, slot.position,
                             slot.is_drafted ? "drafted" : "written");
    });
    before = slot.prefix;
  }
}

// A draft is its row's own draw, with the key of the draft's position.
void Drafter::CheckDraw(const LaunchedRow& row, const TokenState& state, const SampleRow& sample) const {
  const SequenceLife& sequence = *row.sequence;
  const Request& request = sequence.life->request;
  const int position = state.position + 1;
  const bool is_its_rule =
      sample.rule == request.sampling && std::ranges::equal(sample.logit_bias, request.logit_bias) &&
      std::ranges::equal(sample.allowed, request.allowed) && static_cast<int>(sample.index) == sequence.index &&
      static_cast<int>(sample.position) == position;
  RequireOf(row, is_its_rule, Rule::kOutput,
            [&] { return absl::StrFormat("the draft of %d is drawn by another rule than its own", position); });
  const auto num_known = static_cast<size_t>(row.end_of_known());
  const bool has_size =
      sample.tokens.size() == num_known && std::ssize(sample.further) == position - row.end_of_known();
  uint64_t prefix = sequence.quiet.prefixes[num_known - 1];
  int next = row.end_of_known();
  for (const int32_t id : sample.further) prefix = Extend(prefix, id, next++);
  RequireOf(row, has_size && sequence.HasTokens(sample.tokens) && prefix == state.prefix, Rule::kOutput,
            [&] { return absl::StrFormat("the draft of %d is drawn after other tokens", position); });
}

SampleResult Drafter::Sample(const LaunchedRow& row, const TokenState& state, const SampleRow& sample) const {
  const SequenceLife& sequence = *row.sequence;
  const auto position = static_cast<uint64_t>(state.position) + 1;
  SampleResult draft;
  draft.finite = rule_.one_in_nonfinite == 0 || ChanceOf(sequence, Mix(position, 1)) * rule_.one_in_nonfinite >= 1.0;
  if (!draft.finite) return draft;
  const int32_t right = TokenOf({.prefix = state.prefix,
                                 .seed = sample.rule.seed,
                                 .index = sample.index,
                                 .position = state.position + 1,
                                 .banned = sample.banned_ids});
  const double chance = ChanceOf(sequence, position);
  draft.id = chance < accuracy() ? right : OtherThan(right, static_cast<uint64_t>(chance * 1e6));
  return draft;
}

double Drafter::accuracy() const {
  const bool is_first = rule_.period == 0 || num_steps_ / static_cast<uint64_t>(rule_.period) % 2 == 0;
  return is_first ? rule_.accuracy : rule_.later_accuracy;
}

}  // namespace latentd::simulation
