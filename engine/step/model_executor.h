// A step on the real thing: the model's forward pass and the sampling of its logits. Engine thread only.
#pragma once

#include <vector>

#include "engine/model/model.h"
#include "engine/step/step_executor.h"
#include "engine/step/step_padding.h"
#include "kernels/backend.h"

namespace latentd {

class ModelExecutor final : public StepExecutor {
 public:
  ModelExecutor(Model& model, Backend& backend) : model_(model), backend_(backend) {}

  void Launch(const BatchInputs& batch, std::span<const SampleRow> samples, std::span<const DraftRow> drafts) override;
  std::span<SampleResult> Collect() override;

 private:
  void LaunchDecode(const BatchInputs& batch, std::span<const SampleRow> samples);
  void LaunchForward(const Batch& batch);

  Model& model_;
  Backend& backend_;
  StepPadding padding_;
  std::vector<SampleResult> results_;
};

}  // namespace latentd
