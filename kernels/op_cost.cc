#include "kernels/op_cost.h"

#include <algorithm>
#include <utility>

namespace latentd {
namespace {

// Positions whose latents a step reads.
double DistinctKeys(const Batch& batch) {
  std::vector<std::pair<int32_t, int>> blocks;  // with the keys in them
  for (const BatchRow& row : batch.rows) {
    const int keys = row.first_position + row.num_tokens;
    for (int first = row.first_key / kBlockSlots * kBlockSlots; first < keys; first += kBlockSlots) {
      const int32_t block = batch.blocks[static_cast<size_t>(row.first_block + first / kBlockSlots)];
      blocks.emplace_back(block, std::min(kBlockSlots, keys - first) - std::max(0, row.first_key - first));
    }
  }
  std::sort(blocks.begin(), blocks.end());
  double keys = 0.0;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const bool is_last = i + 1 == blocks.size() || blocks[i + 1].first != blocks[i].first;
    if (is_last) keys += blocks[i].second;  // the most of those that share it
  }
  return keys;
}

}  // namespace

WeightSize WeightSizeOf(const MatrixSource& source) {
  const auto outputs = static_cast<size_t>(source.outputs), inputs = static_cast<size_t>(source.inputs);
  size_t bytes = outputs * RowBytes(source.dtype, source.inputs) + source.scales.size() * sizeof(float);
  if (source.dtype == DType::kInt4) bytes += outputs * ((inputs + kInt4Group - 1) / kInt4Group) * sizeof(uint16_t);
  WeightSize size = {.bytes = static_cast<double>(bytes), .values = static_cast<double>(outputs * inputs)};
  if (source.keeps_inputs) return size;
  if (source.dtype == DType::kBf16) size.bf16_values = size.values;
  if (source.dtype == DType::kE4M3) size.e4m3_values = size.values;
  return size;
}

WeightSize WeightSizeOf(const ExpertSource& source) {
  WeightSize size = WeightSizeOf(source.gate);
  size += WeightSizeOf(source.up);
  size += WeightSizeOf(source.down);
  return size;
}

OpCost LinearCost(const WeightSize& weight, int rows) {
  return {.bytes = weight.bytes,
          .flops = 2.0 * rows * weight.values,
          .bf16_flops = 2.0 * rows * weight.bf16_values,
          .e4m3_flops = 2.0 * rows * weight.e4m3_values};
}

OpCost MixCost(const ExpertSizes& experts, const Routing& routing) {
  OpCost cost = LinearCost(experts.shared, routing.rows);
  std::vector<int> rows_of(experts.routed.size());
  const auto num_choices = static_cast<size_t>(routing.rows) * static_cast<size_t>(routing.experts_per_token);
  for (const int32_t expert : std::span(routing.experts, num_choices)) ++rows_of[static_cast<size_t>(expert)];
  for (size_t expert = 0; expert < rows_of.size(); ++expert) {
    if (rows_of[expert] > 0) cost += LinearCost(experts.routed[expert], rows_of[expert]);
  }
  return cost;
}

OpCost AttendCost(const WeightSize& key_value_up, const AttentionShape& shape, const Batch& batch,
                  const LatentPages& pages) {
  OpCost cost = LinearCost(key_value_up, batch.num_tokens());
  double seen_keys = 0.0;
  for (const BatchRow& row : batch.rows) {
    seen_keys += row.num_tokens * (row.first_position - row.first_key + (row.num_tokens + 1) / 2.0);
  }
  cost.flops += 2.0 * seen_keys * shape.num_heads * (2.0 * shape.latent_width + shape.rope_width);
  cost.bytes += DistinctKeys(batch) * static_cast<double>(pages.slot_bytes());
  return cost;
}

OpCost ElementCost(double values) { return {.bytes = values * sizeof(float), .flops = 0.0}; }

}  // namespace latentd
