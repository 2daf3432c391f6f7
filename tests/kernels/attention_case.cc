#include "tests/kernels/attention_case.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "tests/kernels/ops/op_backend.h"
#include "tests/kernels/stored_latent.h"
#include "tests/reference/attention_contract.h"
#include "tests/reference/attention_contract16.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

constexpr int kMaxPaddingRows = 8;

int NumBlocks(int tokens) { return (tokens + kBlockSlots - 1) / kBlockSlots; }

}  // namespace

AttentionCase::AttentionCase(const AttentionShape& shape, DType weights, std::vector<int> lengths, std::mt19937& random,
                             LatentFormat latents, ActivationFormat activations)
    : shape(shape),
      scale(1.0f / std::sqrt(static_cast<float>(shape.query_width()))),
      lengths(std::move(lengths)),
      latents(latents),
      activations(activations),
      up_(StoredMatrix::Random(weights, shape.num_heads * (shape.nope_width + shape.value_width), shape.latent_width,
                               random)) {
  for (const int length : this->lengths) {
    auto& rows = latents_.emplace_back();
    auto& queries = queries_.emplace_back();
    for (int t = 0; t < length; ++t) {
      const auto key = RandomValues(static_cast<size_t>(shape.latent_width + shape.rope_width), random);
      rows.push_back(ReadLatent(StoreLatent(key, View(nullptr)).data(), View(nullptr)));
      queries.push_back(RandomValues(static_cast<size_t>(shape.num_heads * shape.query_width()), random));
    }
  }
}

