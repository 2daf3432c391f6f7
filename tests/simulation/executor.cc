#include "tests/simulation/executor.h"

#include <algorithm>

#include <absl/strings/str_format.h>

#include "kernels/tensor.h"
#include "tests/simulation/violation.h"

namespace latentd::simulation {
namespace {

// The sequence's token at this position, as far as the model ever gives one.
int32_t TokenAt(const Life& life, int position) {
  const int num_prompt = life.num_prompt_tokens();
  if (position < num_prompt) return life.planned->request.prompt[static_cast<size_t>(position)];
  const auto generated = static_cast<size_t>(position - num_prompt);
  return generated < life.quiet.generated.size() ? life.quiet.generated[generated] : -1;
}

}  // namespace

SimulatedExecutor::SimulatedExecutor(const SchedulerOptions& options, Lives& lives, const VirtualClock& clock)
    : options_(options),
      lives_(lives),
      clock_(clock),
      slots_(static_cast<size_t>(options.cache.num_blocks) * kBlockSlots),
      used_in_step_(static_cast<size_t>(options.cache.num_blocks)) {}

void SimulatedExecutor::Clear() {
  rows_.clear();
  num_tokens_ = 0;
}

void SimulatedExecutor::Launch(const BatchInputs& batch, std::span<const SampleRow> samples) {
  Clear();
  CheckBudget(batch);
  Require(batch.logit_tokens.size() == samples.size(), Rule::kSlots, [] { return "a sample for each logit row"; });
  prefixes_.assign(batch.token_ids.size(), 0);
  num_tokens_ = batch.num_tokens();
  ++num_steps_;
  for (const BatchRow& row : batch.rows) {
    ClaimBlocks(batch, row);
    Life& life = OwnerOf(batch, row);
    CheckTurn(life, row);
    CheckContext(batch, row, life);
    Store(batch, row, life);
    rows_.push_back({.life = &life, .first_position = row.first_position, .num_tokens = row.num_tokens});
  }
  results_.clear();
  for (size_t i = 0; i < samples.size(); ++i) results_.push_back(Sample(batch, i, samples[i]));
}

void SimulatedExecutor::CheckHeld(const BlockPool& pool) const {
  for (BlockId block = 0; block < pool.num_total(); ++block) {
    const bool is_used = used_in_step_[static_cast<size_t>(block)] == num_steps_ && num_steps_ > 0;
    Require(!is_used || pool.num_references(block) > 0, Rule::kBlocks,
            [&] { return absl::StrFormat("block %d is free while a step uses it", block); });
  }
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

// No block is in two tables: nothing is shared.
void SimulatedExecutor::ClaimBlocks(const BatchInputs& batch, const BatchRow& row) {
  const int num_blocks = BlocksFor(row.first_position + row.num_tokens);
  for (int i = 0; i < num_blocks; ++i) {
    const int32_t block = batch.blocks[static_cast<size_t>(row.first_block + i)];
    Require(block > kScratchBlock && block < options_.cache.num_blocks, Rule::kBlocks,
            [&] { return absl::StrFormat("block %d in a table", block); });
    uint64_t& step = used_in_step_[static_cast<size_t>(block)];
    Require(step < num_steps_, Rule::kBlocks, [&] { return absl::StrFormat("block %d is in two tables", block); });
    step = num_steps_;
  }
}

SimulatedExecutor::Slot& SimulatedExecutor::SlotOf(const BatchInputs& batch, const BatchRow& row, int position) {
  const int32_t block = batch.blocks[static_cast<size_t>(row.first_block + position / kBlockSlots)];
  return slots_[static_cast<size_t>(block * kBlockSlots + position % kBlockSlots)];
}

Life& SimulatedExecutor::OwnerOf(const BatchInputs& batch, const BatchRow& row) {
  const int32_t first = row.first_position == 0 ? batch.token_ids[static_cast<size_t>(row.first_token)]
                                                : SlotOf(batch, row, row.first_position - 1).first_of_prompt;
  Life* life = lives_.ByNumber(first - kFirstOfPrompts);
  Require(life != nullptr, Rule::kSlots, [&] {
    return absl::StrFormat("a row at position %d reads a slot that was never written", row.first_position);
  });
  return *life;
}

void SimulatedExecutor::CheckTurn(const Life& life, const BatchRow& row) {
  const auto name = [&] { return absl::StrFormat("request %d at position %d", life.number(), row.first_position); };
  Require(life.is_in_engine(), Rule::kEnded, [&] { return name() + " is computed and not in the engine"; });
  Require(!life.must_end.has_value(), Rule::kEnded, [&] { return name() + " is computed after its end"; });
  Require(life.request.deadline > clock_.Now(), Rule::kEnded,
          [&] { return name() + " is computed past its deadline"; });
  Require(!life.is_paused, Rule::kBackLog, [&] { return name() + " is computed while it is paused"; });
  Require(row.first_position == life.num_computed, Rule::kSlots,
          [&] { return name() + absl::StrFormat(" has %d positions in the cache", life.num_computed); });
  const auto is_same = [&life](const LaunchedRow& other) { return other.life == &life; };
  Require(std::none_of(rows_.begin(), rows_.end(), is_same), Rule::kBudget, [&] { return name() + " has two rows"; });
  if (row.first_position > 0) return;
  Require(life.order > last_started_, Rule::kOrder, [&] { return name() + " starts after one that came later"; });
  last_started_ = life.order;
}

void SimulatedExecutor::CheckContext(const BatchInputs& batch, const BatchRow& row, const Life& life) {
  for (int position = 0; position < row.first_position; ++position) {
    const Slot& slot = SlotOf(batch, row, position);
    const bool is_own = slot.first_of_prompt == kFirstOfPrompts + life.number() && slot.position == position &&
                        slot.token == TokenAt(life, position);
    Require(is_own, Rule::kSlots, [&] {
      return absl::StrFormat("request %d reads at position %d what request %d wrote at %d", life.number(), position,
                             slot.first_of_prompt - kFirstOfPrompts, slot.position);
    });
  }
}

void SimulatedExecutor::Store(const BatchInputs& batch, const BatchRow& row, const Life& life) {
  uint64_t prefix = row.first_position == 0 ? 0 : SlotOf(batch, row, row.first_position - 1).prefix;
  for (int i = 0; i < row.num_tokens; ++i) {
    const auto token = static_cast<size_t>(row.first_token + i);
    const int position = row.first_position + i;
    Slot& slot = SlotOf(batch, row, position);
    const bool is_placed = batch.positions[token] == position && &slot - slots_.data() == batch.slots[token];
    Require(is_placed, Rule::kSlots, [&] {
      return absl::StrFormat("request %d: the token of position %d goes to slot %d, position %d", life.number(),
                             position, batch.slots[token], batch.positions[token]);
    });
    Require(batch.token_ids[token] == TokenAt(life, position), Rule::kOutput, [&] {
      return absl::StrFormat("request %d: token %d at position %d, alone it is %d", life.number(),
                             batch.token_ids[token], position, TokenAt(life, position));
    });
    prefix = Extend(prefix, batch.token_ids[token], position);
    slot = {.first_of_prompt = kFirstOfPrompts + life.number(),
            .token = batch.token_ids[token],
            .position = position,
            .prefix = prefix};
    prefixes_[token] = prefix;
  }
}

// What the sampler gets to choose by is the request's, and all tokens before this one.
void SimulatedExecutor::CheckDraw(const SampleRow& sample, int position, const Life& life) const {
  const auto name = [&] { return absl::StrFormat("request %d at position %d", life.number(), position); };
  if (!life.generates()) {
    return Require(sample.scored_id == TokenAt(life, position), Rule::kOutput,
                   [&] { return name() + absl::StrFormat(" scores token %d", sample.scored_id); });
  }
  const Request& request = life.request;
  const bool is_its_rule =
      sample.rule == request.sampling && std::ranges::equal(sample.logit_bias, request.logit_bias) &&
      std::ranges::equal(sample.allowed, request.allowed) && sample.num_top_logprobs == request.answer.num_top_logprobs;
  Require(is_its_rule, Rule::kOutput, [&] { return name() + " is drawn by another rule than its own"; });
  const bool is_counted = static_cast<int>(sample.position) == position && std::ssize(sample.tokens) == position &&
                          sample.num_prompt_tokens == life.num_prompt_tokens();
  Require(is_counted, Rule::kOutput, [&] {
    return name() + absl::StrFormat(" is drawn after %d tokens, %d of them prompt", sample.tokens.size(),
                                    sample.num_prompt_tokens);
  });
  for (int i = 0; i < position; ++i) {
    Require(sample.tokens[static_cast<size_t>(i)] == TokenAt(life, i), Rule::kOutput,
            [&] { return name() + absl::StrFormat(" is drawn after another token at %d", i); });
  }
}

SampleResult SimulatedExecutor::Sample(const BatchInputs& batch, size_t logit, const SampleRow& sample) {
  const auto token = static_cast<size_t>(batch.logit_tokens[logit]);
  LaunchedRow& row = rows_[static_cast<size_t>(batch.token_rows[token])];
  Life& life = *row.life;
  const uint64_t prefix = prefixes_[token];
  SampleResult result;
  const int position = batch.positions[token] + 1;
  CheckDraw(sample, position, life);
  const int num_before = life.generates() ? position - life.num_prompt_tokens() : position;
  if (num_before == life.nonfinite_at) {
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

}  // namespace latentd::simulation
