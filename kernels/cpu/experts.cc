#include "kernels/cpu/experts.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/experts.cc"
#include <algorithm>

#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target

#include "kernels/cpu/activation_codes-inl.h"
#include "kernels/cpu/bf16-inl.h"
#include "kernels/cpu/linear-inl.h"
#include "kernels/cpu/pack_row_tile.h"
#include "kernels/cpu/partial-inl.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

// Where tiles of hidden rows take the values of a row from an output on.
HWY_INLINE uint16_t* HiddenTileAt(const cpu::ExpertJob& job, int row, int output) {
  const size_t tile = static_cast<size_t>(row / cpu::kTileRows) * cpu::RowTileValues(job.tile_rows(), job.down->inputs);
  const int line = output / cpu::kTileInputs * job.tile_rows() + row % cpu::kTileRows;
  return job.hidden_tiles + tile + line * cpu::kTileInputs + output % cpu::kTileInputs;
}

// silu(gate) * up of 64 outputs of a row from `output` on, as the product with `down` reads them.
HWY_INLINE void StoreHidden(const cpu::ExpertScratch& scratch, const cpu::ExpertJob& job, int row, int output,
                            const float* gate, const float* up) {
  constexpr hn::Rebind<uint16_t, F32> kU16;
  const bool is_rounded = scratch.hidden_kind(job) == cpu::InputKind::kBf16;
  const bool are_tiles = is_rounded && job.hidden_tiles != nullptr;
  const int width = job.down->inputs - output;
  const int end = are_tiles ? cpu::TileGroupsOf(job.down->inputs) * cpu::kTileInputs - output : cpu::kPanelOutputs;
  for (int n = 0; n < std::min(end, cpu::kPanelOutputs); n += kLanes) {
    const Vec value = SiluTimes(hn::Load(kF32, gate + n), hn::Load(kF32, up + n));
    if (are_tiles) {
      // Zeros behind the last output, as tiles have them: what x made of the panel's unused lanes may be no number.
      const Vec kept =
          hn::IfThenElseZero(hn::FirstN(kF32, static_cast<size_t>(std::clamp(width - n, 0, kLanes))), value);
      hn::StoreU(hn::DemoteTo(kU16, Bf16Halves(kept)), kU16, HiddenTileAt(job, row, output + n));
    } else {
      hn::StoreU(is_rounded ? RoundToBf16(value) : value, kF32, scratch.hidden(job)[row] + output + n);
    }
  }
}

// One panel of the hidden layer for a piece's rows [first, first + count); `next` is the gate's panel of the next item.
void HiddenPanel(const cpu::ExpertScratch& scratch, const cpu::ExpertPiece& piece, int panel, int first, int count,
                 const std::byte* next) {
  HWY_ALIGN float gate[cpu::kMaxProductRows * cpu::kPanelOutputs];
  HWY_ALIGN float up[cpu::kMaxProductRows * cpu::kPanelOutputs];
  const cpu::ExpertJob& job = *piece.job;
  PanelProduct(*job.gate, panel, scratch.x(piece, *job.gate).From(first), count, gate, job.up->Panel(panel));
  PanelProduct(*job.up, panel, scratch.x(piece, *job.up).From(first), count, up, next);
  for (int r = 0; r < count; ++r) {
    const int at = r * cpu::kPanelOutputs;
    StoreHidden(scratch, job, piece.first + first + r, panel * cpu::kPanelOutputs, gate + at, up + at);
  }
}

// Adds one panel of the output for a job's rows [first, first + count); `next` is the next job's panel.
void AddOutputPanel(const cpu::ExpertScratch& scratch, const cpu::ExpertJob& job, int panel, int first, int count,
                    const std::byte* next, Tensor out) {
  HWY_ALIGN float product[cpu::kMaxProductRows * cpu::kPanelOutputs];
  PanelProduct(*job.down, panel, scratch.hidden_rows(job).From(first), count, product, next);
  const int width = job.down->EndLane(panel);
  for (int r = 0; r < count; ++r) {
    float* to = out.Row(scratch.row(job, first + r)) + panel * cpu::kPanelOutputs;
    const Vec weight = Set(scratch.weight(job, first + r));
    for (int n = 0; n < width; n += kLanes) {
      const Vec y = hn::Load(kF32, product + r * cpu::kPanelOutputs + n);
      StoreUpTo(Fma(weight, y, LoadUpTo(to + n, width - n)), to + n, width - n);
    }
  }
}

