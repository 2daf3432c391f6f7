#include <algorithm>
#include <utility>

#include "base/check.h"
#include "kernels/cpu/experts.h"
#include "kernels/cpu/pack_row_tile.h"
#include "kernels/cpu/scratch_bytes.h"
#include "kernels/rounding.h"

namespace latentd::cpu {
namespace {

// Whole panels are stored.
size_t HiddenStride(int width) { return static_cast<size_t>(RowStride(RoundUp(width, kPanelOutputs))); }

// So many rows of all jobs: a job of 17 takes two tiles.
size_t MostTileBytes(size_t rows, int inputs) { return rows * 2 * RowTileValues(1, inputs) * sizeof(uint16_t); }

size_t NumCodeGroups(int width) { return static_cast<size_t>(CeilDiv(width, kCodeGroup)); }

// Bytes of the buffers; 0: there is none.
struct BufferBytes {
  size_t hidden_values = 0;
  size_t x_tiles = 0;
  size_t hidden_codes = 0;
};

BufferBytes BytesFor(const StepLimits& limits, size_t max_wave_bytes) {
  const auto tokens = static_cast<size_t>(limits.max_tokens);
  const auto chosen = static_cast<size_t>(limits.experts_per_token);
  const bool may_have_codes = limits.activations == ActivationFormat::kE4M3;
  const auto floats = [=](int width) { return HiddenStride(width) + (may_have_codes ? NumCodeGroups(width) : 0); };
  const size_t row_floats = chosen * floats(limits.expert_width) + floats(limits.shared_expert_width);
  BufferBytes bytes = {.hidden_values = tokens * row_floats * sizeof(float)};
  if (TilesFor(limits) == nullptr) return bytes;
  const size_t row_tile_bytes = RowTileValues(kTileRows, limits.hidden_size) * sizeof(uint16_t);
  const size_t most = MostTileBytes(tokens * (chosen + 1), limits.hidden_size);
  bytes.x_tiles = std::max(std::min(max_wave_bytes, most), row_tile_bytes);
  if (!may_have_codes) return bytes;
  bytes.hidden_codes =
      MostTileBytes(tokens * chosen, limits.expert_width) + MostTileBytes(tokens, limits.shared_expert_width);
  return bytes;
}

}  // namespace

size_t ExpertScratchBytes(const StepLimits& limits) {
  const BufferBytes bytes = BytesFor(limits, ExpertScratch::kMaxWaveBytes);
  return bytes.hidden_values + bytes.x_tiles + bytes.hidden_codes;
}

absl::Status ExpertScratch::Reserve(Device& device, const StepLimits& limits, size_t max_wave_bytes) {
  const auto tokens = static_cast<size_t>(limits.max_tokens);
  const auto chosen = static_cast<size_t>(limits.experts_per_token);
  const size_t entries = tokens * (chosen + 1);
  choices_.reserve(entries);
  jobs_.reserve(entries);
  const bool may_have_codes = limits.activations == ActivationFormat::kE4M3;
  for (Addresses& rows : x_) rows.values.reserve(entries);
  x_[static_cast<size_t>(InputKind::kCodes)].scales.reserve(may_have_codes ? entries : 0);
  hidden_.reserve(entries);
  hidden_scales_.reserve(entries);
  pieces_.reserve(entries);
  tile_product_ = TilesFor(limits);
  const BufferBytes bytes = BytesFor(limits, max_wave_bytes);
  for (const auto& [buffer, size] :
       {std::pair(&hidden_values_, bytes.hidden_values), std::pair(&x_tiles_, bytes.x_tiles),
        std::pair(&hidden_codes_, bytes.hidden_codes)}) {
    if (size == 0) continue;
    absl::StatusOr<DeviceBuffer> memory = device.Allocate(size);
    if (!memory.ok()) return memory.status();
    *buffer = *std::move(memory);
  }
  return absl::OkStatus();
}

void ExpertScratch::Plan(const ExpertInputs& x, const Routing& routing, const PackedExperts& experts) {
  choices_.clear();
  for (int row = 0; row < routing.rows; ++row) {
    for (int i = row * routing.experts_per_token; i < (row + 1) * routing.experts_per_token; ++i) {
      CHECK_GE(routing.experts[i], 0);
      CHECK_LT(routing.experts[i], static_cast<int>(experts.routed.size()));
      choices_.push_back({routing.experts[i], row, routing.weights[i]});
    }
  }
  std::sort(choices_.begin(), choices_.end(), [](const Choice& a, const Choice& b) {
    return a.expert != b.expert ? a.expert < b.expert : a.row < b.row;
  });
  const int num_routed = static_cast<int>(choices_.size());
  if (experts.shared.gate != nullptr)
    for (int row = 0; row < x.num_rows; ++row) choices_.push_back({-1, row, 1.0f});

  TakeRows(x);
  jobs_.clear();
  hidden_.clear();
  hidden_scales_.clear();
  hidden_floats_ = 0;
  hidden_code_values_ = 0;
  num_row_tiles_ = 0;
  next_job_ = 0;
  next_row_ = 0;
  for (int first = 0, end; first < num_routed; first = end) {
    const int32_t expert = choices_[static_cast<size_t>(first)].expert;
    for (end = first; end < num_routed && choices_[static_cast<size_t>(end)].expert == expert;) ++end;
    AddJob(experts.routed[static_cast<size_t>(expert)], first, end - first);
  }
  if (experts.shared.gate != nullptr) AddJob(experts.shared, num_routed, x.num_rows);
}

void ExpertScratch::TakeRows(const ExpertInputs& x) {
  inputs_ = x;
  for (size_t kind = 0; kind < kNumInputKinds; ++kind) {
    Addresses& rows = x_[kind];
    rows.values.clear();
    rows.scales.clear();
    const ProductRows& from = x.rows[kind];
    for (const Choice& choice : choices_) {
      if (from.values != nullptr) rows.values.push_back(from.values[choice.row]);
      if (from.scales != nullptr) rows.scales.push_back(from.scales[choice.row]);
    }
  }
}

void ExpertScratch::AddJob(const ExpertMlp& expert, int first, int count) {
  jobs_.push_back({expert.gate.get(), expert.up.get(), expert.down.get(), first, count, num_row_tiles_});
  ExpertJob& job = jobs_.back();
  const int width = expert.gate->outputs;
  num_row_tiles_ += TileRowsOf(count);
  const InputKind kind = hidden_kind(job);
  if (ServeTiles(*job.down, kind) && kind == InputKind::kBf16) {  // in place of the floats, which take more
    job.hidden_tiles = reinterpret_cast<uint16_t*>(hidden_values_.As<float>() + hidden_floats_);
  } else if (ServeTiles(*job.down, kind)) {
    job.hidden_tiles = hidden_codes_.As<uint16_t>() + hidden_code_values_;
    hidden_code_values_ += TileRowValues(count, width);
    CHECK_LE(hidden_code_values_ * sizeof(uint16_t), hidden_codes_.bytes());
  }
  const bool has_codes = kind == InputKind::kCodes;
  for (int i = 0; i < count; ++i) {
    hidden_.push_back(hidden_values_.As<float>() + hidden_floats_);
    hidden_floats_ += HiddenStride(width);
    hidden_scales_.push_back(has_codes ? hidden_values_.As<float>() + hidden_floats_ : nullptr);
    if (has_codes) hidden_floats_ += NumCodeGroups(width);
  }
  CHECK_LE(hidden_floats_ * sizeof(float), hidden_values_.bytes());
}

InputKind ExpertScratch::TileKind(const ExpertJob& job) const {
  for (const PackedMatrix* w : {job.gate, job.up})
    if (const InputKind kind = inputs_.KindFor(*w); ServeTiles(*w, kind)) return kind;
  return InputKind::kAsTheyAre;
}

bool ExpertScratch::PlanWave() {
  pieces_.clear();
  num_hidden_panels_ = 0;
  num_piece_tiles_ = 0;
  size_t free_values = x_tiles_.bytes() / sizeof(uint16_t);
  uint16_t* tiles = x_tiles_.As<uint16_t>();
  for (; next_job_ < jobs_.size(); ++next_job_, next_row_ = 0) {
    const ExpertJob& job = jobs_[next_job_];
    ExpertPiece piece{&job, next_row_, job.count - next_row_, num_hidden_panels_, num_piece_tiles_};
    if (TileKind(job) != InputKind::kAsTheyAre) {
      const size_t row_tile_values = RowTileValues(job.tile_rows(), job.gate->inputs);
      const int most_tiles = static_cast<int>(std::min(free_values / row_tile_values, size_t{1} << 20));
      piece.count = std::min(piece.count, most_tiles * kTileRows);
      if (piece.count == 0) break;
      piece.x_tiles = tiles;
      const size_t taken = static_cast<size_t>(TileRowsOf(piece.count)) * row_tile_values;
      tiles += taken;
      free_values -= taken;
      num_piece_tiles_ += TileRowsOf(piece.count);
    }
    num_hidden_panels_ += job.gate->num_panels();
    pieces_.push_back(piece);
    next_row_ += piece.count;
    if (next_row_ < job.count) break;
  }
  return !pieces_.empty();
}

void ExpertScratch::PackX(const ExpertPiece& piece, int row_tile) const {
  const int first = row_tile * kTileRows, inputs = piece.job->gate->inputs;
  const auto& values = x_[static_cast<size_t>(TileKind(*piece.job))].values;
  PackRowTile(values.data() + piece.job->first + piece.first + first, std::min(kTileRows, piece.count - first),
              piece.tile_rows(), inputs,
              piece.x_tiles + static_cast<size_t>(row_tile) * RowTileValues(piece.tile_rows(), inputs));
}

ProductRows ExpertScratch::x(const ExpertPiece& piece, const PackedMatrix& w) const {
  const InputKind kind = inputs_.KindFor(w);
  const auto index = static_cast<size_t>(kind);
  const int first = piece.job->first + piece.first;
  ProductRows rows{.arithmetic = inputs_.rows[index].arithmetic,
                   .values = x_[index].values.data() + first,
                   .scales = inputs_.rows[index].scales == nullptr ? nullptr : x_[index].scales.data() + first};
  if (!ServeTiles(w, kind) || kind != TileKind(*piece.job)) return rows;
  rows.tiles = piece.x_tiles;
  rows.tile_rows = piece.tile_rows();
  rows.row_tile_values = RowTileValues(rows.tile_rows, w.inputs);
  rows.tile_product = tile_product_;
  return rows;
}

ProductRows ExpertScratch::hidden_rows(const ExpertJob& job) const {
  const InputKind kind = hidden_kind(job);
  return {.arithmetic = kind == InputKind::kAsTheyAre ? Arithmetic::kA32 : Arithmetic::kA16,
          .values = hidden(job),
          .scales = kind == InputKind::kCodes ? hidden_scales(job) : nullptr,
          .tiles = job.hidden_tiles,
          .tile_rows = job.tile_rows(),
          .row_tile_values = RowTileValues(job.tile_rows(), job.down->inputs),
          .tile_product = tile_product_};
}

}  // namespace latentd::cpu
