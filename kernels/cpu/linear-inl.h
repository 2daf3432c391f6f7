// Rows of activations times weights; declared once per Highway target, defined in multiply.cc. Linear, the experts, the
// per-head products of attention, its scores and its P·V all call these. Each output sums k in the order of its
// arithmetic and lanes run over outputs, so the bits depend on neither the number of rows nor the lane count.

// No #pragma once: Highway includes this file once per target.
#if defined(LATENTD_KERNELS_CPU_LINEAR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LATENTD_KERNELS_CPU_LINEAR_INL_H_
#undef LATENTD_KERNELS_CPU_LINEAR_INL_H_
#else
#define LATENTD_KERNELS_CPU_LINEAR_INL_H_
#endif

#include <cstddef>
#include <cstring>

#include <hwy/highway.h>

#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/product_rows.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

// totals[r][lane] = x[r] · the weights of that lane, for all 64 lanes of one panel (PackedMatrix tells which lanes are
// outputs). totals is [num_rows][kPanelOutputs]; num_rows ≤ kMaxProductRows; a row of x has w.inputs values. fp32
// weights are multiplied as under a32 whatever x says. The panel that this thread is likely to read next, if it is
// known, is prefetched at the end.
void PanelProduct(const cpu::PackedMatrix& w, int panel, const cpu::ProductRows& x, int num_rows, float* totals,
                  const std::byte* next = nullptr);

// The same product, its outputs stored where they belong: out(r) points at row r's w.outputs values.
template <class OutputRow>
HWY_INLINE void StorePanelProduct(const cpu::PackedMatrix& w, int panel, const cpu::ProductRows& x, int num_rows,
                                  const OutputRow& out, const std::byte* next = nullptr) {
  HWY_ALIGN float totals[cpu::kMaxProductRows * cpu::kPanelOutputs];
  PanelProduct(w, panel, x, num_rows, totals, next);
  const int lane = w.FirstLane(panel);
  const size_t bytes = static_cast<size_t>(w.EndLane(panel) - lane) * sizeof(float);
  for (int r = 0; r < num_rows; ++r)
    std::memcpy(out(r) + w.FirstOutput(panel), totals + r * cpu::kPanelOutputs + lane, bytes);
}

// Plain floats in memory, such as cached latents: row k is strip[k * strip_stride …], width a multiple of 16.
struct Strip {
  const float* values = nullptr;
  size_t stride = 0;
  int width = 0;
  int count = 0;
  // Prefetched while multiplying, evenly: the next page. Null prefetches nothing.
  const std::byte* next = nullptr;
  size_t next_bytes = 0;
};

// totals[r][n] += Σ x[r][k] · strip[k][n], n < strip.width: under a32 one k after the other, under a16 in groups of 32
// from the strip's start.
void StripProduct(const Strip& strip, const float* const* x, int num_rows, float* totals, size_t totals_stride,
                  cpu::Arithmetic arithmetic);

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
