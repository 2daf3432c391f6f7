#include "engine/step/timed_executor.h"

namespace latentd {

void TimedExecutor::Launch(const BatchInputs& batch, std::span<const SampleRow> samples) {
  launched_ = clock_.Now();
  executor_.Launch(batch, samples);
}

std::span<const SampleResult> TimedExecutor::Collect() {
  const std::span<const SampleResult> results = executor_.Collect();
  last_duration_ = clock_.Now() - launched_;
  return results;
}

}  // namespace latentd
