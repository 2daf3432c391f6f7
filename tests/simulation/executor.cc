#include "tests/simulation/executor.h"

#include <algorithm>

#include <absl/strings/str_format.h>

#include "tests/simulation/violation.h"

namespace latentd::simulation {
SimulatedExecutor::SimulatedExecutor(const Scenario& scenario, Lives& lives, const VirtualClock& clock,
                                     Coverage& coverage)
    : options_(scenario.engine.scheduler),
      lives_(lives),
      clock_(clock),
      coverage_(coverage),
      slots_(static_cast<size_t>(options_.cache.num_blocks) * kBlockSlots),
      writers_(static_cast<size_t>(options_.cache.num_blocks)),
      used_in_step_(static_cast<size_t>(options_.cache.num_blocks)),
      copied_in_step_(static_cast<size_t>(options_.cache.num_blocks)),
      drafter_(options_, scenario.drafter, coverage) {}

void SimulatedExecutor::Clear() {
  rows_.clear();
  num_tokens_ = 0;
}

// What one row writes no other may read in the same step: a block is there for others once the step is over.
void SimulatedExecutor::Launch(const BatchInputs& batch, std::span<const SampleRow> samples,
                               std::span<const DraftRow> drafts) {
  Clear();
  CheckBudget(batch);
  Require(batch.logit_tokens.size() == samples.size(), Rule::kSlots, [] { return "a sample for each logit row"; });
  num_tokens_ = batch.num_tokens();
  ++num_steps_;
  FindWriters();
  Copy(batch);
  for (const BatchRow& row : batch.rows) {
    rows_.push_back(RowOf(batch, row));
    CheckTurn(rows_.back());
    CheckContext(batch, row, *rows_.back().sequence);
  }
  states_.clear();
  for (size_t i = 0; i < batch.rows.size(); ++i) Store(batch, i);
  results_.clear();
  for (size_t i = 0; i < samples.size(); ++i) results_.push_back(Sample(batch, i, samples[i]));
  for (LaunchedRow& row : rows_) Judge(row);
  drafter_.Run(
      {.batch = batch, .drafts = drafts, .results = results_, .rows = rows_, .states = states_, .writers = writers_});
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    if (!rows_[i].is_finite) Spoil(batch, i);
  }
}

void SimulatedExecutor::CheckHeld(const BlockCache& cache) const {
  for (BlockId block = 0; block < cache.num_total(); ++block) {
    const bool is_used = used_in_step_[static_cast<size_t>(block)] == num_steps_ && num_steps_ > 0;
    Require(!is_used || cache.num_references(block) > 0, Rule::kBlocks,
            [&] { return absl::StrFormat("block %d is free while a step uses it", block); });
  }
}

int SimulatedExecutor::NumShareableBlocks() const {
  int count = 0;
  for (size_t slot = 0; slot < slots_.size(); slot += kBlockSlots) {
    const Life* const writer = lives_.ByNumber(slots_[slot].writer);
    count += writer != nullptr && writer->request.cache.stores ? 1 : 0;
  }
  return count;
}

void SimulatedExecutor::CheckBudget(const BatchInputs& batch) const {
  const auto within = [](size_t count, int most, const char* what) {
    Require(count <= static_cast<size_t>(most), Rule::kBudget,
            [&] { return absl::StrFormat("a step of %d %s, at most %d", count, what, most); });
  };
  within(batch.token_ids.size(), options_.max_step_tokens, "tokens");
  within(batch.rows.size(), options_.max_step_rows, "rows");
  within(batch.logit_tokens.size(), options_.max_step_logits, "logit rows");
  for (const BatchRow& row : batch.rows) {
    if (options_.chunk_tokens > 0)
      within(static_cast<size_t>(row.num_tokens), options_.chunk_tokens, "tokens in a row");
  }
}

