#include "tests/kernels/attention_case.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>

#include "tests/reference/attention_contract.h"

namespace latentd {
namespace {

int NumBlocks(int tokens) { return (tokens + kBlockSlots - 1) / kBlockSlots; }

}  // namespace

AttentionCase::AttentionCase(const AttentionShape& shape, DType weights, std::vector<int> lengths, std::mt19937& random)
    : shape(shape),
      scale(1.0f / std::sqrt(static_cast<float>(shape.query_width()))),
      lengths(std::move(lengths)),
      up_(StoredMatrix::Random(weights, shape.num_heads * (shape.nope_width + shape.value_width), shape.latent_width,
                               random)) {
  for (const int length : this->lengths) {
    auto& rows = latents_.emplace_back();
    auto& queries = queries_.emplace_back();
    for (int t = 0; t < length; ++t) {
      rows.push_back(RandomValues(static_cast<size_t>(shape.latent_width + shape.rope_width), random));
      queries.push_back(RandomValues(static_cast<size_t>(shape.num_heads * shape.query_width()), random));
    }
  }
}

std::vector<std::vector<Chunk>> AttentionCase::Whole() const {
  std::vector<Chunk> step;
  for (int s = 0; s < static_cast<int>(lengths.size()); ++s) step.push_back({s, 0, lengths[static_cast<size_t>(s)]});
  return {step};
}

std::vector<std::vector<Chunk>> AttentionCase::InChunksOf(int size) const {
  std::vector<std::vector<Chunk>> steps;
  for (int s = 0; s < static_cast<int>(lengths.size()); ++s) {
    const int length = lengths[static_cast<size_t>(s)];
    for (int first = 0; first < length; first += size) steps.push_back({{s, first, std::min(size, length - first)}});
  }
  return steps;
}

std::vector<std::vector<Chunk>> AttentionCase::Tails(int count) const {
  std::vector<std::vector<Chunk>> steps = Whole();
  for (Chunk& chunk : steps[0]) {
    chunk.first = std::max(0, chunk.count - count);
    chunk.count -= chunk.first;
  }
  return steps;
}

Backend AttentionCase::MakeBackend(int num_threads) const {
  Backend backend = MakeCpuBackend(num_threads).value();
  StepLimits limits;
  limits.max_tokens = std::accumulate(lengths.begin(), lengths.end(), 0);
  limits.max_context = *std::max_element(lengths.begin(), lengths.end());
  limits.max_linear_inputs = limits.vocab_size = limits.experts_per_token = limits.expert_width = 1;
  limits.attention = shape;
  EXPECT_TRUE(backend.ops->Reserve(limits).ok());
  return backend;
}

BatchInputs AttentionCase::Batch(const std::vector<Chunk>& chunks,
                                 const std::vector<std::vector<int32_t>>& tables) const {
  BatchInputs batch;
  for (const Chunk& chunk : chunks) {
    const std::vector<int32_t>& table = tables[static_cast<size_t>(chunk.sequence)];
    batch.rows.push_back({.first_token = batch.num_tokens(),
                          .num_tokens = chunk.count,
                          .first_position = chunk.first,
                          .first_block = static_cast<int>(batch.blocks.size())});
    batch.blocks.insert(batch.blocks.end(), table.begin(), table.begin() + NumBlocks(chunk.first + chunk.count));
    for (int p = chunk.first; p < chunk.first + chunk.count; ++p) {
      batch.token_ids.push_back(0);
      batch.positions.push_back(p);
      batch.slots.push_back(table[static_cast<size_t>(p / kBlockSlots)] * kBlockSlots + p % kBlockSlots);
    }
  }
  return batch;
}

AttentionCase::Outputs AttentionCase::Run(Ops& ops, const std::vector<std::vector<Chunk>>& steps,
                                          unsigned block_seed) const {
  const auto up = ops.PackKeyValueUp(up_.Source(), shape).value();
  std::vector<std::vector<int32_t>> tables;
  int num_blocks = 0;
  for (const int length : lengths) num_blocks += NumBlocks(length);
  std::vector<int32_t> order(static_cast<size_t>(num_blocks));
  std::iota(order.begin(), order.end(), 0);
  std::mt19937 random(block_seed);
  if (block_seed != 0) std::shuffle(order.begin(), order.end(), random);
  for (auto next = order.begin(); const int length : lengths) {
    tables.emplace_back(next, next + NumBlocks(length));
    next += NumBlocks(length);
  }
  const int width = shape.latent_width + shape.rope_width, stride = (width + 15) / 16 * 16;

  Outputs outputs;
  for (const int length : lengths) outputs.emplace_back(length);
  for (const std::vector<Chunk>& chunks : steps) {
    std::vector<float> memory(static_cast<size_t>(num_blocks * kBlockSlots * stride),
                              std::numeric_limits<float>::quiet_NaN());
    const LatentPages pages = {memory.data(), DType::kF32, num_blocks, shape.latent_width, shape.rope_width, stride};
    const BatchInputs batch = Batch(chunks, tables);
    OwnedTensor q(batch.num_tokens(), shape.num_heads * shape.query_width());
    OwnedTensor out(batch.num_tokens(), shape.num_heads * shape.value_width);
    int token = 0;
    for (const Chunk& chunk : chunks) {
      const auto s = static_cast<size_t>(chunk.sequence);
      for (int p = 0; p < chunk.first + chunk.count; ++p) {
        float* slot =
            pages.Slot<float>(tables[s][static_cast<size_t>(p / kBlockSlots)] * kBlockSlots + p % kBlockSlots);
        std::fill(std::copy_n(latents_[s][static_cast<size_t>(p)].begin(), width, slot), slot + stride, 0.0f);
        if (p < chunk.first) continue;
        std::copy_n(queries_[s][static_cast<size_t>(p)].begin(), q.tensor().width, q.tensor().Row(token++));
      }
    }
    ops.AttendLatent(q.tensor(), *up, shape, scale, ops.Upload(batch, {}), pages, out.tensor());
    EXPECT_TRUE(out.GapsUntouched());
    token = 0;
    for (const Chunk& chunk : chunks) {
      for (int p = chunk.first; p < chunk.first + chunk.count; ++p) {
        outputs[static_cast<size_t>(chunk.sequence)][static_cast<size_t>(p)] = out.Row(token++);
      }
    }
  }
  return outputs;
}

reference::Vector AttentionCase::Reference(int sequence, int token) const {
  const auto s = static_cast<size_t>(sequence);
  const std::vector<float>& query = queries_[s][static_cast<size_t>(token)];
  const reference::Rows up = up_.Reference();
  reference::Vector all;
  for (int head = 0; head < shape.num_heads; ++head) {
    const auto q = std::span(query).subspan(static_cast<size_t>(head * shape.query_width()),
                                            static_cast<size_t>(shape.query_width()));
    const auto first_row = static_cast<size_t>(head * (shape.nope_width + shape.value_width));
    const auto out = reference::AttendHead(q, up, first_row, shape, double{scale}, latents_[s], token + 1);
    all.insert(all.end(), out.begin(), out.end());
  }
  return all;
}

std::vector<float> AttentionCase::Contract(int sequence, int token) const {
  const auto s = static_cast<size_t>(sequence);
  const std::vector<float>& query = queries_[s][static_cast<size_t>(token)];
  std::vector<float> all;
  for (int head = 0; head < shape.num_heads; ++head) {
    const int first_row = head * (shape.nope_width + shape.value_width);
    const float* q = query.data() + head * shape.query_width();
    std::vector<float> absorbed = contract::Linear(up_.ContractColumns(first_row, shape.nope_width), q);
    absorbed.insert(absorbed.end(), q + shape.nope_width, q + shape.query_width());
    const std::vector<float> latent =
        contract::MeanLatent(absorbed, std::span(latents_[s]).first(static_cast<size_t>(token + 1)), scale,
                             static_cast<size_t>(shape.latent_width));
    const auto out = contract::Linear(up_.ContractRows(first_row + shape.nope_width, shape.value_width), latent.data());
    all.insert(all.end(), out.begin(), out.end());
  }
  return all;
}

}  // namespace latentd
