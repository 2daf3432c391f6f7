// A step on the real thing: the model's forward pass, the sampling of its logits, and the passes of the layer that
// predicts further tokens. Engine thread only.
#pragma once

#include <vector>

#include "engine/model/model.h"
#include "engine/step/draft_batch.h"
#include "engine/step/step_executor.h"
#include "engine/step/step_padding.h"
#include "kernels/backend.h"

namespace latentd {

class ModelExecutor final : public StepExecutor {
 public:
  ModelExecutor(Model& model, Backend& backend) : model_(model), backend_(backend) {}

  void Launch(const BatchInputs& batch, std::span<const SampleRow> samples, std::span<const DraftRow> drafts) override;
  std::span<SampleResult> Collect() override;
  std::span<const Drafts> drafts() const override { return draft_batch_.drafts(); }

 private:
  int PaddedRows() const;
  void LaunchEqualRows(int num_rows);
  void LaunchForward(const Batch& batch);
  void Draft();

  Model& model_;
  Backend& backend_;

  // The step at hand, borrowed.
  const BatchInputs* batch_ = nullptr;
  std::span<const SampleRow> samples_;
  std::span<const DraftRow> draft_rows_;

  StepPadding padding_;
  std::vector<SampleResult> results_;
  Tensor hidden_;  // of the last forward pass that kept them; where it lies never changes
  DraftBatch draft_batch_;
  std::vector<SampleResult> draft_results_;
};

}  // namespace latentd
