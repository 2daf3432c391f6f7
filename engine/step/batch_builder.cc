#include "engine/step/batch_builder.h"

#include <algorithm>

#include "base/check.h"
#include "engine/step/batch_rows.h"
#include "kernels/tensor.h"

namespace latentd {
namespace {

// The blocks of its positions and, where it is followed, of those that the sampled token and its drafts may take, as
// far as there are any.
std::span<const BlockId> TableOf(const PlannedRow& row) {
  const std::span<const BlockId> blocks = row.sequence->blocks.blocks();
  const int behind = row.following ? std::max(1, row.following->num_drafts) : 0;
  const auto wanted = static_cast<size_t>(BlocksFor(row.end_position() + behind));
  return blocks.first(std::min(wanted, blocks.size()));
}

}  // namespace

void BatchBuilder::Build(const BatchPlan& plan) {
  Clear(inputs_);
  samples_.clear();
  drafts_.clear();
  ReserveLists(plan);
  for (const BlockCopy& copy : plan.copies) {
    inputs_.copies.push_back({.from = copy.from * kBlockSlots, .to = copy.to * kBlockSlots, .count = copy.num_slots});
  }
  for (const PlannedRow& row : plan.rows) {
    AddSamples(row);
    AddTokens(row);
    if (row.following) AddDraftRow(row);
  }
}

void BatchBuilder::ReserveLists(const BatchPlan& plan) {
  size_t num_banned = 0;
  size_t most_blocks = 0;  // of all that the rows' sequences will ever hold: no later step of theirs takes more room
  for (const PlannedRow& row : plan.rows) {
    const size_t num_ends = rules_.eos_ids.size() + row.sequence->request.stopping.stop_token_ids.size();
    num_banned += num_ends * static_cast<size_t>(row.num_logits + (row.following ? 1 : 0));
    most_blocks += static_cast<size_t>(row.sequence->most.blocks);
  }
  inputs_.blocks.reserve(most_blocks);
  banned_ids_.clear();
  banned_ids_.reserve(num_banned);
}

void BatchBuilder::AddTokens(const PlannedRow& row) {
  BeginRow({.num_tokens = row.num_tokens, .first_position = row.first_position}, TableOf(row), inputs_);
  for (int position = row.first_position; position < row.end_position(); ++position) {
    AddToken(row.sequence->tokens[static_cast<size_t>(position)], inputs_);
  }
}

void BatchBuilder::AddSamples(const PlannedRow& row) {
  const Sequence& sequence = *row.sequence;
  const int token_of_first = inputs_.num_tokens() + row.first_logit_position - row.first_position;
  for (int i = 0; i < row.num_logits; ++i) {
    inputs_.logit_tokens.push_back(token_of_first + i);
    const int next_position = row.first_logit_position + i + 1;  // of the token that these logits are about
    if (sequence.request.kind == RequestKind::kScore) {
      samples_.push_back({.scored_id = sequence.tokens[static_cast<size_t>(next_position)],
                          .num_top_logprobs = sequence.request.answer.num_prompt_logprobs});
    } else {
      samples_.push_back(DrawRow(sequence, next_position));
    }
  }
}

SampleRow BatchBuilder::DrawRow(const Sequence& sequence, int position) {
  CHECK_LE(static_cast<size_t>(position), sequence.tokens.size());
  const Request& request = sequence.request;
  return {.rule = request.sampling,
          .index = static_cast<uint32_t>(sequence.id().index),
          .position = static_cast<uint32_t>(position),
          .tokens = std::span(sequence.tokens).first(static_cast<size_t>(position)),
          .num_prompt_tokens = sequence.num_prompt_tokens,
          .logit_bias = request.logit_bias,
          .allowed = request.allowed,
          .has_token = rules_.has_token,
          .banned_ids = BannedIds(request.stopping, position - sequence.num_prompt_tokens),
          .num_top_logprobs = request.answer.num_top_logprobs};
}

void BatchBuilder::AddDraftRow(const PlannedRow& row) {
  const Sequence& sequence = *row.sequence;
  DraftRow draft{.row = static_cast<int>(inputs_.rows.size()) - 1,
                 .first_key = row.following->first_key,
                 .end_position = std::min(static_cast<int>(TableOf(row).size()) * kBlockSlots, sequence.most.tokens)};
  if (row.num_logits > 0) {
    draft.first_sample = static_cast<int>(samples_.size()) - row.num_logits;
    draft.num_verified = row.num_drafts;
    draft.num_drafts = row.following->num_drafts;
    // Its tokens are those before the first draft: the others follow from what is drawn.
    draft.sample = DrawRow(sequence, row.end_position() - row.num_drafts);
    draft.sample.num_top_logprobs = -1;
  } else {
    draft.next_id = sequence.tokens[static_cast<size_t>(row.end_position())];
  }
  drafts_.push_back(draft);
}

std::span<const int32_t> BatchBuilder::BannedIds(const StoppingRule& stopping, int num_generated) {
  if (num_generated >= stopping.min_tokens) return {};
  const size_t first = banned_ids_.size();
  // With ignore_eos the end tokens end nothing, so drawing one early is no harm.
  if (!stopping.ignore_eos) banned_ids_.insert(banned_ids_.end(), rules_.eos_ids.begin(), rules_.eos_ids.end());
  banned_ids_.insert(banned_ids_.end(), stopping.stop_token_ids.begin(), stopping.stop_token_ids.end());
  return std::span(banned_ids_).subspan(first);
}

}  // namespace latentd
