#include "kernels/cpu/cpu_ops.h"

#include <cstring>
#include <utility>

#include "kernels/check.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/packed_table.h"
#include "kernels/cpu/verbs.h"

namespace latentd::cpu {
namespace {

template <class Packed>
absl::StatusOr<std::unique_ptr<const Matrix>> Own(absl::StatusOr<Packed> packed) {
  if (!packed.ok()) return packed.status();
  return std::unique_ptr<const Matrix>(std::make_unique<const Packed>(*std::move(packed)));
}

void CheckShape(const Tensor& tensor, int rows, int width) {
  CHECK_EQ(tensor.rows, rows);
  CHECK_EQ(tensor.width, width);
  CHECK_GE(tensor.stride, width);
}

void CheckSameShape(const Tensor& a, const Tensor& b) { CheckShape(a, b.rows, b.width); }

}  // namespace

absl::Status CpuOps::Reserve(const StepLimits& limits) {
  linear_rows_.reserve(static_cast<size_t>(limits.max_tokens));
  sample_scratch_.Reserve(limits.vocab_size, pool_.num_threads());
  if (absl::Status status = expert_scratch_.Reserve(device_, limits); !status.ok()) return status;
  return attention_scratch_.Reserve(device_, limits.attention, limits.max_tokens, limits.max_context);
}

absl::StatusOr<std::unique_ptr<const Matrix>> CpuOps::PackLinear(const MatrixSource& source) {
  return Own(PackedMatrix::Pack(device_, pool_, source, {0, source.outputs, Orientation::kAsStored}));
}

absl::StatusOr<std::unique_ptr<const Matrix>> CpuOps::PackTable(const MatrixSource& source) {
  return Own(PackedTable::Pack(device_, source));
}

absl::StatusOr<std::unique_ptr<const Matrix>> CpuOps::PackKeyValueUp(const MatrixSource& source,
                                                                     const AttentionShape& shape) {
  return Own(KeyValueUp::Pack(device_, pool_, source, shape));
}

void CpuOps::Embed(std::span<const int32_t> token_ids, const Matrix& table, Tensor out) {
  CheckShape(out, static_cast<int>(token_ids.size()), table.inputs);
  const auto& rows = static_cast<const PackedTable&>(table);
  pool_.ForEach(out.rows, [&](int i, int) {
    const int32_t id = token_ids[static_cast<size_t>(i)];
    CHECK(id >= 0 && id < rows.outputs);
    rows.DecodeRow(id, out.Row(i));
  });
}

void CpuOps::RmsNorm(Tensor x, const float* weight, float epsilon, Tensor out) {
  CheckSameShape(x, out);
  cpu::RmsNorm(pool_, x, weight, epsilon, out);
}

void CpuOps::AddRmsNorm(Tensor x, Tensor delta, const float* weight, float epsilon, Tensor out) {
  CheckSameShape(x, delta);
  CheckSameShape(x, out);
  cpu::AddRmsNorm(pool_, x, delta, weight, epsilon, out);
}

void CpuOps::Linear(Tensor x, const Matrix& weight, Tensor out) {
  CheckShape(x, out.rows, weight.inputs);
  CheckShape(out, x.rows, weight.outputs);
  cpu::Linear(pool_, x, static_cast<const PackedMatrix&>(weight), out, linear_rows_);
}

void CpuOps::SwiGlu(Tensor gate, Tensor up, Tensor out) {
  CheckSameShape(gate, up);
  CheckSameShape(gate, out);
  cpu::SwiGlu(pool_, gate, up, out);
}

void CpuOps::RotateQueries(const BatchInputs& batch, const RopeTable& rope, const AttentionShape& shape, Tensor q) {
  CheckShape(q, batch.num_tokens(), shape.num_heads * shape.query_width());
  CHECK_EQ(rope.angles.width, shape.rope_width);
  cpu::RotateQueries(pool_, batch, rope, shape, q);
}

void CpuOps::AppendLatent(Tensor kv, const float* weight, float epsilon, const BatchInputs& batch,
                          const RopeTable& rope, LatentPages pages) {
  CheckShape(kv, batch.num_tokens(), pages.latent_width + pages.rope_width);
  CHECK_EQ(rope.angles.width, pages.rope_width);
  cpu::AppendLatent(pool_, kv, weight, epsilon, batch, rope, pages);
}

void CpuOps::AttendLatent(Tensor q, const Matrix& key_value_up, const AttentionShape& shape, float scale,
                          const BatchInputs& batch, LatentPages pages, Tensor out) {
  CheckShape(q, batch.num_tokens(), shape.num_heads * shape.query_width());
  CheckShape(out, batch.num_tokens(), shape.num_heads * shape.value_width);
  CHECK_EQ(key_value_up.outputs, shape.num_heads * (shape.nope_width + shape.value_width));
  CHECK_EQ(key_value_up.inputs, shape.latent_width);
  CHECK_EQ(pages.latent_width, shape.latent_width);
  CHECK_EQ(pages.rope_width, shape.rope_width);
  cpu::AttendLatent(pool_, attention_scratch_, q, key_value_up, shape, scale, batch, pages, out);
}

void CpuOps::RouteExperts(Tensor logits, const float* bias, const RoutingRule& rule, Routing routing) {
  CheckShape(logits, routing.rows, rule.num_experts);
  CHECK_EQ(routing.experts_per_token, rule.experts_per_token);
  cpu::RouteExperts(pool_, logits, bias, rule, routing);
}

void CpuOps::MixExperts(Tensor x, const Routing& routing, const ExpertWeights& experts, Tensor out) {
  CheckSameShape(x, out);
  CHECK_EQ(x.rows, routing.rows);
  cpu::MixExperts(pool_, x, routing, experts, expert_scratch_, out);
}

void CpuOps::GatherRows(Tensor x, std::span<const int32_t> rows, Tensor out) {
  CheckShape(out, static_cast<int>(rows.size()), x.width);
  for (int i = 0; i < out.rows; ++i) {
    const int32_t row = rows[static_cast<size_t>(i)];
    CHECK(row >= 0 && row < x.rows);
    std::memcpy(out.Row(i), x.Row(row), static_cast<size_t>(x.width) * sizeof(float));
  }
}

void CpuOps::Sample(Tensor logits, std::span<const SampleRow> rows, std::span<SampleResult> results) {
  CHECK_EQ(static_cast<size_t>(logits.rows), rows.size());
  CHECK_EQ(rows.size(), results.size());
  cpu::Sample(pool_, sample_scratch_, logits, rows, results);
}

void CpuOps::CopyLatents(LatentPages pages, int from, int to, int count) {
  const size_t floats = static_cast<size_t>(count) * static_cast<size_t>(pages.slot_stride);
  std::memmove(pages.Slot(to), pages.Slot(from), floats * sizeof(float));
}

}  // namespace latentd::cpu
