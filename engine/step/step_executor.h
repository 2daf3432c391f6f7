// The computation of a step: the model on a backend in production, a pure function of the rows in the simulator.
// Launch only enqueues work; Collect waits for it. Engine thread only.
#pragma once

#include <optional>
#include <span>

#include "base/clock.h"
#include "engine/step/draft_row.h"
#include "kernels/batch.h"

namespace latentd {

class StepExecutor {
 public:
  virtual ~StepExecutor() = default;

  // samples[i] belongs to batch.logit_tokens[i]; drafts are by row, ascending, for those rows behind which the layer
  // that predicts further tokens runs. All stay valid until Collect returns.
  virtual void Launch(const BatchInputs& batch, std::span<const SampleRow> samples,
                      std::span<const DraftRow> drafts) = 0;
  // One result per sample of the last Launch, valid until the next Launch; the caller may move out of them.
  virtual std::span<SampleResult> Collect() = 0;
  // What was drafted in the step that was collected last, one entry per DraftRow; it may be fewer than asked for. Valid
  // until the next Launch.
  virtual std::span<const Drafts> drafts() const { return {}; }
  // From the beginning of the last Launch to the end of its Collect, where it is measured.
  virtual std::optional<Duration> last_duration() const { return std::nullopt; }
};

}  // namespace latentd
