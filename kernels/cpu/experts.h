// The verb MixExperts: out = Σ weight · expert(x) in ascending id, the shared expert last.
//
// Two parallel regions. The first has an item per (touched expert, panel of its hidden layer): gate and up of the same
// outputs, SwiGLU, store. Where products are made on a tile unit, each expert's rows are gathered into tiles before, in
// waves of as many as memory holds, and hidden rows are stored as tiles. The second has an item per panel of the output
// and walks the experts in ascending order, so no two threads add to one number and the order needs no care. Each
// touched weight is read from memory once per step. The hidden rows are rounded to bf16 as they are stored; where they
// are to become codes a region of its own does that, since the groups of codes are wider than a panel.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "base/thread_pool.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/product_inputs.h"
#include "kernels/cpu/product_rows.h"
#include "kernels/cpu/tile_operands.h"
#include "kernels/device.h"
#include "kernels/ops.h"
#include "kernels/tensor.h"

namespace latentd::cpu {

struct ExpertMlp {
  std::unique_ptr<const PackedMatrix> gate;  // [width, hidden]
  std::unique_ptr<const PackedMatrix> up;    // [width, hidden]
  std::unique_ptr<const PackedMatrix> down;  // [hidden, width]
};

class PackedExperts final : public Experts {
 public:
  static absl::StatusOr<std::unique_ptr<const PackedExperts>> Pack(Device& device, ThreadPool& pool,
                                                                   std::span<const ExpertSource> routed,
                                                                   const ExpertSource* shared);

  // Whether products with any of the experts' gates or ups read x as such.
  bool Read(InputKind kind, ActivationFormat format, bool has_codes) const;

  std::vector<ExpertMlp> routed;
  ExpertMlp shared;  // empty pointers where there is none
};

// x as the experts read it: rows of each kind that one of them reads.
struct ExpertInputs {
  ActivationFormat format = ActivationFormat::kF32;
  bool has_codes = false;
  ScaleFormat scale_format = ScaleFormat::kF32;
  int num_rows = 0;
  std::array<ProductRows, kNumInputKinds> rows = {};  // by kind; no values where none reads it

  InputKind KindFor(const PackedMatrix& w) const { return cpu::KindFor(w, format, has_codes); }
};

// One expert and the rows that chose it: entries [first, first + count) of ExpertScratch.
struct ExpertJob {
  const PackedMatrix* gate = nullptr;
  const PackedMatrix* up = nullptr;
  const PackedMatrix* down = nullptr;
  int first = 0;
  int count = 0;
  int first_row_tile = 0;            // of all jobs
  uint16_t* hidden_tiles = nullptr;  // TileRows that `down` reads; null: floats

  int tile_rows() const { return std::min(count, kTileRows); }
};

// Rows [first, first + count) of a job in one wave of the first region.
struct ExpertPiece {
  const ExpertJob* job = nullptr;
  int first = 0;
  int count = 0;
  int first_panel = 0;          // of the hidden layers of all pieces
  int first_row_tile = 0;       // of all pieces
  uint16_t* x_tiles = nullptr;  // null: products read floats

  int tile_rows() const { return std::min(job->count, kTileRows); }
};

// The step's choices grouped by expert, and the hidden layers. Owned by CpuOps; engine thread only.
class ExpertScratch {
 public:
  // A wave's tiles of x, at most, unless one tile of rows takes more.
  static constexpr size_t kMaxWaveBytes = size_t{32} << 20;

  absl::Status Reserve(Device& device, const StepLimits& limits, size_t max_wave_bytes = kMaxWaveBytes);

  void Plan(const ExpertInputs& x, const Routing& routing, const PackedExperts& experts);

  const std::vector<ExpertJob>& jobs() const { return jobs_; }
  int num_row_tiles() const { return num_row_tiles_; }
  // The next wave of the first region; false when all jobs are done.
  bool PlanWave();
  const std::vector<ExpertPiece>& pieces() const { return pieces_; }
  int num_hidden_panels() const { return num_hidden_panels_; }
  int num_piece_tiles() const { return num_piece_tiles_; }
  // Fills one tile of rows of a piece.
  void PackX(const ExpertPiece& piece, int row_tile) const;
  // The piece's rows of x as products with `w` read them.
  ProductRows x(const ExpertPiece& piece, const PackedMatrix& w) const;
  // Its hidden rows, and what products with `down` read of them.
  float* const* hidden(const ExpertJob& job) const { return hidden_.data() + job.first; }
  float* const* hidden_scales(const ExpertJob& job) const { return hidden_scales_.data() + job.first; }
  ProductRows hidden_rows(const ExpertJob& job) const;
  InputKind hidden_kind(const ExpertJob& job) const { return inputs_.KindFor(*job.down); }
  int row(const ExpertJob& job, int i) const { return choices_[static_cast<size_t>(job.first + i)].row; }
  float weight(const ExpertJob& job, int i) const { return choices_[static_cast<size_t>(job.first + i)].weight; }

 private:
  struct Choice {
    int32_t expert;
    int32_t row;
    float weight;
  };
  void TakeRows(const ExpertInputs& x);
  void AddJob(const ExpertMlp& expert, int first, int count);
  bool ServeTiles(const PackedMatrix& w, InputKind kind) const { return cpu::ServeTiles(tile_product_, w, kind); }
  // What tiles of x the gate and the up of a job read: not kAsTheyAre, or none.
  InputKind TileKind(const ExpertJob& job) const;

  TileProduct tile_product_ = nullptr;
  std::vector<Choice> choices_;  // ascending expert, then row; the shared expert's come last
  std::vector<ExpertJob> jobs_;
  ExpertInputs inputs_;
  struct Addresses {
    std::vector<const float*> values, scales;
  };
  std::array<Addresses, kNumInputKinds> x_;  // by choice
  std::vector<float*> hidden_, hidden_scales_;
  DeviceBuffer hidden_values_;
  size_t hidden_floats_ = 0;   // in use
  DeviceBuffer hidden_codes_;  // as tiles
  size_t hidden_code_values_ = 0;
  int num_row_tiles_ = 0;

  // The wave.
  std::vector<ExpertPiece> pieces_;
  size_t next_job_ = 0;
  int next_row_ = 0;
  int num_hidden_panels_ = 0;
  int num_piece_tiles_ = 0;
  DeviceBuffer x_tiles_;
};

void MixExperts(ThreadPool& pool, const ExpertInputs& x, const Routing& routing, const PackedExperts& experts,
                ExpertScratch& scratch, Tensor out);

}  // namespace latentd::cpu
