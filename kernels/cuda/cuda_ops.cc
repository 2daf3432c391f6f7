#include "kernels/cuda/cuda_ops.h"

#include <utility>

#include <absl/status/status.h>

#include "base/check.h"
#include "kernels/check_shape.h"
#include "kernels/cuda/device_weights.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/route_experts.h"
#include "kernels/cuda/row_kernels.h"

namespace latentd::cuda {
namespace {

MatrixView ViewOf(const Matrix& matrix) { return static_cast<const DeviceMatrix&>(matrix).view(); }

absl::Status Allocate(Device& device, size_t bytes, DeviceBuffer* memory) {
  absl::StatusOr<DeviceBuffer> allocated = device.Allocate(bytes);
  if (allocated.ok()) *memory = *std::move(allocated);
  return allocated.status();
}

// Linear has no INT4 kernel here yet.
absl::Status CheckWeightType(const MatrixSource& source) {
  if (source.dtype != DType::kInt4) return absl::OkStatus();
  return absl::UnimplementedError(
      "expected FP8, BF16 or F32 weights, found INT4, which is not computed on a GPU yet; serve the model with "
      "device=cpu, or dequantize it with latent-convert");
}

absl::Status CheckWeightType(const ExpertSource& expert) {
  absl::Status status = CheckWeightType(expert.gate);
  if (status.ok()) status = CheckWeightType(expert.up);
  return status.ok() ? CheckWeightType(expert.down) : status;
}

}  // namespace

absl::Status CudaOps::Reserve(const StepLimits& limits) {
  if (absl::Status supported = SupportsAttention(limits.attention); !supported.ok()) return supported;
  CheckCuda(PrepareAttendLatent(), "PrepareAttendLatent");
  if (absl::Status status = inputs_.Reserve(device_, limits); !status.ok()) return status;
  if (absl::Status status = sampler_.Reserve(device_, limits); !status.ok()) return status;
  const size_t fragment_bytes = FragmentBytes(limits.max_tokens, limits.max_linear_inputs);
  if (absl::Status status = Allocate(device_, fragment_bytes, &fragments_); !status.ok()) return status;
  const ExpertLimits experts{.max_tokens = limits.max_tokens,
                             .experts_per_token = limits.experts_per_token,
                             .hidden = limits.hidden_size,
                             .width = limits.expert_width,
                             .shared_width = limits.shared_expert_width,
                             .activation_codes = limits.activations == ActivationFormat::kE4M3};
  if (absl::Status status = Allocate(device_, ExpertScratchBytes(experts), &expert_memory_); !status.ok())
    return status;
  expert_scratch_ = ExpertScratchAt(expert_memory_.As<std::byte>(), experts);
  attend_plan_ = AttendPlan(limits.attention, limits.max_tokens, limits.max_context);
  return Allocate(device_, attend_plan_.bytes(), &attend_scratch_);
}

std::span<const ActivationFormat> CudaOps::activation_formats() const {
  static constexpr ActivationFormat kFormats[] = {ActivationFormat::kE4M3, ActivationFormat::kF32};
  return kFormats;
}

std::span<const LatentFormat> CudaOps::latent_formats(ActivationFormat) const {
  static constexpr LatentFormat kFormats[] = {LatentFormat::kBf16, LatentFormat::kFp8};
  return kFormats;
}

absl::StatusOr<std::unique_ptr<const Matrix>> CudaOps::PackLinear(const MatrixSource& source) {
  if (absl::Status status = CheckWeightType(source); !status.ok()) return status;
  return DeviceMatrix::Pack(device_, source);
}

absl::StatusOr<std::unique_ptr<const Matrix>> CudaOps::PackTable(const MatrixSource& source) {
  return DeviceMatrix::Pack(device_, source);
}

absl::StatusOr<std::unique_ptr<const Matrix>> CudaOps::PackKeyValueUp(const MatrixSource& source,
                                                                      const AttentionShape& shape) {
  return DeviceKeyValueUp::Pack(device_, source, shape);
}

absl::StatusOr<std::unique_ptr<const Experts>> CudaOps::PackExperts(std::span<const ExpertSource> routed,
                                                                    const ExpertSource* shared) {
  for (const ExpertSource& expert : routed) {
    if (absl::Status status = CheckWeightType(expert); !status.ok()) return status;
  }
  if (shared != nullptr) {
    if (absl::Status status = CheckWeightType(*shared); !status.ok()) return status;
  }
  return DeviceExperts::Pack(device_, routed, shared);
}

Batch CudaOps::Upload(const BatchInputs& inputs, std::span<const SampleRow> samples) {
  CHECK(samples.empty() || samples.size() == inputs.logit_tokens.size());
  sampler_.Begin(samples);
  return inputs_.Upload(device_, inputs, samples);
}

void CudaOps::Embed(const Batch& batch, const Matrix& table, Tensor out) {
  CheckShape(out, batch.num_tokens(), table.inputs);
  cuda::Embed(stream(), batch.token_ids.data(), ViewOf(table), out);
}

void CudaOps::RmsNorm(Tensor x, const float* weight, float epsilon, const Activation& out) {
  CheckSameShape(x, out.values);
  cuda::RmsNorm(stream(), x, weight, epsilon, out);
}

void CudaOps::AddRmsNorm(Tensor x, Tensor delta, const float* weight, float epsilon, const Activation& out) {
  CheckSameShape(x, delta);
  CheckSameShape(x, out.values);
  cuda::AddRmsNorm(stream(), x, delta, weight, epsilon, out);
}

void CudaOps::Linear(const Activation& x, const Matrix& weight, Tensor out) {
  CheckShape(x.values, out.rows, weight.inputs);
  CheckShape(out, x.values.rows, weight.outputs);
  cuda::Linear(stream(), x, ViewOf(weight), fragments_.As<std::byte>(), out);
}

void CudaOps::SwiGlu(Tensor gate, Tensor up, const Activation& out) {
  CheckSameShape(gate, up);
  CheckSameShape(gate, out.values);
  cuda::SwiGlu(stream(), gate, up, out);
}

void CudaOps::RotateQueries(const Batch& batch, const RopeTable& rope, const AttentionShape& shape, Tensor q) {
  CheckShape(q, batch.num_tokens(), shape.num_heads * shape.query_width());
  CHECK_EQ(rope.angles.width, shape.rope_width);
  cuda::RotateQueries(stream(), batch.positions.data(), rope, shape, q);
}

void CudaOps::AppendLatent(Tensor kv, const float* weight, float epsilon, const Batch& batch, const RopeTable& rope,
                           LatentPages pages) {
  CheckShape(kv, batch.num_tokens(), pages.latent_width + pages.rope_width);
  CHECK_EQ(rope.angles.width, pages.rope_width);
  cuda::AppendLatent(stream(), kv, weight, epsilon, batch.positions.data(), batch.slots.data(), rope, pages);
}

void CudaOps::AttendLatent(Tensor q, const Matrix& key_value_up, const AttentionShape& shape, float scale,
                           const Batch& batch, LatentPages pages, const Activation& out) {
  CheckShape(q, batch.num_tokens(), shape.num_heads * shape.query_width());
  CheckShape(out.values, batch.num_tokens(), shape.num_heads * shape.value_width);
  CHECK_EQ(pages.latent_width, shape.latent_width);
  CHECK_EQ(pages.rope_width, shape.rope_width);
  const AttendCall call{.q = q,
                        .out = out.values,
                        .up = static_cast<const DeviceKeyValueUp&>(key_value_up).matrices(),
                        .shape = shape,
                        .scale = scale,
                        .batch = batch,
                        .pages = pages,
                        .plan = attend_plan_,
                        .scratch = attend_scratch_.As<std::byte>()};
  cuda::AttendLatent(stream(), call);
  FillCodes(stream(), out);
}

void CudaOps::RouteExperts(Tensor logits, const float* bias, const RoutingRule& rule, Routing routing) {
  CheckShape(logits, routing.rows, rule.num_experts);
  CHECK_EQ(routing.experts_per_token, rule.experts_per_token);
  cuda::RouteExperts(stream(), logits, bias, rule, routing);
}

void CudaOps::MixExperts(const Activation& x, const Routing& routing, const Experts& experts, Tensor out) {
  CheckSameShape(x.values, out);
  CHECK_EQ(x.values.rows, routing.rows);
  cuda::MixExperts(stream(), x, routing, static_cast<const DeviceExperts&>(experts).view(), expert_scratch_, out);
}

void CudaOps::GatherRows(std::span<const int32_t> rows, Tensor x, Tensor out) {
  CheckShape(out, static_cast<int>(rows.size()), x.width);
  cuda::GatherRows(stream(), x, rows.data(), out);
}

void CudaOps::Sample(const Batch& batch, Tensor logits) {
  CHECK_EQ(static_cast<size_t>(logits.rows), batch.samples.size());
  sampler_.Launch(device_, logits);
}

void CudaOps::Collect(std::span<SampleResult> results) { sampler_.Collect(device_, results); }

void CudaOps::CopyLatents(LatentPages pages, int from, int to, int count) {
  cuda::CopyLatents(stream(), pages, from, to, count);
}

}  // namespace latentd::cuda
