#include "tests/support/model_session.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>

#include "base/check.h"
#include "tests/support/load_directory.h"
#include "tests/support/or_die.h"

namespace latentd {
ModelSession::ModelSession(const std::filesystem::path& directory, const Options& options)
    : backend_(options.make_backend != nullptr ? options.make_backend() : OrDie(MakeCpuBackend(options.num_threads))) {
  if (options.wrap != nullptr) wrapped_ = options.wrap(*backend_.ops);
  const ModelLimits limits = {.num_blocks = options.num_blocks,
                              .max_tokens = options.max_tokens,
                              .max_rows = options.max_rows,
                              .max_logit_rows = options.max_logit_rows,
                              .max_context = options.max_context,
                              .latents = options.latents,
                              .activations = options.activations,
                              .loads_mtp = options.mtp};
  model_ = LoadDirectory(directory, limits, *backend_.device, ops());
  free_blocks_.resize(static_cast<size_t>(options.num_blocks));
  std::iota(free_blocks_.rbegin(), free_blocks_.rend(), 0);
  if (options.block_seed != 0)
    std::shuffle(free_blocks_.begin(), free_blocks_.end(), std::mt19937_64(options.block_seed));
}

int ModelSession::AddSequence() {
  sequences_.emplace_back();
  return static_cast<int>(sequences_.size()) - 1;
}

int ModelSession::Fork(int sequence) {
  const int fork = AddSequence();
  Sequence& to = sequences_.back();
  const Sequence& from = sequences_[static_cast<size_t>(sequence)];
  to.length = from.length;
  for (const int32_t block : from.blocks) {
    CHECK(!free_blocks_.empty());
    to.blocks.push_back(free_blocks_.back());
    free_blocks_.pop_back();
    model_->CopyLatents({.from = block * kBlockSlots, .to = to.blocks.back() * kBlockSlots, .count = kBlockSlots});
  }
  return fork;
}

void ModelSession::Append(int sequence, BatchRow row, std::span<const int32_t> ids, BatchInputs& batch) {
  std::vector<int32_t>& blocks = sequences_[static_cast<size_t>(sequence)].blocks;
  row.first_token = batch.num_tokens();
  row.num_tokens = static_cast<int>(ids.size());
  row.first_block = static_cast<int>(batch.blocks.size());
  while (static_cast<int>(blocks.size()) * kBlockSlots < row.first_position + row.num_tokens) {
    CHECK(!free_blocks_.empty());
    blocks.push_back(free_blocks_.back());
    free_blocks_.pop_back();
  }
  batch.token_rows.insert(batch.token_rows.end(), ids.size(), static_cast<int32_t>(batch.rows.size()));
  batch.rows.push_back(row);
  batch.blocks.insert(batch.blocks.end(), blocks.begin(), blocks.end());
  int position = row.first_position;
  for (const int32_t id : ids) {
    batch.token_ids.push_back(id);
    batch.positions.push_back(position);
    const int32_t block = blocks[static_cast<size_t>(position / kBlockSlots)];
    batch.slots.push_back(block * kBlockSlots + position % kBlockSlots);
    ++position;
  }
}

LogitRows ModelSession::Rows(Tensor values) const {
  LogitRows result(static_cast<size_t>(values.rows), std::vector<float>(static_cast<size_t>(values.width)));
  for (int r = 0; r < values.rows; ++r) {
    std::vector<float>& row = result[static_cast<size_t>(r)];
    backend_.device->Download(values.Row(r), row.size() * sizeof(float), row.data());
  }
  return result;
}

LogitRows ModelSession::Step(const std::vector<Row>& rows) {
  BatchInputs batch;
  for (const Row& row : rows) {
    const int first_token = batch.num_tokens();
    Sequence& sequence = sequences_[static_cast<size_t>(row.sequence)];
    Append(row.sequence, {.first_position = sequence.length}, row.ids, batch);
    sequence.length += static_cast<int>(row.ids.size());
    for (const int wanted : row.wanted) batch.logit_tokens.push_back(first_token + wanted);
  }
  const HiddenStates kept = model_->can_draft() ? HiddenStates::kOfAll : HiddenStates::kOfLogits;
  const HeadOutput output = model_->Forward(ops().Upload(batch, {}), kept);
  hidden_ = output.hidden;
  return Rows(output.logits);
}

LogitRows ModelSession::Draft(const std::vector<DraftRow>& rows) {
  BatchInputs batch;
  for (const DraftRow& row : rows) {
    const int first_token = batch.num_tokens();
    Append(row.sequence, {.first_position = row.position, .first_key = row.first_key}, row.ids, batch);
    for (int i = 0; i < static_cast<int>(row.ids.size()); ++i) batch.hidden_rows.push_back(row.hidden_row + i);
    for (const int wanted : row.wanted) batch.logit_tokens.push_back(first_token + wanted);
  }
  const HeadOutput output = model_->Draft(ops().Upload(batch, {}), hidden_);
  hidden_ = output.hidden;
  return Rows(output.logits);
}

LogitRows ModelSession::Run(std::span<const int32_t> ids, std::span<const int32_t> positions, int chunk_tokens) {
  const int sequence = AddSequence();
  LogitRows result;
  size_t next_wanted = 0;
  for (size_t begin = 0; begin < ids.size(); begin += static_cast<size_t>(chunk_tokens)) {
    const size_t count = std::min(ids.size() - begin, static_cast<size_t>(chunk_tokens));
    Row row = {.sequence = sequence, .ids = ids.subspan(begin, count), .wanted = {}};
    for (; next_wanted < positions.size() && static_cast<size_t>(positions[next_wanted]) < begin + count;
         ++next_wanted) {
      row.wanted.push_back(positions[next_wanted] - static_cast<int>(begin));
    }
    for (std::vector<float>& logits : Step({row})) result.push_back(std::move(logits));
  }
  Sequence& done = sequences_[static_cast<size_t>(sequence)];
  free_blocks_.insert(free_blocks_.end(), done.blocks.rbegin(), done.blocks.rend());
  done = {};
  return result;
}

std::vector<int32_t> ModelSession::Greedy(std::span<const int32_t> prompt, int num_tokens, int32_t stop_id) {
  const int sequence = AddSequence();
  std::vector<int32_t> output;
  std::vector<int32_t> next(prompt.begin(), prompt.end());
  while (static_cast<int>(output.size()) < num_tokens && (output.empty() || output.back() != stop_id)) {
    const LogitRows logits = Step({{.sequence = sequence, .ids = next, .wanted = {static_cast<int>(next.size()) - 1}}});
    next = {ArgMax(logits.front())};
    output.push_back(next.front());
  }
  return output;
}

int32_t ArgMax(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

std::vector<int32_t> AllPositions(size_t count) {
  std::vector<int32_t> positions(count);
  std::iota(positions.begin(), positions.end(), 0);
  return positions;
}

}  // namespace latentd
