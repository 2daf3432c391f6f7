#include "tests/simulation/executor.h"

#include <algorithm>

#include <absl/strings/str_format.h>

#include "tests/simulation/violation.h"

namespace latentd::simulation {
namespace {

// The sequence's token at this position, as far as the model ever gives one.
int32_t TokenAt(const SequenceLife& sequence, int position) {
  const int num_prompt = sequence.num_prompt_tokens();
  if (position < num_prompt) return sequence.life->planned->request.prompt[static_cast<size_t>(position)];
  const auto generated = static_cast<size_t>(position - num_prompt);
  return generated < sequence.quiet.generated.size() ? sequence.quiet.generated[generated] : -1;
}

}  // namespace

SimulatedExecutor::SimulatedExecutor(const SchedulerOptions& options, Lives& lives, const VirtualClock& clock,
                                     Coverage& coverage)
    : options_(options),
      lives_(lives),
      clock_(clock),
      coverage_(coverage),
      slots_(static_cast<size_t>(options.cache.num_blocks) * kBlockSlots),
      writers_(static_cast<size_t>(options.cache.num_blocks)),
      used_in_step_(static_cast<size_t>(options.cache.num_blocks)),
      copied_in_step_(static_cast<size_t>(options.cache.num_blocks)) {}

void SimulatedExecutor::Clear() {
  rows_.clear();
  num_tokens_ = 0;
}

// What one row writes no other may read in the same step: a block is there for others once the step is over.
void SimulatedExecutor::Launch(const BatchInputs& batch, std::span<const SampleRow> samples,
                               std::span<const DraftRow>) {
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
  for (size_t i = 0; i < batch.rows.size(); ++i) Store(batch, batch.rows[i], *rows_[i].sequence);
  results_.clear();
  for (size_t i = 0; i < samples.size(); ++i) results_.push_back(Sample(batch, i, samples[i]));
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    if (!rows_[i].is_finite) Spoil(batch, batch.rows[i]);
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

// Each block that the step writes is in one table alone, and so it names its row's sequence.
void SimulatedExecutor::FindWriters() {
  CHECK(scheduler_ != nullptr);
  std::fill(writers_.begin(), writers_.end(), nullptr);
  scheduler_->ForEach([this](const Sequence& sequence) {
    if (sequence.planned == sequence.computed) return;
    const auto blocks = sequence.blocks.blocks();
    Require(BlocksFor(sequence.planned) <= static_cast<int>(blocks.size()), Rule::kBlocks,
            [] { return "a row is planned past the end of its table"; });
    for (int i = sequence.computed / kBlockSlots; i < BlocksFor(sequence.planned); ++i) {
      const BlockId block = blocks[static_cast<size_t>(i)];
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
    copied_in_step_[to] = num_steps_;
    coverage_.Add(Counted::kTailCopies);
  }
}

SimulatedExecutor::Slot& SimulatedExecutor::SlotOf(const BatchInputs& batch, const BatchRow& row, int position) {
  const int32_t block = batch.blocks[static_cast<size_t>(row.first_block + position / kBlockSlots)];
  return slots_[static_cast<size_t>(block * kBlockSlots + position % kBlockSlots)];
}

LaunchedRow SimulatedExecutor::RowOf(const BatchInputs& batch, const BatchRow& row) {
  const int32_t block = batch.blocks[static_cast<size_t>(row.first_block + row.first_position / kBlockSlots)];
  const bool is_block = block > kScratchBlock && block < options_.cache.num_blocks;
  const Sequence* writer = is_block ? writers_[static_cast<size_t>(block)] : nullptr;
  Require(writer != nullptr, Rule::kBlocks,
          [&] { return absl::StrFormat("a row writes block %d, which no planned sequence does", block); });
  CheckTable(batch, row, *writer);
  SequenceLife& sequence = lives_.ById(writer->id());
  return {.sequence = &sequence,
          .first_position = row.first_position,
          .num_tokens = row.num_tokens,
          .has_waited = sequence.waits() || writer->num_preemptions > sequence.num_preemptions};
}

void SimulatedExecutor::CheckTable(const BatchInputs& batch, const BatchRow& row, const Sequence& sequence) {
  const auto num_blocks = static_cast<size_t>(BlocksFor(row.first_position + row.num_tokens));
  const auto table = std::span(batch.blocks).subspan(static_cast<size_t>(row.first_block), num_blocks);
  Require(std::ranges::equal(table, sequence.blocks.blocks().first(num_blocks)), Rule::kBlocks,
          [] { return "a row has another table than its sequence"; });
  for (const BlockId block : table) used_in_step_[static_cast<size_t>(block)] = num_steps_;
}

void SimulatedExecutor::CheckTurn(const LaunchedRow& row) {
  const SequenceLife& sequence = *row.sequence;
  const auto name = [&] { return absl::StrFormat("%s at position %d", sequence.Name(), row.first_position); };
  Require(sequence.is_in_engine(), Rule::kEnded, [&] { return name() + " is computed and not in the engine"; });
  Require(!sequence.must_end.has_value(), Rule::kEnded, [&] { return name() + " is computed after its end"; });
  Require(sequence.life->request.deadline > clock_.Now(), Rule::kEnded,
          [&] { return name() + " is computed past its deadline"; });
  Require(!sequence.life->is_paused, Rule::kBackLog, [&] { return name() + " is computed while it is paused"; });
  Require(row.end_position() <= sequence.num_tokens(), Rule::kSlots, [&] { return name() + " is computed too far"; });
  const auto is_same = [&](const LaunchedRow& other) { return other.sequence == row.sequence; };
  Require(std::count_if(rows_.begin(), rows_.end(), is_same) == 1, Rule::kBudget,
          [&] { return name() + " has two rows"; });
  if (row.has_waited) return CheckStart(row);
  Require(row.first_position == sequence.num_computed, Rule::kSlots,
          [&] { return name() + absl::StrFormat(" has %d positions in the cache", sequence.num_computed); });
}

// What a sequence finds when it comes from the queue.
void SimulatedExecutor::CheckStart(const LaunchedRow& row) const {
  const SequenceLife& sequence = *row.sequence;
  const int most = sequence.life->generates() ? sequence.num_tokens() - 1 : sequence.most_computed;
  Require(row.first_position <= most, Rule::kCache, [&] {
    return absl::StrFormat("%s: %d of %d positions are reused", sequence.Name(), row.first_position, most);
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

void SimulatedExecutor::Store(const BatchInputs& batch, const BatchRow& row, const SequenceLife& sequence) {
  for (int i = 0; i < row.num_tokens; ++i) {
    const auto token = static_cast<size_t>(row.first_token + i);
    const int position = row.first_position + i;
    Slot& slot = SlotOf(batch, row, position);
    const bool is_placed = batch.positions[token] == position && &slot - slots_.data() == batch.slots[token];
    Require(is_placed, Rule::kSlots, [&] {
      return absl::StrFormat("%s: the token of position %d goes to slot %d, position %d", sequence.Name(), position,
                             batch.slots[token], batch.positions[token]);
    });
    Require(batch.token_ids[token] == TokenAt(sequence, position), Rule::kOutput, [&] {
      return absl::StrFormat("%s: token %d at position %d, alone it is %d", sequence.Name(), batch.token_ids[token],
                             position, TokenAt(sequence, position));
    });
    slot = {.prefix = sequence.quiet.prefixes[static_cast<size_t>(position)],
            .position = position,
            .writer = sequence.life->number()};
  }
}

// What the sampler gets to choose by is the sequence's, and all tokens before this one.
void SimulatedExecutor::CheckDraw(const SampleRow& sample, int position, const SequenceLife& sequence) const {
  const auto name = [&] { return absl::StrFormat("%s at position %d", sequence.Name(), position); };
  const Life& life = *sequence.life;
  if (!life.generates()) {
    return Require(sample.scored_id == TokenAt(sequence, position), Rule::kOutput,
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
  const auto& prompt = life.planned->request.prompt;
  const auto generated = std::span(sequence.quiet.generated).first(static_cast<size_t>(position) - prompt.size());
  const bool is_its_own = std::ranges::equal(sample.tokens.first(prompt.size()), prompt) &&
                          std::ranges::equal(sample.tokens.subspan(prompt.size()), generated);
  Require(is_its_own, Rule::kOutput, [&] { return name() + " is drawn after other tokens"; });
}

SampleResult SimulatedExecutor::Sample(const BatchInputs& batch, size_t logit, const SampleRow& sample) {
  const auto token = static_cast<size_t>(batch.logit_tokens[logit]);
  LaunchedRow& row = rows_[static_cast<size_t>(batch.token_rows[token])];
  const SequenceLife& sequence = *row.sequence;
  const Life& life = *sequence.life;
  const int position = batch.positions[token] + 1;
  const uint64_t prefix = sequence.quiet.prefixes[static_cast<size_t>(position) - 1];
  SampleResult result;
  CheckDraw(sample, position, sequence);
  const int num_before = life.generates() ? position - life.num_prompt_tokens() : position;
  if (num_before == life.nonfinite_at && sequence.index == life.nonfinite_index) {
    result.finite = row.is_finite = false;
    return result;
  }
  result.id = sample.scored_id >= 0 ? sample.scored_id
                                    : TokenOf({.prefix = prefix,
                                               .seed = sample.rule.seed,
                                               .index = sample.index,
                                               .position = static_cast<int>(sample.position),
                                               .banned = sample.banned_ids});
  ++row.num_logits;
  if (sample.num_top_logprobs >= 0) result.logprob = LogprobOf(prefix, result.id);
  for (int i = 0; i < sample.num_top_logprobs; ++i) {
    result.top.push_back({.id = i, .logprob = LogprobOf(prefix, i)});
  }
  return result;
}

// What a row wrote whose logits are not finite would spoil each answer that goes on from there.
void SimulatedExecutor::Spoil(const BatchInputs& batch, const BatchRow& row) {
  for (int i = 0; i < row.num_tokens; ++i) SlotOf(batch, row, row.first_position + i).prefix = 0;
}

}  // namespace latentd::simulation
