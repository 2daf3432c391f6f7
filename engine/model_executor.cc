#include "engine/model_executor.h"

#include "kernels/check.h"

namespace latentd {

void ModelExecutor::Launch(const BatchInputs& batch, std::span<const SampleRow> samples) {
  CHECK_EQ(samples.size(), batch.logit_tokens.size());
  const Tensor logits = model_.Forward(batch);
  results_.resize(samples.size());
  backend_.ops->Sample(logits, samples, results_);
}

std::span<const SampleResult> ModelExecutor::Collect() {
  backend_.device->Synchronize();
  return results_;
}

}  // namespace latentd
