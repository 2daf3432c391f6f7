#include "engine/step/model_executor.h"

#include "base/check.h"

namespace latentd {

void ModelExecutor::Launch(const BatchInputs& batch, std::span<const SampleRow> samples,
                           std::span<const DraftRow> drafts) {
  CHECK(drafts.empty());
  CHECK_EQ(samples.size(), batch.logit_tokens.size());
  results_.resize(samples.size());
  for (const SlotCopy& copy : batch.copies) model_.CopyLatents(copy);
  if (IsDecode(batch)) {
    LaunchDecode(batch, samples);
  } else {
    LaunchForward(backend_.ops->Upload(batch, samples));
  }
}

void ModelExecutor::LaunchDecode(const BatchInputs& batch, std::span<const SampleRow> samples) {
  const int num_rows = backend_.device->PadRows(batch.num_tokens());
  const bool is_full = num_rows == batch.num_tokens();
  if (!is_full) padding_.Fill(batch, samples, num_rows);
  const Batch step =
      is_full ? backend_.ops->Upload(batch, samples) : backend_.ops->Upload(padding_.inputs(), padding_.samples());
  backend_.device->Run({.num_rows = num_rows, .max_context = step.max_context}, [&] { LaunchForward(step); });
}

void ModelExecutor::LaunchForward(const Batch& batch) {
  const Tensor logits = model_.Forward(batch).logits;
  backend_.ops->Sample(batch, logits);
}

std::span<SampleResult> ModelExecutor::Collect() {
  backend_.ops->Collect(results_);
  return results_;
}

}  // namespace latentd