// Each block that the step writes is in one table alone, and so it names its row's sequence: those from its first
// position that is not computed on, with room for what is drafted behind it.
void SimulatedExecutor::FindWriters() {
  CHECK(scheduler_ != nullptr);
  std::fill(writers_.begin(), writers_.end(), nullptr);
  scheduler_->ForEach([this](const Sequence& sequence) {
    if (sequence.rows_in_flight == 0) return;
    const auto blocks = sequence.blocks.blocks();
    Require(BlocksFor(sequence.planned) <= static_cast<int>(blocks.size()), Rule::kBlocks,
            [] { return "a row is planned past the end of its table"; });
    Require(static_cast<int>(blocks.size()) <= sequence.most.blocks, Rule::kBlocks,
            [&] { return absl::StrFormat("a table of %d blocks, at most %d", blocks.size(), sequence.most.blocks); });
    for (const BlockId block : blocks.subspan(static_cast<size_t>(sequence.computed / kBlockSlots))) {
      Require(block > kScratchBlock && block < options_.cache.num_blocks, Rule::kBlocks,
              [&] { return absl::StrFormat("block %d in a table", block); });
      const int references = scheduler_->cache().num_references(block);
      Require(references == 1 && writers_[static_cast<size_t>(block)] == nullptr, Rule::kBlocks,
              [&] { return absl::StrFormat("block %d is written and in %d tables", block, references); });
      writers_[static_cast<size_t>(block)] = &sequence;
    }
  });
}

// In their order: a block from which one copies may be handed out anew for a later one.
void SimulatedExecutor::Copy(const BatchInputs& batch) {
  for (const SlotCopy& copy : batch.copies) {
    const auto from = static_cast<size_t>(copy.from / kBlockSlots), to = static_cast<size_t>(copy.to / kBlockSlots);
    const bool is_inside = copy.count > 0 && copy.from % kBlockSlots + copy.count <= kBlockSlots &&
                           copy.to % kBlockSlots + copy.count <= kBlockSlots;
    Require(is_inside, Rule::kSlots, [&] { return absl::StrFormat("a copy of %d slots", copy.count); });
    Require(writers_[to] != nullptr, Rule::kBlocks,
            [&] { return absl::StrFormat("a copy into block %d, which no row writes", to); });
    Require(copied_in_step_[from] != num_steps_, Rule::kSlots,
            [&] { return absl::StrFormat("a copy from block %d, into which the same step copies", from); });
    std::copy_n(slots_.begin() + copy.from, copy.count, slots_.begin() + copy.to);
    drafter_.Copy(copy);
    copied_in_step_[to] = num_steps_;
    coverage_.Add(Counted::kTailCopies);
  }
}

SimulatedExecutor::Slot& SimulatedExecutor::SlotOf(const BatchInputs& batch, const BatchRow& row, int position) {
  const int32_t block = batch.blocks[static_cast<size_t>(row.first_block + position / kBlockSlots)];
  return slots_[static_cast<size_t>(block * kBlockSlots + position % kBlockSlots)];
}

LaunchedRow SimulatedExecutor::RowOf(const BatchInputs& batch, const BatchRow& row) {
  const int end = row.first_position + row.num_tokens;
  const int32_t block = batch.blocks[static_cast<size_t>(row.first_block + (end - 1) / kBlockSlots)];
  const bool is_block = block > kScratchBlock && block < options_.cache.num_blocks;
  const Sequence* writer = is_block ? writers_[static_cast<size_t>(block)] : nullptr;
  Require(writer != nullptr, Rule::kBlocks,
          [&] { return absl::StrFormat("a row writes block %d, which no planned sequence does", block); });
  CheckTable(batch, row, *writer);
  SequenceLife& sequence = lives_.ById(writer->id());
  return {.sequence = &sequence,
          .first_position = row.first_position,
          .num_tokens = row.num_tokens,
          .num_again = std::max(0, writer->computed - row.first_position),
          .num_drafts = std::max(0, end - sequence.num_tokens()),
          .has_waited = sequence.waits() || writer->num_preemptions > sequence.num_preemptions};
}

void SimulatedExecutor::CheckTable(const BatchInputs& batch, const BatchRow& row, const Sequence& sequence) {
  const auto num_blocks = static_cast<size_t>(BlocksFor(row.first_position + row.num_tokens));
  const auto table = std::span(batch.blocks).subspan(static_cast<size_t>(row.first_block), num_blocks);
  Require(std::ranges::equal(table, sequence.blocks.blocks().first(num_blocks)), Rule::kBlocks,
          [] { return "a row has another table than its sequence"; });
  for (const BlockId block : sequence.blocks.blocks()) used_in_step_[static_cast<size_t>(block)] = num_steps_;
}

