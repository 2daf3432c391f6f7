#include "engine/step/batch_builder.h"

#include "base/check.h"
#include "kernels/tensor.h"

namespace latentd {

static_assert(kBlockTokens == kBlockSlots, "scheduler and cache must cut sequences into the same blocks");

void BatchBuilder::Build(const BatchPlan& plan) {
  inputs_.token_ids.clear();
  inputs_.positions.clear();
  inputs_.slots.clear();
  inputs_.token_rows.clear();
  inputs_.rows.clear();
  inputs_.blocks.clear();
  inputs_.logit_tokens.clear();
  samples_.clear();
  ReserveLists(plan);
  for (const PlannedRow& row : plan.rows) {
    AddSamples(row);
    AddTokens(row);
  }
}

void BatchBuilder::ReserveLists(const BatchPlan& plan) {
  size_t num_banned = 0;
  size_t num_biases = 0;
  for (const PlannedRow& row : plan.rows) {
    num_banned += rules_.eos_ids.size() + row.sequence->request.stopping.stop_token_ids.size();
    num_biases += row.sequence->request.sampling.logit_bias.size();
  }
  banned_ids_.clear();
  banned_ids_.reserve(num_banned);
  logit_bias_.clear();
  logit_bias_.reserve(num_biases);
}

void BatchBuilder::AddTokens(const PlannedRow& row) {
  const Sequence& sequence = *row.sequence;
  const std::span<const BlockId> table =
      sequence.blocks.blocks().first(static_cast<size_t>(BlocksFor(row.end_position())));
  const auto row_index = static_cast<int32_t>(inputs_.rows.size());
  inputs_.rows.push_back({.first_token = inputs_.num_tokens(),
                          .num_tokens = row.num_tokens,
                          .first_position = row.first_position,
                          .first_block = static_cast<int>(inputs_.blocks.size())});
  inputs_.blocks.insert(inputs_.blocks.end(), table.begin(), table.end());
  for (int position = row.first_position; position < row.end_position(); ++position) {
    const BlockId block = table[static_cast<size_t>(position / kBlockTokens)];
    inputs_.token_ids.push_back(sequence.tokens[static_cast<size_t>(position)]);
    inputs_.positions.push_back(position);
    inputs_.slots.push_back(block * kBlockTokens + position % kBlockTokens);
    inputs_.token_rows.push_back(row_index);
  }
}

void BatchBuilder::AddSamples(const PlannedRow& row) {
  const Sequence& sequence = *row.sequence;
  const int token_of_first = inputs_.num_tokens() + row.first_logit_position - row.first_position;
  for (int i = 0; i < row.num_logits; ++i) {
    inputs_.logit_tokens.push_back(token_of_first + i);
    if (sequence.request.kind == RequestKind::kScore) {
      samples_.push_back({.scored_id = sequence.tokens[static_cast<size_t>(row.first_logit_position + i + 1)],
                          .num_top_logprobs = sequence.request.num_prompt_logprobs});
    } else {
      samples_.push_back(DrawRow(sequence));
    }
  }
}

SampleRow BatchBuilder::DrawRow(const Sequence& sequence) {
  const SamplingParameters& sampling = sequence.request.sampling;
  return {.temperature = sampling.temperature,
          .top_k = sampling.top_k,
          .top_p = sampling.top_p,
          .min_p = sampling.min_p,
          .presence_penalty = sampling.presence_penalty,
          .frequency_penalty = sampling.frequency_penalty,
          .repetition_penalty = sampling.repetition_penalty,
          .seed = sampling.seed,
          .position = static_cast<uint32_t>(sequence.num_tokens()),
          .tokens = sequence.tokens,
          .num_prompt_tokens = sequence.num_prompt_tokens,
          .logit_bias = LogitBias(sequence),
          .allowed = sampling.allowed,
          .has_token = rules_.has_token,
          .banned_ids = BannedIds(sequence),
          .num_top_logprobs = sequence.request.num_top_logprobs};
}

std::span<const int32_t> BatchBuilder::BannedIds(const Sequence& sequence) {
  const StoppingParameters& stopping = sequence.request.stopping;
  if (sequence.num_generated() >= stopping.min_tokens) return {};
  const size_t first = banned_ids_.size();
  // With ignore_eos the end tokens end nothing, so drawing one early is no harm.
  if (!stopping.ignore_eos) banned_ids_.insert(banned_ids_.end(), rules_.eos_ids.begin(), rules_.eos_ids.end());
  banned_ids_.insert(banned_ids_.end(), stopping.stop_token_ids.begin(), stopping.stop_token_ids.end());
  return std::span(banned_ids_).subspan(first);
}

std::span<const TokenBias> BatchBuilder::LogitBias(const Sequence& sequence) {
  const size_t first = logit_bias_.size();
  for (const auto& [id, bias] : sequence.request.sampling.logit_bias) logit_bias_.push_back({.id = id, .bias = bias});
  return std::span<const TokenBias>(logit_bias_).subspan(first);
}

}  // namespace latentd
