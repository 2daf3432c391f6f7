#include "tests/support/fake_executor.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/check.h"
#include "kernels/tensor.h"

namespace latentd {
namespace {

uint64_t Mix(uint64_t a, uint64_t b) {
  uint64_t x = a * 0x9e3779b97f4a7c15u + b + 0x632be59bd9b4e019u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

uint64_t Extend(uint64_t prefix, int32_t token, int64_t position) {
  return Mix(Mix(prefix, static_cast<uint64_t>(token)), static_cast<uint64_t>(position));
}

float Logprob(uint64_t prefix, int32_t id) {
  return -static_cast<float>(Mix(prefix, static_cast<uint64_t>(id)) % 10000) / 1000.0f;
}

int32_t Draw(uint64_t prefix, uint64_t seed, int vocab_size, std::span<const int32_t> banned) {
  int32_t id = static_cast<int32_t>(Mix(prefix, seed) % static_cast<uint64_t>(vocab_size));
  while (std::find(banned.begin(), banned.end(), id) != banned.end()) id = (id + 1) % vocab_size;
  return id;
}

}  // namespace

FakeExecutor::FakeExecutor(FakeExecutorOptions options)
    : options_(std::move(options)),
      slots_(static_cast<size_t>(options_.num_blocks * kBlockSlots)),
      draft_slots_(slots_.size()) {}

void FakeExecutor::Launch(const BatchInputs& batch, std::span<const SampleRow> samples,
                          std::span<const DraftRow> drafts) {
  CHECK_EQ(batch.logit_tokens.size(), samples.size());
  CHECK(std::is_sorted(batch.logit_tokens.begin(), batch.logit_tokens.end()));
  if (options_.on_launch) options_.on_launch(batch, samples);
  for (const SlotCopy& copy : batch.copies) {
    std::copy_n(slots_.begin() + copy.from, copy.count, slots_.begin() + copy.to);
    std::copy_n(draft_slots_.begin() + copy.from, copy.count, draft_slots_.begin() + copy.to);
  }
  tokens_.assign(batch.token_ids.size(), {});
  int next_token = 0;
  for (const BatchRow& row : batch.rows) {
    CHECK_EQ(row.first_token, next_token);
    Store(batch, row);
    next_token += row.num_tokens;
  }
  CHECK_EQ(next_token, batch.num_tokens());
  results_.clear();
  for (size_t i = 0; i < samples.size(); ++i) {
    results_.push_back(Sample(tokens_[static_cast<size_t>(batch.logit_tokens[i])].prefix, samples[i]));
  }
  hidden_ = tokens_;
  draft_batch_.Begin(batch, drafts, results_);
  while (draft_batch_.has_pass()) {
    RunPass(draft_batch_.inputs(), draft_batch_.samples());
    draft_batch_.Take(draws_);
  }
}

void FakeExecutor::Store(const BatchInputs& batch, const BatchRow& row) {
  const auto slot_of = [&](int64_t position) -> Slot& {
    const size_t block = static_cast<size_t>(row.first_block) + static_cast<size_t>(position / kBlockSlots);
    CHECK_NE(batch.blocks[block], 0);
    return slots_[static_cast<size_t>(batch.blocks[block]) * kBlockSlots + static_cast<size_t>(position % kBlockSlots)];
  };
  uint64_t prefix = 0;
  if (row.first_position > 0) {
    const Slot& before = slot_of(row.first_position - 1);
    CHECK_EQ(before.position, row.first_position - 1);
    prefix = before.prefix;
  }
  for (int i = 0; i < row.num_tokens; ++i) {
    const size_t token = static_cast<size_t>(row.first_token + i);
    const int64_t position = row.first_position + i;
    CHECK_EQ(batch.positions[token], position);
    Slot& slot = slot_of(position);
    CHECK_EQ(&slot - slots_.data(), batch.slots[token]);
    prefix = Extend(prefix, batch.token_ids[token], position);
    slot = tokens_[token] = {.position = position, .prefix = prefix};
  }
}

// All rows are stored before any is read, as in a layer.
void FakeExecutor::RunPass(const BatchInputs& pass, std::span<const SampleRow> samples) {
  drafted_.assign(pass.token_ids.size(), {});
  for (int token = 0; token < pass.num_tokens(); ++token) StoreDrafted(pass, token);
  for (const BatchRow& row : pass.rows) CheckWindow(pass, row);
  hidden_.clear();
  draws_.clear();
  for (size_t i = 0; i < samples.size(); ++i) {
    hidden_.push_back(drafted_[static_cast<size_t>(pass.logit_tokens[i])]);
    CHECK_EQ(static_cast<int64_t>(samples[i].position), hidden_.back().position + 1);
    draws_.push_back(SampleDraft(hidden_.back().prefix, samples[i]));
  }
}

void FakeExecutor::StoreDrafted(const BatchInputs& pass, int token) {
  const auto place = static_cast<size_t>(token);
  const Slot& before = hidden_[static_cast<size_t>(pass.hidden_rows[place])];
  const int64_t position = before.position + 1;
  CHECK_EQ(pass.positions[place], position);
  drafted_[place] = {.position = position, .prefix = Extend(before.prefix, pass.token_ids[place], position)};
  CHECK_GE(pass.slots[place], kBlockSlots);
  draft_slots_[static_cast<size_t>(pass.slots[place])] = {.own = drafted_[place], .before = before.prefix};
}

// Each slot that the row sees stands behind the one before.
void FakeExecutor::CheckWindow(const BatchInputs& pass, const BatchRow& row) const {
  CHECK_GE(row.first_key, 1);
  CHECK_LE(row.first_key, row.first_position);
  const DraftSlot* before = nullptr;
  for (int position = row.first_key; position < row.first_position + row.num_tokens; ++position) {
    const auto block = static_cast<size_t>(pass.blocks[static_cast<size_t>(row.first_block + position / kBlockSlots)]);
    const DraftSlot& slot = draft_slots_[block * kBlockSlots + static_cast<size_t>(position % kBlockSlots)];
    CHECK_EQ(slot.own.position, position);
    CHECK(before == nullptr || before->own.prefix == slot.before);
    before = &slot;
  }
}

SampleResult FakeExecutor::Sample(uint64_t prefix, const SampleRow& sample) const {
  SampleResult result;
  result.finite = options_.nonfinite_seed == 0 || sample.rule.seed != options_.nonfinite_seed;
  if (!result.finite) return result;
  const uint64_t seed = FakeSeed(sample.rule.seed, sample.index);
  result.id = sample.scored_id >= 0 ? sample.scored_id : Draw(prefix, seed, options_.vocab_size, sample.banned_ids);
  if (sample.num_top_logprobs >= 0) result.logprob = Logprob(prefix, result.id);
  for (int32_t id = 0; id < sample.num_top_logprobs; ++id)
    result.top.push_back({.id = id, .logprob = Logprob(prefix, id)});
  return result;
}

SampleResult FakeExecutor::SampleDraft(uint64_t prefix, const SampleRow& sample) const {
  const uint64_t seed = FakeSeed(sample.rule.seed, sample.index);
  const int32_t right = Draw(prefix, seed, options_.vocab_size, sample.banned_ids);
  const uint64_t chance = Mix(Mix(prefix, seed), sample.position);
  const bool is_right = std::ldexp(static_cast<double>(chance >> 11), -53) < options_.draft_accuracy;
  const auto others = static_cast<uint64_t>(options_.vocab_size - 1);
  SampleResult draft;
  draft.id = is_right ? right : (right + 1 + static_cast<int32_t>(chance % others)) % options_.vocab_size;
  return draft;
}

std::vector<int32_t> FakeTokens(std::vector<int32_t> prompt, uint64_t seed, int num_tokens, int vocab_size,
                                std::span<const int32_t> banned) {
  uint64_t prefix = 0;
  int64_t position = 0;
  for (int32_t token : prompt) prefix = Extend(prefix, token, position++);
  std::vector<int32_t> tokens;
  for (int i = 0; i < num_tokens; ++i) {
    tokens.push_back(Draw(prefix, seed, vocab_size, banned));
    prefix = Extend(prefix, tokens.back(), position++);
  }
  return tokens;
}

std::vector<float> FakeScores(std::span<const int32_t> prompt) {
  std::vector<float> scores;
  uint64_t prefix = 0;
  for (size_t i = 0; i + 1 < prompt.size(); ++i) {
    prefix = Extend(prefix, prompt[i], static_cast<int64_t>(i));
    scores.push_back(Logprob(prefix, prompt[i + 1]));
  }
  return scores;
}

}  // namespace latentd
