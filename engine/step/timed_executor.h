// Holds a clock to another executor, so that the Engine can tell its own time from the model's. Engine thread only.
#pragma once

#include "base/clock.h"
#include "engine/step/step_executor.h"

namespace latentd {

class TimedExecutor final : public StepExecutor {
 public:
  // Both must outlive it.
  TimedExecutor(StepExecutor& executor, const Clock& clock) : executor_(executor), clock_(clock) {}

  void Launch(const BatchInputs& batch, std::span<const SampleRow> samples, std::span<const DraftRow> drafts) override;
  std::span<SampleResult> Collect() override;
  std::span<const Drafts> drafts() const override { return executor_.drafts(); }
  std::optional<Duration> last_duration() const override { return last_duration_; }

 private:
  StepExecutor& executor_;
  const Clock& clock_;
  TimePoint launched_{};
  std::optional<Duration> last_duration_;
};

}  // namespace latentd