void SimulatedExecutor::CheckTurn(const LaunchedRow& row) {
  const SequenceLife& sequence = *row.sequence;
  const auto name = [&] { return absl::StrFormat("%s at position %d", sequence.Name(), row.first_position); };
  Require(sequence.is_in_engine(), Rule::kEnded, [&] { return name() + " is computed and not in the engine"; });
  Require(!sequence.must_end.has_value(), Rule::kEnded, [&] { return name() + " is computed after its end"; });
  Require(sequence.life->request.deadline > clock_.Now(), Rule::kEnded,
          [&] { return name() + " is computed past its deadline"; });
  Require(!sequence.life->is_paused, Rule::kBackLog, [&] { return name() + " is computed while it is paused"; });
  const bool has_drafts = row.num_drafts <= std::ssize(sequence.drafts) && row.num_drafts < row.num_tokens;
  Require(has_drafts, Rule::kSlots, [&] { return name() + absl::StrFormat(" verifies %d drafts", row.num_drafts); });
  // The last token that it may have is computed by nothing, drafted or not.
  Require(row.num_drafts == 0 || row.end_position() < sequence.most_tokens(options_.max_context_tokens), Rule::kBudget,
          [&] { return name() + absl::StrFormat(" verifies drafts up to %d", row.end_position()); });
  const auto is_same = [&](const LaunchedRow& other) { return other.sequence == row.sequence; };
  Require(std::count_if(rows_.begin(), rows_.end(), is_same) == 1, Rule::kBudget,
          [&] { return name() + " has two rows"; });
  if (row.has_waited) return CheckStart(row);
  Require(row.first_new_position() == sequence.num_computed, Rule::kSlots,
          [&] { return name() + absl::StrFormat(" has %d positions in the cache", sequence.num_computed); });
}

// What a sequence finds when it comes from the queue.
void SimulatedExecutor::CheckStart(const LaunchedRow& row) const {
  const SequenceLife& sequence = *row.sequence;
  const int most = sequence.life->generates() ? sequence.num_tokens() - 1 : sequence.most_computed;
  Require(row.first_new_position() <= most, Rule::kCache, [&] {
    return absl::StrFormat("%s: %d of %d positions are reused", sequence.Name(), row.first_new_position(), most);
  });
}

void SimulatedExecutor::CheckContext(const BatchInputs& batch, const BatchRow& row, const SequenceLife& sequence) {
  for (int position = 0; position < row.first_position; ++position) {
    const Slot& slot = SlotOf(batch, row, position);
    const bool is_own =
        slot.position == position && slot.prefix == sequence.quiet.prefixes[static_cast<size_t>(position)];
    Require(is_own, Rule::kSlots, [&] {
      return absl::StrFormat("%s reads at position %d what request %d wrote at %d", sequence.Name(), position,
                             slot.writer, slot.position);
    });
    Require(MayRead(sequence, slot, position), Rule::kCache, [&] {
      return absl::StrFormat("%s reads at position %d what request %d stored for others", sequence.Name(), position,
                             slot.writer);
    });
  }
}

// What it computed itself may have been exchanged for its twin.
bool SimulatedExecutor::MayRead(const SequenceLife& reader, const Slot& slot, int position) const {
  const Life& life = *reader.life;
  if (slot.writer == life.number()) return true;
  const Life* writer = lives_.ByNumber(slot.writer);
  if (writer == nullptr || !writer->request.cache.stores || !life.SharesWith(*writer)) return false;
  if (life.request.cache.reads && options_.prefix_cache == PrefixCacheMode::kOn) return true;
  return position < std::max(reader.most_computed, life.most_prompt_computed());
}

