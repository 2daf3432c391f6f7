#include "kernels/cuda/packed.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/row_lender.h"
#include "kernels/stored_value.h"

namespace latentd::cuda {
namespace {

constexpr int kBlock = 128;       // inputs, and outputs, that share a scale
constexpr int kScaleRow = 4;      // scale rows are whole multiples: what other readers of the layout ask for
constexpr size_t kPlacing = 256;  // matrices start at multiples of this

int RoundUp(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }
size_t RoundUp(size_t value) { return (value + kPlacing - 1) / kPlacing * kPlacing; }
size_t Product(int a, int b) { return static_cast<size_t>(a) * static_cast<size_t>(b); }

void PackDecoded(const MatrixSource& source, const PackedLayout& layout, std::byte* to) {
  CHECK(layout.dtype == DType::kF32);
  auto* values = reinterpret_cast<float*>(to);
  for (int n = 0; n < source.outputs; ++n) {
    for (int k = 0; k < source.inputs; ++k)
      values[Product(n, layout.stride) + static_cast<size_t>(k)] = StoredValue(source, n, k);
  }
}

}  // namespace

PackedLayout LayoutOf(DType dtype, int outputs, int inputs) {
  PackedLayout layout = {.dtype = dtype, .outputs = outputs, .inputs = inputs, .stride = RoundUp(inputs, kBlock)};
  layout.scales_at = RoundUp(Product(outputs, layout.stride) * SizeOf(dtype));
  layout.bytes = layout.scales_at;
  if (dtype == DType::kE4M3) {
    layout.scale_stride = RoundUp(layout.stride / kBlock, kScaleRow);
    layout.bytes += RoundUp(Product(RoundUp(outputs, kBlock) / kBlock, layout.scale_stride) * sizeof(float));
  }
  return layout;
}

void Pack(const MatrixSource& source, const PackedLayout& layout, std::byte* to) {
  CHECK_EQ(source.outputs, layout.outputs);
  CHECK_EQ(source.inputs, layout.inputs);
  std::fill_n(to, layout.bytes, std::byte{0});
  const BorrowedRows rows(source, 0, source.outputs);
  if (source.dtype != layout.dtype) return PackDecoded(source, layout, to);
  const size_t from_row = static_cast<size_t>(source.inputs) * SizeOf(source.dtype);
  const size_t to_row = static_cast<size_t>(layout.stride) * SizeOf(source.dtype);
  for (size_t n = 0; n < static_cast<size_t>(source.outputs); ++n) {
    std::memcpy(to + n * to_row, source.bytes + n * from_row, from_row);
  }
  if (layout.scale_stride == 0) return;
  const auto columns = static_cast<size_t>(layout.stride / kBlock);
  for (size_t row = 0; row * columns < source.scales.size(); ++row) {
    std::memcpy(to + layout.scales_at + row * static_cast<size_t>(layout.scale_stride) * sizeof(float),
                source.scales.data() + row * columns, columns * sizeof(float));
  }
}

MatrixView ViewOf(const PackedLayout& layout, const std::byte* packed) {
  return {.dtype = layout.dtype,
          .outputs = layout.outputs,
          .inputs = layout.inputs,
          .values = packed,
          .stride = layout.stride,
          .scales = layout.scale_stride == 0 ? nullptr : reinterpret_cast<const float*>(packed + layout.scales_at),
          .scale_stride = layout.scale_stride};
}

PackedLayout CommonLayout(std::span<const MatrixSource> sources) {
  CHECK(!sources.empty());
  DType dtype = sources[0].dtype;
  for (const MatrixSource& source : sources) {
    CHECK_EQ(source.outputs, sources[0].outputs);
    CHECK_EQ(source.inputs, sources[0].inputs);
    if (source.dtype != dtype) dtype = DType::kF32;
  }
  return LayoutOf(dtype, sources[0].outputs, sources[0].inputs);
}

ExpertsLayout LayoutOf(std::span<const ExpertSource> routed, const ExpertSource* shared) {
  std::vector<MatrixSource> gates, ups, downs;
  for (const ExpertSource& expert : routed) {
    gates.push_back(expert.gate);
    ups.push_back(expert.up);
    downs.push_back(expert.down);
  }
  ExpertsLayout layout = {.num_experts = static_cast<int>(routed.size()),
                          .gate = CommonLayout(gates),
                          .up = CommonLayout(ups),
                          .down = CommonLayout(downs),
                          .has_shared = shared != nullptr};
  if (shared != nullptr) {
    layout.shared_gate = LayoutOf(shared->gate.dtype, shared->gate.outputs, shared->gate.inputs);
    layout.shared_up = LayoutOf(shared->up.dtype, shared->up.outputs, shared->up.inputs);
    layout.shared_down = LayoutOf(shared->down.dtype, shared->down.outputs, shared->down.inputs);
  }
  return layout;
}

ExpertsView ViewOf(const ExpertsLayout& layout, const std::byte* packed) {
  ExpertsView view = {.num_experts = layout.num_experts,
                      .gate = ViewOf(layout.gate, packed + layout.gate_at()),
                      .up = ViewOf(layout.up, packed + layout.up_at()),
                      .down = ViewOf(layout.down, packed + layout.down_at()),
                      .gate_bytes = layout.gate.bytes,
                      .up_bytes = layout.up.bytes,
                      .down_bytes = layout.down.bytes,
                      .has_shared = layout.has_shared};
  if (layout.has_shared) {
    view.shared_gate = ViewOf(layout.shared_gate, packed + layout.shared_gate_at());
    view.shared_up = ViewOf(layout.shared_up, packed + layout.shared_up_at());
    view.shared_down = ViewOf(layout.shared_down, packed + layout.shared_down_at());
  }
  return view;
}

std::vector<ExpertPart> PartsOf(const ExpertsLayout& layout, std::span<const ExpertSource> routed,
                                const ExpertSource* shared) {
  std::vector<ExpertPart> parts;
  for (size_t e = 0; e < routed.size(); ++e) {
    parts.push_back({routed[e].gate, layout.gate, layout.gate_at() + e * layout.gate.bytes});
    parts.push_back({routed[e].up, layout.up, layout.up_at() + e * layout.up.bytes});
    parts.push_back({routed[e].down, layout.down, layout.down_at() + e * layout.down.bytes});
  }
  if (shared != nullptr) {
    parts.push_back({shared->gate, layout.shared_gate, layout.shared_gate_at()});
    parts.push_back({shared->up, layout.shared_up, layout.shared_up_at()});
    parts.push_back({shared->down, layout.shared_down, layout.shared_down_at()});
  }
  return parts;
}

}  // namespace latentd::cuda
