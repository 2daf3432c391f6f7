#include "kernels/cpu/cpu_ops.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "kernels/check_shape.h"
#include "kernels/cpu/activation_codes.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/packed_table.h"
#include "kernels/cpu/scratch_bytes.h"
#include "kernels/cpu/verbs.h"

namespace latentd::cpu {
namespace {

template <class Packed>
absl::StatusOr<std::unique_ptr<const Matrix>> Own(absl::StatusOr<Packed> packed) {
  if (!packed.ok()) return packed.status();
  return std::unique_ptr<const Matrix>(std::make_unique<const Packed>(*std::move(packed)));
}

}  // namespace

size_t ScratchBytes(const StepLimits& limits, int num_threads) {
  return ProductInputBytes(limits) + ExpertScratchBytes(limits) + AttentionScratchBytes(limits, num_threads) +
         SampleScratch::Bytes(limits.vocab_size, num_threads);
}

absl::Status CpuOps::Reserve(const StepLimits& limits) {
  if (absl::Status status = inputs_.Reserve(device_, limits); !status.ok()) return status;
  samples_.reserve(static_cast<size_t>(limits.max_logit_rows));
  sample_scratch_.Reserve(limits.vocab_size, pool_.num_threads());
  if (absl::Status status = expert_scratch_.Reserve(device_, limits); !status.ok()) return status;
  return attention_scratch_.Reserve(device_, limits, pool_.num_threads());
}

std::span<const ActivationFormat> CpuOps::activation_formats() const {
  static constexpr ActivationFormat kFormats[] = {ActivationFormat::kF32, ActivationFormat::kBf16,
                                                  ActivationFormat::kE4M3};
  return kFormats;
}

// Under a16 fp32 latents would be the only operand that is not rounded.
std::span<const LatentFormat> CpuOps::latent_formats(ActivationFormat activations) const {
  static constexpr LatentFormat kFormats[] = {LatentFormat::kF32, LatentFormat::kBf16, LatentFormat::kFp8};
  return std::span(kFormats).subspan(activations == ActivationFormat::kBf16 ? 1 : 0);
}

absl::StatusOr<std::unique_ptr<const Matrix>> CpuOps::PackLinear(const MatrixSource& source) {
  return Own(PackedMatrix::Pack(device_, pool_, source, {0, source.outputs, Orientation::kAsStored}));
}

absl::StatusOr<std::unique_ptr<const Matrix>> CpuOps::PackTable(const MatrixSource& source) {
  return Own(PackedTable::Pack(device_, pool_, source));
}

absl::StatusOr<std::unique_ptr<const Matrix>> CpuOps::PackKeyValueUp(const MatrixSource& source,
                                                                     const AttentionShape& shape) {
  return Own(KeyValueUp::Pack(device_, pool_, source, shape));
}

absl::StatusOr<std::unique_ptr<const Experts>> CpuOps::PackExperts(std::span<const ExpertSource> routed,
                                                                   const ExpertSource* shared) {
  return PackedExperts::Pack(device_, pool_, routed, shared);
}

Batch CpuOps::Upload(const BatchInputs& inputs, std::span<const SampleRow> samples) {
  CHECK(samples.empty() || samples.size() == inputs.logit_tokens.size());
  samples_.clear();
  return ViewOf(inputs, samples);
}

void CpuOps::Embed(const Batch& batch, const Matrix& table, Tensor out) {
  CheckShape(out, batch.num_tokens(), table.inputs);
  const auto& rows = static_cast<const PackedTable&>(table);
  pool_.ForEach(out.rows, [&](int i, int) {
    const int32_t id = batch.token_ids[static_cast<size_t>(i)];
    CHECK(id >= 0 && id < rows.outputs);
    rows.DecodeRow(id, out.Row(i));
  });
}

void CpuOps::RmsNorm(Tensor x, const float* weight, float epsilon, const Activation& out) {
  CheckSameShape(x, out.values);
  cpu::RmsNorm(pool_, x, weight, epsilon, out);
}

void CpuOps::AddRmsNorm(Tensor x, Tensor delta, const float* weight, float epsilon, const Activation& out) {
  CheckSameShape(x, delta);
  CheckSameShape(x, out.values);
  cpu::AddRmsNorm(pool_, x, delta, weight, epsilon, out);
}

void CpuOps::Linear(const Activation& x, const Matrix& weight, Tensor out) {
  CheckShape(x.values, out.rows, weight.inputs);
  CheckShape(out, x.values.rows, weight.outputs);
  const auto& packed = static_cast<const PackedMatrix&>(weight);
  cpu::Linear(pool_, inputs_.RowsFor(pool_, x, packed), packed, out);
}

void CpuOps::SwiGlu(Tensor gate, Tensor up, const Activation& out) {
  CheckSameShape(gate, up);
  CheckSameShape(gate, out.values);
  cpu::SwiGlu(pool_, gate, up, out);
}

void CpuOps::RotateQueries(const Batch& batch, const RopeTable& rope, const AttentionShape& shape, Tensor q) {
  CheckShape(q, batch.num_tokens(), shape.num_heads * shape.query_width());
  CHECK_EQ(rope.angles.width, shape.rope_width);
  cpu::RotateQueries(pool_, batch, rope, shape, q);
}

void CpuOps::AppendLatent(Tensor kv, const float* weight, float epsilon, const Batch& batch, const RopeTable& rope,
                          LatentPages pages) {
  CheckShape(kv, batch.num_tokens(), pages.latent_width + pages.rope_width);
  CHECK_EQ(rope.angles.width, pages.rope_width);
  cpu::AppendLatent(pool_, attention_scratch_, kv, weight, epsilon, batch, rope, pages);
}

void CpuOps::AttendLatent(Tensor q, const Matrix& key_value_up, const AttentionShape& shape, float scale,
                          const Batch& batch, LatentPages pages, const Activation& out) {
  CheckShape(q, batch.num_tokens(), shape.num_heads * shape.query_width());
  CheckShape(out.values, batch.num_tokens(), shape.num_heads * shape.value_width);
  CHECK_EQ(key_value_up.outputs, shape.num_heads * (shape.nope_width + shape.value_width));
  CHECK_EQ(key_value_up.inputs, shape.latent_width);
  CHECK_EQ(pages.latent_width, shape.latent_width);
  CHECK_EQ(pages.rope_width, shape.rope_width);
  cpu::AttendLatent(pool_, attention_scratch_, q, key_value_up, shape, scale, batch, pages, out.values);
  FillCodes(pool_, out);
}

void CpuOps::RouteExperts(Tensor logits, const float* bias, const RoutingRule& rule, Routing routing) {
  CheckShape(logits, routing.rows, rule.num_experts);
  CHECK_EQ(routing.experts_per_token, rule.experts_per_token);
  cpu::RouteExperts(pool_, logits, bias, rule, routing);
}

void CpuOps::MixExperts(const Activation& x, const Routing& routing, const Experts& experts, Tensor out) {
  CheckSameShape(x.values, out);
  CHECK_EQ(x.values.rows, routing.rows);
  const auto& packed = static_cast<const PackedExperts&>(experts);
  ExpertInputs inputs{.format = inputs_.format(),
                      .has_codes = x.codes != nullptr,
                      .scale_format = x.scale_format,
                      .num_rows = x.values.rows};
  for (const InputKind kind : {InputKind::kAsTheyAre, InputKind::kBf16, InputKind::kCodes}) {
    if (!packed.Read(kind, inputs.format, inputs.has_codes)) continue;
    inputs.rows[static_cast<size_t>(kind)] = inputs_.Rows(pool_, x, kind);
  }
  cpu::MixExperts(pool_, inputs, routing, packed, expert_scratch_, out);
}

void CpuOps::GatherRows(std::span<const int32_t> rows, Tensor x, Tensor out) {
  CheckShape(out, static_cast<int>(rows.size()), x.width);
  for (int i = 0; i < out.rows; ++i) {
    const int32_t row = rows[static_cast<size_t>(i)];
    CHECK(row >= 0 && row < x.rows);
    std::memcpy(out.Row(i), x.Row(row), static_cast<size_t>(x.width) * sizeof(float));
  }
}

void CpuOps::Sample(const Batch& batch, Tensor logits) {
  CHECK_EQ(static_cast<size_t>(logits.rows), batch.samples.size());
  samples_.resize(batch.samples.size());
  cpu::Sample(pool_, sample_scratch_, logits, batch.samples, samples_);
}

void CpuOps::Collect(std::span<SampleResult> results) {
  CHECK_LE(results.size(), samples_.size());
  std::move(samples_.begin(), samples_.begin() + std::ssize(results), results.begin());
}

void CpuOps::CopyLatents(LatentPages pages, int from, int to, int count) {
  std::memmove(pages.Slot(to), pages.Slot(from), static_cast<size_t>(count) * pages.slot_bytes());
}

}  // namespace latentd::cpu
