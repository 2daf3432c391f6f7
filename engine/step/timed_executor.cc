#include "engine/step/timed_executor.h"

namespace latentd {

void TimedExecutor::Launch(const BatchInputs& batch, std::span<const SampleRow> samples,
                           std::span<const DraftRow> drafts) {
  launched_ = clock_.Now();
  executor_.Launch(batch, samples, drafts);
}

std::span<SampleResult> TimedExecutor::Collect() {
  const std::span<SampleResult> results = executor_.Collect();
  last_duration_ = clock_.Now() - launched_;
  return results;
}

}  // namespace latentd
