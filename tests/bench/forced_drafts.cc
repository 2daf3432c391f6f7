#include "tests/bench/forced_drafts.h"

#include "engine/step/acceptance.h"

namespace latentd {

void ForcedDrafts::Launch(const BatchInputs& batch, std::span<const SampleRow> samples,
                          std::span<const DraftRow> drafts) {
  batch_ = &batch;
  samples_ = samples;
  rows_ = drafts;
  executor_.Launch(batch, samples, drafts);
}

std::span<SampleResult> ForcedDrafts::Collect() {
  const std::span<SampleResult> results = executor_.Collect();
  const std::span<const Drafts> own = executor_.drafts();
  drafts_.assign(own.begin(), own.end());
  for (size_t i = 0; i < drafts_.size(); ++i) {
    if (rows_[i].is_sampled()) Replace(rows_[i], results, drafts_[i]);
  }
  return results;
}

void ForcedDrafts::Replace(const DraftRow& row, std::span<const SampleResult> results, Drafts& drafts) {
  const BatchRow& place = batch_->rows[static_cast<size_t>(row.row)];
  const auto end = static_cast<size_t>(place.first_token + place.num_tokens);
  const auto num_verified = static_cast<size_t>(row.num_verified), first = static_cast<size_t>(row.first_sample);
  const int accepted = NumAccepted(std::span(batch_->token_ids).subspan(end - num_verified, num_verified),
                                   results.subspan(first, num_verified + 1));
  const SampleRow& sample = samples_[first];
  const std::vector<int32_t>& tokens = tokens_.at(sample.rule.seed);
  size_t position = sample.position + static_cast<size_t>(accepted) + 1;  // behind the token that was sampled last
  for (int i = 0; i < drafts.count && position < tokens.size(); ++i, ++position) {
    drafts.ids[static_cast<size_t>(i)] = Forced(tokens[position]);
  }
}

int32_t ForcedDrafts::Forced(int32_t right) {
  return std::uniform_real_distribution<double>()(random_) < acceptance_ ? right : right ^ 1;
}

}  // namespace latentd
