// The verbs on the CPU: checks the shapes, owns the threads and the scratch memory, and calls the kernels.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/attention_scratch.h"
#include "kernels/cpu/experts.h"
#include "kernels/cpu/product_inputs.h"
#include "kernels/cpu/sample_scratch.h"
#include "kernels/device.h"
#include "kernels/ops.h"

namespace latentd::cpu {

class CpuOps final : public Ops {
 public:
  CpuOps(Device& device, int num_threads, std::vector<int> processors = {})
      : device_(device), pool_(num_threads, std::move(processors)) {}

  absl::Status Reserve(const StepLimits& limits) override;
  std::span<const ActivationFormat> activation_formats() const override;
  std::span<const LatentFormat> latent_formats(ActivationFormat activations) const override;
  absl::StatusOr<std::unique_ptr<const Matrix>> PackLinear(const MatrixSource& source) override;
  absl::StatusOr<std::unique_ptr<const Matrix>> PackTable(const MatrixSource& source) override;
  absl::StatusOr<std::unique_ptr<const Matrix>> PackKeyValueUp(const MatrixSource& source,
                                                               const AttentionShape& shape) override;
  absl::StatusOr<std::unique_ptr<const Experts>> PackExperts(std::span<const ExpertSource> routed,
                                                             const ExpertSource* shared) override;

  Batch Upload(const BatchInputs& inputs, std::span<const SampleRow> samples) override;
  void Embed(const Batch& batch, const Matrix& table, Tensor out) override;
  void RmsNorm(Tensor x, const float* weight, float epsilon, const Activation& out) override;
  void AddRmsNorm(Tensor x, Tensor delta, const float* weight, float epsilon, const Activation& out) override;
  void Linear(const Activation& x, const Matrix& weight, Tensor out) override;
  void SwiGlu(Tensor gate, Tensor up, const Activation& out) override;
  void RotateQueries(const Batch& batch, const RopeTable& rope, const AttentionShape& shape, Tensor q) override;
  void AppendLatent(Tensor kv, const float* weight, float epsilon, const Batch& batch, const RopeTable& rope,
                    LatentPages pages) override;
  void AttendLatent(Tensor q, const Matrix& key_value_up, const AttentionShape& shape, float scale, const Batch& batch,
                    LatentPages pages, const Activation& out) override;
  void RouteExperts(Tensor logits, const float* bias, const RoutingRule& rule, Routing routing) override;
  void MixExperts(const Activation& x, const Routing& routing, const Experts& experts, Tensor out) override;
  void GatherRows(std::span<const int32_t> rows, Tensor x, Tensor out) override;
  void Sample(const Batch& batch, Tensor logits) override;
  void Collect(std::span<SampleResult> results) override;
  void CopyLatents(LatentPages pages, int from, int to, int count) override;

 private:
  Device& device_;
  ThreadPool pool_;
  ProductInputs inputs_;
  ExpertScratch expert_scratch_;
  AttentionScratch attention_scratch_;
  SampleScratch sample_scratch_;
  std::vector<SampleResult> samples_;  // of the step at hand
};

}  // namespace latentd::cpu
