// The verbs on a Hopper GPU: checks the shapes, owns the scratch memory, and launches the kernels. Everything a launch
// depends on beside the shapes lies in the device's memory, so that launches can be recorded and replayed.
#pragma once

#include <memory>
#include <span>

#include "kernels/cuda/attend.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/sampler.h"
#include "kernels/cuda/step_inputs.h"
#include "kernels/ops.h"

namespace latentd::cuda {

class CudaOps final : public Ops {
 public:
  explicit CudaOps(CudaDevice& device) : device_(device) {}

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
  cudaStream_t stream() const { return device_.stream(); }

  CudaDevice& device_;
  StepInputs inputs_;
  Sampler sampler_;
  DeviceBuffer fragments_;  // of a Linear's activations
  DeviceBuffer expert_memory_;
  ExpertScratch expert_scratch_;
  AttendPlan attend_plan_;
  DeviceBuffer attend_scratch_;
};

}  // namespace latentd::cuda