// The last of some jobs or pieces that begin at or before an item, counted by `first`.
template <class Share>
const Share& ShareOf(const std::vector<Share>& shares, int item, int Share::*first) {
  return *(std::upper_bound(shares.begin(), shares.end(), item,
                            [first](int i, const Share& share) { return i < share.*first; }) -
           1);
}

// Rounds the hidden rows that meet an E4M3 weight to codes.
void RoundHidden(ThreadPool& pool, const cpu::ExpertScratch& scratch, ScaleFormat format) {
  pool.ForEach(scratch.num_row_tiles(), [&](int item, int) HWY_ATTR {
    const cpu::ExpertJob& job = ShareOf(scratch.jobs(), item, &cpu::ExpertJob::first_row_tile);
    if (scratch.hidden_kind(job) != cpu::InputKind::kCodes) return;
    const int width = job.down->inputs, first = (item - job.first_row_tile) * cpu::kTileRows;
    const int count = std::min(cpu::kTileRows, job.count - first);
    for (int i = first; i < first + count; ++i)
      RoundToCodes(scratch.hidden(job)[i], width, format, scratch.hidden_scales(job)[i]);
    if (job.hidden_tiles == nullptr) return;
    cpu::PackRowTile(scratch.hidden(job) + first, count, job.tile_rows(), width, HiddenTileAt(job, first, 0));
  });
}

template <class Body>
HWY_INLINE void ForRows(int num_rows, const Body& body) {
  for (int first = 0; first < num_rows; first += cpu::kMaxProductRows)
    body(first, std::min(cpu::kMaxProductRows, num_rows - first));
}

// What HiddenPanel reads first for the item that the thread most likely takes after `item`; null behind the last.
const std::byte* NextGatePanel(const cpu::ExpertScratch& scratch, int item) {
  const int next = ThreadPool::NextItem(item, scratch.num_hidden_panels());
  if (next < 0) return nullptr;
  const cpu::ExpertPiece& piece = ShareOf(scratch.pieces(), next, &cpu::ExpertPiece::first_panel);
  return piece.job->gate->Panel(next - piece.first_panel);
}

// The hidden layers of the wave's pieces.
void HiddenWave(ThreadPool& pool, const cpu::ExpertScratch& scratch) {
  const std::vector<cpu::ExpertPiece>& pieces = scratch.pieces();
  pool.ForEach(scratch.num_piece_tiles(), [&](int item, int) {
    const cpu::ExpertPiece& piece = ShareOf(pieces, item, &cpu::ExpertPiece::first_row_tile);
    scratch.PackX(piece, item - piece.first_row_tile);
  });
  pool.ForEach(scratch.num_hidden_panels(), [&](int item, int) {
    const cpu::ExpertPiece& piece = ShareOf(pieces, item, &cpu::ExpertPiece::first_panel);
    const std::byte* const next = NextGatePanel(scratch, item);
    ForRows(piece.count,
            [&](int first, int count) { HiddenPanel(scratch, piece, item - piece.first_panel, first, count, next); });
  });
}

void MixExperts(ThreadPool& pool, const cpu::ExpertInputs& x, cpu::ExpertScratch& scratch, Tensor out) {
  while (scratch.PlanWave()) HiddenWave(pool, scratch);
  if (x.has_codes) RoundHidden(pool, scratch, x.scale_format);
  const std::vector<cpu::ExpertJob>& jobs = scratch.jobs();
  pool.ForEach((out.width + cpu::kPanelOutputs - 1) / cpu::kPanelOutputs, [&](int panel, int) {
    const int begin = panel * cpu::kPanelOutputs, end = std::min(out.width, begin + cpu::kPanelOutputs);
    for (int r = 0; r < out.rows; ++r) std::fill(out.Row(r) + begin, out.Row(r) + end, 0.0f);
    for (size_t i = 0; i < jobs.size(); ++i) {
      const std::byte* const next = i + 1 < jobs.size() ? jobs[i + 1].down->Panel(panel) : nullptr;
      ForRows(jobs[i].count,
              [&](int first, int count) { AddOutputPanel(scratch, jobs[i], panel, first, count, next, out); });
    }
  });
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace latentd::cpu {

HWY_EXPORT(MixExperts);

void MixExperts(ThreadPool& pool, const ExpertInputs& x, const Routing& routing, const PackedExperts& experts,
                ExpertScratch& scratch, Tensor out) {
  scratch.Plan(x, routing, experts);
  HWY_DYNAMIC_DISPATCH(MixExperts)(pool, x, scratch, out);
}

}  // namespace latentd::cpu
#endif  // HWY_ONCE
