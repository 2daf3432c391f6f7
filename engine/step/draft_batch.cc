#include "engine/step/draft_batch.h"

#include <algorithm>
#include <utility>

#include "engine/step/acceptance.h"
#include "engine/step/batch_rows.h"
#include "kernels/tensor.h"

namespace latentd {

// Tokens of a row that stay, and the one behind them; -1 where that is not known.
struct DraftBatch::Known {
  std::span<const int32_t> tokens;
  int num_accepted = 0;  // of them, the last ones were drafts
  int32_t next_id = -1;

  int num_followed() const { return static_cast<int>(tokens.size()) - (next_id < 0 ? 1 : 0); }
  int32_t following(int index) const {
    const auto next = static_cast<size_t>(index) + 1;
    return next < tokens.size() ? tokens[next] : next_id;
  }
};

void DraftBatch::Begin(const BatchInputs& step, std::span<const DraftRow> rows, std::span<const SampleResult> results) {
  step_ = &step;
  rows_ = rows;
  drafts_.assign(rows.size(), {});
  while (further_.size() < rows.size()) further_.emplace_back().reserve(2 * kMaxDrafts + 1);
  NextPass();
  if (!rows.empty()) Reserve(step);
  for (size_t i = 0; i < rows.size(); ++i) AddFirst(i, KnownOf(rows[i], results));
}

void DraftBatch::Take(std::span<const SampleResult> results) {
  NextPass();
  for (size_t i = 0; i < before_.size(); ++i) {
    // A draft that could not be drawn ends the row's, and so does the last one: it is not computed here.
    const DraftRow& row = rows_[before_[i].row];
    Drafts& drafts = drafts_[before_[i].row];
    if (!results[i].finite) continue;
    drafts.Add(results[i].id);
    const int position = before_[i].position + 1;
    if (drafts.count == row.num_drafts || position >= row.end_position) continue;
    AddRow(row, position, 1);
    AddToken(results[i].id, static_cast<int>(i));
    further_[before_[i].row].push_back(results[i].id);
    AddSample({.row = before_[i].row, .position = position});
  }
}

void DraftBatch::NextPass() {
  Clear(inputs_);
  samples_.clear();
  std::swap(drafting_, before_);
  drafting_.clear();
}

// How many drafts hold differs from step to step: no pass has more of anything than its step, which has room for what
// its sequences will ever hold.
void DraftBatch::Reserve(const BatchInputs& step) {
  for (auto* list :
       {&inputs_.token_ids, &inputs_.positions, &inputs_.slots, &inputs_.token_rows, &inputs_.hidden_rows}) {
    list->reserve(step.token_ids.capacity());
  }
  inputs_.rows.reserve(step.rows.capacity());
  inputs_.blocks.reserve(step.blocks.capacity());
}

DraftBatch::Known DraftBatch::KnownOf(const DraftRow& row, std::span<const SampleResult> results) const {
  const BatchRow& of_step = step_->rows[static_cast<size_t>(row.row)];
  const auto tokens = std::span(step_->token_ids)
                          .subspan(static_cast<size_t>(of_step.first_token), static_cast<size_t>(of_step.num_tokens));
  if (!row.is_sampled()) return {.tokens = tokens, .next_id = row.next_id};
  const auto num_verified = static_cast<size_t>(row.num_verified);
  const auto drawn = results.subspan(static_cast<size_t>(row.first_sample), num_verified + 1);
  const int num_accepted = NumAccepted(tokens.last(num_verified), drawn);
  return {.tokens = tokens.first(tokens.size() - num_verified + static_cast<size_t>(num_accepted)),
          .num_accepted = num_accepted,
          .next_id = drawn[static_cast<size_t>(num_accepted)].id};
}

void DraftBatch::AddFirst(size_t index, const Known& known) {
  const DraftRow& row = rows_[index];
  const BatchRow& of_step = step_->rows[static_cast<size_t>(row.row)];
  const int first_position = of_step.first_position + 1;
  // What has no slot is not stored, and nothing is drafted behind it.
  const int num_tokens = std::min(known.num_followed(), row.end_position - first_position);
  if (num_tokens <= 0) return;
  AddRow(row, first_position, num_tokens);
  for (int i = 0; i < num_tokens; ++i) AddToken(known.following(i), of_step.first_token + i);
  if (row.num_drafts == 0 || num_tokens < static_cast<int>(known.tokens.size())) return;
  const auto accepted = known.tokens.last(static_cast<size_t>(known.num_accepted));
  further_[index].assign(accepted.begin(), accepted.end());
  further_[index].push_back(known.next_id);
  AddSample({.row = index, .position = first_position + num_tokens - 1});
}

// Its blocks are those of the step's row.
void DraftBatch::AddRow(const DraftRow& row, int first_position, int num_tokens) {
  const auto first_block = static_cast<size_t>(step_->rows[static_cast<size_t>(row.row)].first_block);
  const auto num_blocks = static_cast<size_t>((first_position + num_tokens - 1) / kBlockSlots + 1);
  BeginRow({.num_tokens = num_tokens, .first_position = first_position, .first_key = row.first_key},
           std::span(step_->blocks).subspan(first_block, num_blocks), inputs_);
}

// The next one of the row that was added last.
void DraftBatch::AddToken(int32_t id, int hidden_row) {
  latentd::AddToken(id, inputs_);
  inputs_.hidden_rows.push_back(hidden_row);
}

// A draft is the row's own draw: by its rule, with the key of the draft's position.
void DraftBatch::AddSample(const Drafting& drafting) {
  SampleRow sample = rows_[drafting.row].sample;
  sample.position = static_cast<uint32_t>(drafting.position + 1);
  sample.further = further_[drafting.row];
  inputs_.logit_tokens.push_back(inputs_.num_tokens() - 1);
  samples_.push_back(sample);
  drafting_.push_back(drafting);
}

}  // namespace latentd