void AttentionCase::ChangeLatents(
    const std::function<void(int sequence, int token, std::vector<float>& latent)>& change) {
  for (size_t s = 0; s < latents_.size(); ++s) {
    for (size_t t = 0; t < latents_[s].size(); ++t) {
      std::vector<float>& latent = latents_[s][t];
      change(static_cast<int>(s), static_cast<int>(t), latent);
      latent = ReadLatent(StoreLatent(latent, View(nullptr)).data(), View(nullptr));
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

std::vector<std::vector<Chunk>> AttentionCase::From(const std::vector<int>& first_keys,
                                                    std::vector<std::vector<Chunk>> steps) {
  for (std::vector<Chunk>& step : steps) {
    for (Chunk& chunk : step) chunk.first_key = first_keys[static_cast<size_t>(chunk.sequence)];
  }
  return steps;
}

StepLimits AttentionCase::Limits() const {
  StepLimits limits = SmallLimits();
  limits.max_tokens = std::accumulate(lengths.begin(), lengths.end(), kMaxPaddingRows);
  limits.max_rows = static_cast<int>(lengths.size()) + kMaxPaddingRows;
  limits.max_context = *std::max_element(lengths.begin(), lengths.end());
  limits.attention = shape;
  limits.latents = latents;
  limits.activations = activations;
  return limits;
}

int AttentionCase::num_blocks() const {
  int count = 1;
  for (const int length : lengths) count += NumBlocks(length);
  return count;
}

AttentionCase::Tables AttentionCase::PlaceBlocks(unsigned seed) const {
  std::vector<int32_t> order(static_cast<size_t>(num_blocks() - 1));
  std::iota(order.begin(), order.end(), 1);
  std::mt19937 random(seed);
  if (seed != 0) std::shuffle(order.begin(), order.end(), random);
  Tables tables;
  for (auto next = order.begin(); const int length : lengths) {
    tables.emplace_back(next, next + NumBlocks(length));
    next += NumBlocks(length);
  }
  return tables;
}

BatchInputs AttentionCase::Batch(const std::vector<Chunk>& chunks, const Tables& tables, int padding_rows) const {
  BatchInputs batch;
  const auto add_row = [&](int first_key, int first_position, std::span<const int32_t> slots,
                           std::span<const int32_t> blocks) {
    const auto row = static_cast<int32_t>(batch.rows.size());
    batch.rows.push_back({.first_token = batch.num_tokens(),
                          .num_tokens = static_cast<int>(slots.size()),
                          .first_position = first_position,
                          .first_block = static_cast<int>(batch.blocks.size()),
                          .first_key = first_key});
    batch.blocks.insert(batch.blocks.end(), blocks.begin(), blocks.end());
    for (const int32_t slot : slots) {
      batch.token_ids.push_back(0);
      batch.positions.push_back(first_position++);
      batch.slots.push_back(slot);
      batch.token_rows.push_back(row);
    }
  };
  for (const Chunk& chunk : chunks) {
    const std::span table = tables[static_cast<size_t>(chunk.sequence)];
    const int end = chunk.first + chunk.count;
    std::vector<int32_t> slots;
    for (int p = chunk.first; p < end; ++p) {
      slots.push_back(table[static_cast<size_t>(p / kBlockSlots)] * kBlockSlots + p % kBlockSlots);
    }
    add_row(chunk.first_key, chunk.first, slots, table.first(static_cast<size_t>(NumBlocks(end))));
  }
  CHECK_LE(padding_rows, kMaxPaddingRows);
  for (int i = 0; i < padding_rows; ++i) add_row(0, 0, {{kNoSlot}}, {{0}});
  return batch;
}

LatentPages AttentionCase::View(std::byte* pages) const {
  return {.bytes = pages,
          .format = latents,
          .num_blocks = num_blocks(),
          .latent_width = shape.latent_width,
          .rope_width = shape.rope_width};
}

std::vector<std::byte> AttentionCase::Pages(const std::vector<Chunk>& chunks, const Tables& tables) const {
  const LatentPages view = View(nullptr);
  constexpr std::byte kNan{0xFF};  // in every format
  std::vector<std::byte> pages(static_cast<size_t>(view.num_blocks) * view.block_bytes(), kNan);
  for (const Chunk& chunk : chunks) {
    const auto s = static_cast<size_t>(chunk.sequence);
    for (auto p = static_cast<size_t>(chunk.first_key); p < static_cast<size_t>(chunk.first + chunk.count); ++p) {
      const auto slot = static_cast<size_t>(tables[s][p / kBlockSlots]) * kBlockSlots + p % kBlockSlots;
      const std::vector<std::byte> stored = StoreLatent(latents_[s][p], view);
      std::copy(stored.begin(), stored.end(), pages.begin() + static_cast<ptrdiff_t>(slot * view.slot_bytes()));
    }
  }
  return pages;
}

void AttentionCase::CopyIntoPlace(Ops& ops, const BatchInputs& batch, LatentPages pages) const {
  pages.num_blocks = 2 * num_blocks();
  for (const BatchRow& row : batch.rows) {
    const int end = row.first_position + row.num_tokens;
    for (int first = 0; first < end; first += kBlockSlots) {
      const int block = batch.blocks[static_cast<size_t>(row.first_block + first / kBlockSlots)];
      ops.CopyLatents(pages, (num_blocks() + block) * kBlockSlots, block * kBlockSlots,
                      std::min(kBlockSlots, end - first));
    }
  }
}

std::vector<std::vector<float>> AttentionCase::Queries(const std::vector<Chunk>& chunks, int padding_rows) const {
  std::vector<std::vector<float>> rows;
  for (const Chunk& chunk : chunks) {
    const auto& queries = queries_[static_cast<size_t>(chunk.sequence)];
    rows.insert(rows.end(), queries.begin() + chunk.first, queries.begin() + chunk.first + chunk.count);
  }
  rows.resize(rows.size() + static_cast<size_t>(padding_rows), queries_[0][0]);
  return rows;
}

AttentionCase::Outputs AttentionCase::Run(Backend& backend, const std::vector<std::vector<Chunk>>& steps,
                                          Placement placement) const {
  const auto up = backend.ops->PackKeyValueUp(up_.Source(), shape).value();
  const Tables tables = PlaceBlocks(placement.block_seed);
  Outputs outputs;
  for (const int length : lengths) outputs.emplace_back(length);
  for (const std::vector<Chunk>& chunks : steps) {
    const BatchInputs batch = Batch(chunks, tables, placement.padding_rows);
    std::vector<std::byte> stored = Pages(chunks, tables);
    if (placement.is_copied) stored.insert(stored.begin(), stored.size(), std::byte{0xFF});
    const DeviceValues<std::byte> pages(backend, stored);
    if (placement.is_copied) CopyIntoPlace(*backend.ops, batch, View(pages.get()));
    const DeviceRows q(backend, Queries(chunks, placement.padding_rows));
    const DeviceRows out(backend, batch.num_tokens(), shape.num_heads * shape.value_width);
    backend.ops->AttendLatent(q.tensor(), *up, shape, scale, backend.ops->Upload(batch, {}), View(pages.get()),
                              out.tensor());
    EXPECT_TRUE(out.GapsUntouched());
    std::vector<std::vector<float>> rows = out.Get();
    auto next = rows.begin();
    for (const Chunk& chunk : chunks) {
      const auto to = outputs[static_cast<size_t>(chunk.sequence)].begin() + chunk.first;
      std::move(next, next + chunk.count, to);
      next += chunk.count;
    }
  }
  return outputs;
}

reference::Vector AttentionCase::Reference(int sequence, int token, int first_key) const {
  const auto s = static_cast<size_t>(sequence);
  const std::vector<float>& query = queries_[s][static_cast<size_t>(token)];
  const reference::Rows up = up_.Reference();
  const auto first = static_cast<size_t>(first_key);
  const auto seen = std::span(latents_[s]).first(static_cast<size_t>(token + 1)).subspan(first);
  reference::Vector all;
  for (int head = 0; head < shape.num_heads; ++head) {
    const auto q = std::span(query).subspan(static_cast<size_t>(head * shape.query_width()),
                                            static_cast<size_t>(shape.query_width()));
    const auto first_row = static_cast<size_t>(head * (shape.nope_width + shape.value_width));
    const auto out = reference::AttendHead(q, up, first_row, shape, double{scale}, seen);
    all.insert(all.end(), out.begin(), out.end());
  }
  return all;
}

std::vector<float> AttentionCase::Contract(int sequence, int token, int first_key) const {
  const bool is_a32 = activations == ActivationFormat::kF32;
  const auto product = is_a32 ? contract::Linear : contract::Linear16;
  const auto mean_latent = is_a32 ? contract::MeanLatent : contract::MeanLatent16;
  const auto s = static_cast<size_t>(sequence);
  const std::vector<float>& query = queries_[s][static_cast<size_t>(token)];
  const contract::ContextKeys keys = {std::span(latents_[s]).first(static_cast<size_t>(token + 1)),
                                      static_cast<size_t>(first_key)};
  std::vector<float> all;
  for (int head = 0; head < shape.num_heads; ++head) {
    const int first_row = head * (shape.nope_width + shape.value_width);
    const float* q = query.data() + head * shape.query_width();
    std::vector<float> absorbed = product(up_.ContractColumns(first_row, shape.nope_width), q);
    absorbed.insert(absorbed.end(), q + shape.nope_width, q + shape.query_width());
    const std::vector<float> latent = mean_latent(absorbed, keys, scale, static_cast<size_t>(shape.latent_width));
    const auto out = product(up_.ContractRows(first_row + shape.nope_width, shape.value_width), latent.data());
    all.insert(all.end(), out.begin(), out.end());
  }
  return all;
}

testing::AssertionResult SameOutputs(const AttentionCase::Outputs& a, const AttentionCase::Outputs& b) {
  int compared = 0;
  for (size_t s = 0; s < b.size(); ++s) {
    for (size_t t = 0; t < b[s].size(); ++t) {
      if (a[s][t].empty()) continue;
      ++compared;
      if (testing::AssertionResult same = SameBytes(std::span(a[s][t]), std::span(b[s][t])); !same) {
        return same << ", sequence " << s << " token " << t;
      }
    }
  }
  return compared > 0 ? testing::AssertionSuccess() : testing::AssertionFailure() << "nothing to compare";
}

}  // namespace latentd