// Its drafts stand behind tokens that nothing has drawn yet: what they give counts where they turn out right.
void SimulatedExecutor::Store(const BatchInputs& batch, size_t row_index) {
  const BatchRow& batch_row = batch.rows[row_index];
  const LaunchedRow& row = rows_[row_index];
  const SequenceLife& sequence = *row.sequence;
  for (int i = 0; i < row.num_tokens; ++i) {
    const auto token = static_cast<size_t>(batch_row.first_token + i);
    const int position = row.first_position + i;
    Slot& slot = SlotOf(batch, batch_row, position);
    const bool is_placed = batch.positions[token] == position && &slot - slots_.data() == batch.slots[token];
    Require(is_placed, Rule::kSlots, [&] {
      return absl::StrFormat("%s: the token of position %d goes to slot %d, position %d", sequence.Name(), position,
                             batch.slots[token], batch.positions[token]);
    });
    const int draft = position - row.end_of_known();
    const int32_t expected = draft < 0 ? sequence.TokenAt(position) : sequence.drafts[static_cast<size_t>(draft)];
    Require(batch.token_ids[token] == expected, Rule::kOutput, [&] {
      return absl::StrFormat("%s: token %d at position %d, alone it is %d", sequence.Name(), batch.token_ids[token],
                             position, expected);
    });
    const uint64_t prefix = draft < 0 ? sequence.quiet.prefixes[static_cast<size_t>(position)]
                                      : Extend(states_.back().prefix, expected, position);
    states_.push_back({.row = row_index, .position = position, .prefix = prefix});
    StoreToken(row, states_.back(), slot);
  }
}

// What the cache has already may be in other tables, too: it is written again with what it holds.
void SimulatedExecutor::StoreToken(const LaunchedRow& row, const TokenState& state, Slot& slot) {
  if (state.position >= row.first_new_position()) {
    slot = {.prefix = state.prefix, .position = state.position, .writer = row.sequence->life->number()};
    return;
  }
  const bool is_same = slot.prefix == state.prefix && slot.position == state.position;
  Require(is_same, Rule::kSlots,
          [&] { return absl::StrFormat("%s changes position %d", row.sequence->Name(), state.position); });
}

// What the sampler gets to choose by is the sequence's, and all tokens before this one: also those that are drafted.
void SimulatedExecutor::CheckDraw(const SampleRow& sample, int position, const LaunchedRow& row) const {
  const SequenceLife& sequence = *row.sequence;
  const auto name = [&] { return absl::StrFormat("%s at position %d", sequence.Name(), position); };
  const Life& life = *sequence.life;
  if (!life.generates()) {
    return Require(sample.scored_id == sequence.TokenAt(position), Rule::kOutput,
                   [&] { return name() + absl::StrFormat(" scores token %d", sample.scored_id); });
  }
  const Request& request = life.request;
  const bool is_its_rule =
      sample.rule == request.sampling && std::ranges::equal(sample.logit_bias, request.logit_bias) &&
      std::ranges::equal(sample.allowed, request.allowed) && sample.num_top_logprobs == request.answer.num_top_logprobs;
  Require(is_its_rule, Rule::kOutput, [&] { return name() + " is drawn by another rule than its own"; });
  const bool is_counted = static_cast<int>(sample.position) == position && std::ssize(sample.tokens) == position &&
                          sample.num_prompt_tokens == life.num_prompt_tokens() &&
                          static_cast<int>(sample.index) == sequence.index;
  Require(is_counted, Rule::kOutput, [&] {
    return name() + absl::StrFormat(" is drawn as sequence %d after %d tokens, %d of them prompt", sample.index,
                                    sample.tokens.size(), sample.num_prompt_tokens);
  });
  const auto num_drafts = static_cast<size_t>(std::max(0, position - row.end_of_known()));
  const bool is_its_own =
      sequence.HasTokens(sample.tokens.first(sample.tokens.size() - num_drafts)) &&
      std::ranges::equal(sample.tokens.last(num_drafts), std::span(sequence.drafts).first(num_drafts));
  Require(is_its_own, Rule::kOutput, [&] { return name() + " is drawn after other tokens"; });
}

SampleResult SimulatedExecutor::Sample(const BatchInputs& batch, size_t logit, const SampleRow& sample) {
  const TokenState& state = states_[static_cast<size_t>(batch.logit_tokens[logit])];
  LaunchedRow& row = rows_[state.row];
  const SequenceLife& sequence = *row.sequence;
  if (row.num_logits++ == 0) row.first_sample = static_cast<int>(logit);
  CheckDraw(sample, state.position + 1, row);
  SampleResult result;
  result.finite = IsFinite(sequence, state);
  if (!result.finite) return result;
  result.id = sample.scored_id >= 0 ? sample.scored_id
                                    : TokenOf({.prefix = state.prefix,
                                               .seed = sample.rule.seed,
                                               .index = sample.index,
                                               .position = static_cast<int>(sample.position),
                                               .banned = sample.banned_ids});
  if (sample.num_top_logprobs >= 0) result.logprob = LogprobOf(state.prefix, result.id);
  for (int i = 0; i < sample.num_top_logprobs; ++i) {
    result.top.push_back({.id = i, .logprob = LogprobOf(state.prefix, i)});
  }
  return result;
}

