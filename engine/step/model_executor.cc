#include "engine/step/model_executor.h"

#include <algorithm>

#include "base/check.h"

namespace latentd {

void ModelExecutor::Launch(const BatchInputs& batch, std::span<const SampleRow> samples,
                           std::span<const DraftRow> drafts) {
  CHECK_EQ(samples.size(), batch.logit_tokens.size());
  batch_ = &batch;
  samples_ = samples;
  draft_rows_ = drafts;
  results_.resize(samples.size());
  for (const SlotCopy& copy : batch.copies) model_.CopyLatents(copy);
  const int num_rows = PaddedRows();
  if (num_rows > 0) {
    LaunchEqualRows(num_rows);
  } else {
    LaunchForward(backend_.ops->Upload(batch, samples));
  }
}

// How many rows the step is filled up to where a device may have recorded it; 0 where it is not of such a shape.
int ModelExecutor::PaddedRows() const {
  const int tokens_per_row = TokensPerRow(*batch_);
  if (tokens_per_row == 0 || tokens_per_row > 1 + kMaxDrafts) return 0;
  const auto num_rows = static_cast<int>(batch_->rows.size());
  const int padded = backend_.device->PadRows(num_rows);
  return padded * tokens_per_row <= std::min(model_.max_tokens(), model_.max_logit_rows()) ? padded : 0;
}

void ModelExecutor::LaunchEqualRows(int num_rows) {
  const bool is_full = num_rows == static_cast<int>(batch_->rows.size());
  if (!is_full) padding_.Fill(*batch_, samples_, num_rows);
  const Batch step =
      is_full ? backend_.ops->Upload(*batch_, samples_) : backend_.ops->Upload(padding_.inputs(), padding_.samples());
  backend_.device->Run({.num_rows = num_rows,
                        .tokens_per_row = step.num_tokens() / num_rows,
                        .max_context = step.max_context,
                        .program = draft_rows_.empty() ? 0 : 1},
                       [&] { LaunchForward(step); });
}

void ModelExecutor::LaunchForward(const Batch& batch) {
  const HeadOutput output = model_.Forward(batch, draft_rows_.empty() ? HiddenStates::kOfLogits : HiddenStates::kOfAll);
  if (!draft_rows_.empty()) hidden_ = output.hidden;
  backend_.ops->Sample(batch, output.logits);
}

std::span<SampleResult> ModelExecutor::Collect() {
  backend_.ops->Collect(results_);
  Draft();
  return results_;
}

// Which tokens it runs over depends on what was drawn, so each pass waits for the one before.
void ModelExecutor::Draft() {
  draft_batch_.Begin(*batch_, draft_rows_, results_);
  Tensor hidden = hidden_;
  hidden.rows = batch_->num_tokens();  // the step may have been a replay of a recorded one
  while (draft_batch_.has_pass()) {
    const Batch batch = backend_.ops->Upload(draft_batch_.inputs(), draft_batch_.samples());
    const HeadOutput output = model_.Draft(batch, hidden);
    draft_results_.resize(batch.samples.size());
    if (!draft_results_.empty()) backend_.ops->Sample(batch, output.logits);
    backend_.ops->Collect(draft_results_);  // of a pass that only stores, too: else a profile of it would not end
    hidden = output.hidden;
    draft_batch_.Take(draft_results_);
  }
}

}  // namespace latentd
