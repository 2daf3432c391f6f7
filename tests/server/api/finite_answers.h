// Runs requests to their ends through the engine and looks at what comes out: every number finite, and the whole
// answer no larger than it was announced to be.
#pragma once

#include <memory>
#include <random>
#include <span>
#include <vector>

#include "engine/model/model.h"
#include "engine/step/model_executor.h"
#include "engine/step/step_executor.h"
#include "kernels/backend.h"
#include "server/api/request_validation.h"

namespace latentd {

inline constexpr int kRunVocabulary = 4096;  // of the bundled model
inline constexpr int kRunContext = 256;

// The bundled model.
class BundledModel {
 public:
  BundledModel();
  StepExecutor& executor() { return *executor_; }

 private:
  Backend backend_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<ModelExecutor> executor_;
};

// In the model's place: logits at the edges of the floats, finite all of them. The sampling is the real one.
class EdgeLogits final : public StepExecutor {
 public:
  explicit EdgeLogits(uint32_t seed);

  void Launch(const BatchInputs& batch, std::span<const SampleRow> samples, std::span<const DraftRow> drafts) override;
  std::span<SampleResult> Collect() override { return results_; }

 private:
  Backend backend_;
  std::mt19937 random_;
  std::vector<float> logits_;
  std::vector<SampleResult> results_;
};

// Each with a few tokens at most, whatever it asks for.
void ExpectFiniteAnswers(StepExecutor& executor, std::vector<ValidRequest> requests);

}  // namespace latentd