// Where the drafts before it are wrong, logits that are not finite are as likely, and count for nothing.
bool SimulatedExecutor::IsFinite(const SequenceLife& sequence, const TokenState& state) const {
  const Life& life = *sequence.life;
  if (life.nonfinite_at < 0 || sequence.index != life.nonfinite_index) return true;
  const auto place = static_cast<size_t>(state.position);
  const bool is_its_own = place < sequence.quiet.prefixes.size() && state.prefix == sequence.quiet.prefixes[place];
  if (!is_its_own) return state.prefix % 4 != 0;
  const int position = state.position + 1;
  return (life.generates() ? position - life.num_prompt_tokens() : position) != life.nonfinite_at;
}

// What the sequence gets: each draw up to the first that is not the draft at its place, to its end, or to one that is
// not finite.
void SimulatedExecutor::Judge(LaunchedRow& row) {
  const SequenceLife& sequence = *row.sequence;
  const auto results =
      std::span(results_).subspan(static_cast<size_t>(row.first_sample), static_cast<size_t>(row.num_logits));
  if (!sequence.life->generates()) {
    row.is_finite = std::ranges::all_of(results, &SampleResult::finite);
    row.num_given = row.is_finite ? row.num_logits : 0;
    return;
  }
  const int num_wanted = row.end_of_known() == sequence.num_tokens() ? 1 + row.num_drafts : 0;
  Require(row.num_logits == num_wanted, Rule::kOutput, [&] {
    return absl::StrFormat("%s: %d logits of a row, expected %d", sequence.Name(), row.num_logits, num_wanted);
  });
  for (const SampleResult& result : results) {
    row.is_finite = result.finite;
    if (!result.finite) return;
    ++row.num_given;
    const bool is_end = sequence.num_generated + row.num_given == std::ssize(sequence.quiet.generated);
    const auto place = static_cast<size_t>(row.num_accepted);
    if (is_end || row.num_accepted == row.num_drafts || sequence.drafts[place] != result.id) return;
    ++row.num_accepted;
  }
}

// What a row wrote whose logits are not finite would spoil each answer that goes on from there.
void SimulatedExecutor::Spoil(const BatchInputs& batch, size_t row_index) {
  const BatchRow& batch_row = batch.rows[row_index];
  const LaunchedRow& row = rows_[row_index];
  for (int position = row.first_new_position(); position < row.end_position(); ++position) {
    Slot& slot = SlotOf(batch, batch_row, position);
    slot.prefix = 0;
    drafter_.Spoil(static_cast<size_t>(&slot - slots_.data()));
  }
}

void SimulatedExecutor::TakeDrafts() {
  size_t next = 0;
  for (const LaunchedRow& row : rows_) {
    row.sequence->drafts.clear();
    if (!row.is_followed) continue;
    const auto drafts = drafter_.drafts()[next++].view();
    row.sequence->drafts.assign(drafts.begin(), drafts.end());
  }
}

void SimulatedExecutor::CheckPublished() const {
  scheduler_->ForEach([this](const Sequence& sequence) {
    SequenceLife& life = lives_.ById(sequence.id());
    const auto blocks = sequence.blocks.blocks().first(static_cast<size_t>(sequence.blocks.num_published()));
    for (size_t& i = life.num_checked_blocks; i < blocks.size(); ++i) {
      const auto own = std::span(life.quiet.prefixes).subspan(i * kBlockSlots);
      const auto slots = std::span(slots_).subspan(static_cast<size_t>(blocks[i]) * kBlockSlots, kBlockSlots);
      const bool is_own =
          std::ranges::equal(slots, own.first(std::min<size_t>(own.size(), kBlockSlots)), {}, &Slot::prefix);
      Require(is_own, Rule::kBlocks, [&] {
        return absl::StrFormat("%s: block %d can be found and holds other tokens than its own", life.Name(), blocks[i]);
      });
    }
  });
}

}  // namespace latentd::simulation
