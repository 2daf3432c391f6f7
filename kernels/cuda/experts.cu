// MixExperts in its decode form: the choices (row, expert) are permuted into the order of the experts, cut into tiles
// of up to 8 or 32 rows of one expert, and multiplied by gate, up and down with the products of linear.cu. Rows of x
// are gathered by index, rows of down scattered by index to [row][rank of the expert among the row's], so that the sum
// over a row's experts ascends by id whatever the routing's order; the shared expert is added last.
//
// PlanKernel: a warp per expert. Every thread block counts all choices in shared memory (integers: any order gives the
// same), so none waits for another; positions within an expert come from votes, rows ascending. Reads 4 bytes per
// choice and expert, from L2. Bound: latency, a few microseconds up to some thousand choices. CombineKernel: bytes per
// row 4 * hidden * (experts per token + 2), two FLOPs per value read. Bound: bandwidth. All of MixExperts: 3 * hidden *
// width weights per touched expert, once per tile of its rows (from L2 after the first); 6 * hidden * width FLOPs per
// choice. Bound: weight bytes / bandwidth up to some hundred rows.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/row_kernels.h"

namespace latentd::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kPassRows = 512;  // bounds the scratch memory: 250 MB for the largest published model
constexpr int kFewRows = 8, kManyRows = 32;

__device__ __forceinline__ int WarpSum(int value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(kAllLanes, value, distance);
  return value;
}

__device__ __forceinline__ int Tiles(int rows, int tile_rows) { return (rows + tile_rows - 1) / tile_rows; }

// A choice's place among the choices of its row by ascending expert, the earlier of equals first.
__device__ __forceinline__ int Rank(const int32_t* experts, int count, int choice) {
  int rank = 0;
#pragma unroll 1  // unrolled, it spills
  for (int i = 0; i < count; ++i) {
    rank += experts[i] < experts[choice] || (experts[i] == experts[choice] && i < choice) ? 1 : 0;
  }
  return rank;
}

__global__ void __launch_bounds__(kThreads)
    PlanKernel(Routing routing, int num_experts, int tile_rows, ExpertScratch to) {
  __shared__ int counts[kMaxExperts];
  const int per_row = routing.experts_per_token, choices = routing.rows * per_row;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  for (int i = thread; i < num_experts; i += kThreads) counts[i] = 0;
  __syncthreads();
  for (int i = thread; i < choices; i += kThreads) atomicAdd(&counts[routing.experts[i]], 1);
  __syncthreads();
  const int expert = static_cast<int>(blockIdx.x) * kWarps + thread / 32;
  if (expert >= num_experts) return;
  int begin = 0, first_tile = 0;
  for (int i = lane; i < expert; i += 32) {
    begin += counts[i];
    first_tile += Tiles(counts[i], tile_rows);
  }
  begin = WarpSum(begin);
  first_tile = WarpSum(first_tile);
  const int count = counts[expert], num_tiles = Tiles(count, tile_rows);
  for (int i = lane; i < num_tiles; i += 32) {
    to.tiles[first_tile + i] = {expert, begin + i * tile_rows, min(tile_rows, count - i * tile_rows)};
  }
  if (expert == num_experts - 1 && lane == 0) *to.num_tiles = first_tile + num_tiles;
  for (int base = 0; base < choices; base += 32) {
    const int choice = base + lane;
    const bool mine = choice < choices && routing.experts[choice] == expert;
    const unsigned votes = __ballot_sync(kAllLanes, mine);
    if (mine) {
      const int place = begin + __popc(votes & ((1u << lane) - 1u)), row = choice / per_row;
      const int out_row = row * per_row + Rank(routing.experts + row * per_row, per_row, choice % per_row);
      to.x_rows[place] = row;
      to.out_rows[place] = out_row;
      to.weights[out_row] = routing.weights[choice];
    }
    begin += __popc(votes);
  }
}

// out = Σ weight * down over a row's choices, + shared where it has values.
__global__ void __launch_bounds__(kThreads)
    CombineKernel(Tensor down, const float* weights, int per_row, Tensor shared, Tensor out) {
  const int column = static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x);
  const auto row = static_cast<size_t>(blockIdx.x);
  if (column >= out.width) return;
  float sum = 0.0f;
  for (int i = 0; i < per_row; ++i) {
    const size_t choice = row * static_cast<size_t>(per_row) + static_cast<size_t>(i);
    sum = fmaf(weights[choice], down.values[choice * static_cast<size_t>(down.stride) + column], sum);
  }
  if (shared.values != nullptr) sum += shared.values[row * static_cast<size_t>(shared.stride) + column];
  out.values[row * static_cast<size_t>(out.stride) + column] = sum;
}

int CeilDiv(int a, int b) { return (a + b - 1) / b; }

// Where things are in the scratch memory, in bytes.
class Places {
 public:
  size_t Add(size_t bytes) { return std::exchange(bytes_, bytes_ + (bytes + 255) / 256 * 256); }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_ = 0;
};

int Stride(int width) { return CeilDiv(width, 16) * 16; }
int GroupsOf(int width) { return CeilDiv(width, kCodeGroup); }

struct Layout {
  explicit Layout(const ExpertLimits& limits)
      : rows(std::min(limits.max_tokens, kPassRows)), choices(rows * limits.experts_per_token) {
    const auto tensor = [&](int count, int width) {
      return places.Add(static_cast<size_t>(count) * static_cast<size_t>(Stride(width)) * sizeof(float));
    };
    fragments = places.Add(std::max({FragmentBytes(rows, limits.hidden), FragmentBytes(choices, limits.width),
                                     FragmentBytes(rows, limits.shared_width)}));
    gate = tensor(choices, limits.width);
    up = tensor(choices, limits.width);
    down = tensor(choices, limits.hidden);
    shared_gate = tensor(rows, limits.shared_width);
    shared_up = tensor(rows, limits.shared_width);
    shared_down = tensor(rows, limits.hidden);
    const int groups = limits.activation_codes
                           ? std::max(choices * GroupsOf(limits.width), rows * GroupsOf(limits.shared_width))
                           : 0;
    hidden_codes = places.Add(static_cast<size_t>(groups) * kCodeGroup);
    hidden_scales = places.Add(static_cast<size_t>(groups) * sizeof(float));
    const auto count = static_cast<size_t>(choices);
    tiles = places.Add(count * sizeof(RowTile));
    num_tiles = places.Add(sizeof(int));
    x_rows = places.Add(count * sizeof(int));
    out_rows = places.Add(count * sizeof(int));
    weights = places.Add(count * sizeof(float));
  }

  Places places;
  int rows, choices;
  size_t fragments, gate, up, down, shared_gate, shared_up, shared_down, hidden_codes, hidden_scales;
  size_t tiles, num_tiles, x_rows, out_rows, weights;
};

// The fragments of x, or of the hidden layer, for each of the products with it.
class Fragments {
 public:
  Fragments(cudaStream_t stream, const Activation& x, std::byte* scratch)
      : stream_(stream), x_(x), scratch_(scratch) {}

  const FragmentRows& For(const MatrixView& w) {
    if (rows_.values == nullptr || w.dtype != dtype_) rows_ = PrepareActivations(stream_, x_, w, scratch_);
    dtype_ = w.dtype;
    return rows_;
  }

 private:
  cudaStream_t stream_;
  Activation x_;
  std::byte* scratch_;
  FragmentRows rows_;
  DType dtype_ = DType::kF32;
};

Tensor Sized(const Tensor& tensor, int rows, int width) { return {tensor.values, rows, width, tensor.stride}; }

Tensor Rows(const Tensor& tensor, int first, int count) {
  return {tensor.Row(first), count, tensor.width, tensor.stride};
}

Activation Rows(const Activation& x, int first, int count) {
  Activation rows = x;
  rows.values = Rows(x.values, first, count);
  if (x.codes == nullptr) return rows;
  rows.codes += static_cast<size_t>(first) * static_cast<size_t>(x.code_stride());
  rows.scales += static_cast<size_t>(first) * static_cast<size_t>(x.num_groups());
  return rows;
}

// The hidden layer that takes gate's place: with room for codes where x has codes and down is multiplied with codes.
Activation HiddenOf(const Tensor& gate, const Activation& x, const MatrixView& down, const ExpertScratch& scratch) {
  Activation hidden = gate;
  if (x.codes == nullptr || down.dtype != DType::kE4M3) return hidden;
  CHECK(scratch.hidden_codes != nullptr);
  hidden.codes = scratch.hidden_codes;
  hidden.scales = scratch.hidden_scales;
  hidden.scale_format = x.scale_format;
  return hidden;
}

// shared_down = the shared expert of x.
void RunShared(cudaStream_t stream, const Activation& x, const ExpertsView& experts, const ExpertScratch& scratch) {
  const int width = experts.shared_gate.outputs, rows = x.values.rows;
  const Tensor gate = Sized(scratch.shared_gate, rows, width), up = Sized(scratch.shared_up, rows, width);
  Fragments of_x(stream, x, scratch.fragments);
  Multiply(stream, of_x.For(experts.shared_gate), experts.shared_gate, gate);
  Multiply(stream, of_x.For(experts.shared_up), experts.shared_up, up);
  const Activation hidden = HiddenOf(gate, x, experts.shared_down, scratch);
  SwiGlu(stream, gate, up, hidden);
  Linear(stream, hidden, experts.shared_down, scratch.fragments, scratch.shared_down.FirstRows(rows));
}

// down = the chosen experts of x.
void RunRouted(cudaStream_t stream, const Activation& x, const Routing& routing, const ExpertsView& experts,
               const ExpertScratch& scratch) {
  const int choices = routing.rows * routing.experts_per_token;
  const int tile_rows = choices <= kFewRows * experts.num_experts ? kFewRows : kManyRows;
  PlanKernel<<<static_cast<unsigned>(CeilDiv(experts.num_experts, kWarps)), kThreads, 0, stream>>>(
      routing, experts.num_experts, tile_rows, scratch);
  CheckLaunch("PlanKernel");
  RowGroups groups = {.tiles = scratch.tiles,
                      .num_tiles = scratch.num_tiles,
                      .max_tiles = std::min(choices, std::min(choices, experts.num_experts) + choices / tile_rows),
                      .tile_rows = tile_rows,
                      .x_rows = scratch.x_rows};
  const int width = experts.gate.outputs;
  const Tensor gate = Sized(scratch.gate, choices, width), up = Sized(scratch.up, choices, width);
  Fragments of_x(stream, x, scratch.fragments);
  groups.expert_bytes = experts.gate_bytes;
  MultiplyGroups(stream, of_x.For(experts.gate), experts.gate, groups, gate);
  groups.expert_bytes = experts.up_bytes;
  MultiplyGroups(stream, of_x.For(experts.up), experts.up, groups, up);
  const Activation hidden = HiddenOf(gate, x, experts.down, scratch);
  SwiGlu(stream, gate, up, hidden);
  groups.x_rows = nullptr;
  groups.out_rows = scratch.out_rows;
  groups.expert_bytes = experts.down_bytes;
  const FragmentRows of_hidden = PrepareActivations(stream, hidden, experts.down, scratch.fragments);
  MultiplyGroups(stream, of_hidden, experts.down, groups, scratch.down.FirstRows(choices));
}

}  // namespace

size_t ExpertScratchBytes(const ExpertLimits& limits) { return Layout(limits).places.bytes(); }

ExpertScratch ExpertScratchAt(std::byte* memory, const ExpertLimits& limits) {
  const Layout layout(limits);
  const auto tensor = [&](size_t at, int rows, int width) {
    return Tensor{reinterpret_cast<float*>(memory + at), rows, width, Stride(width)};
  };
  return {.max_rows = layout.rows,
          .fragments = memory + layout.fragments,
          .gate = tensor(layout.gate, layout.choices, limits.width),
          .up = tensor(layout.up, layout.choices, limits.width),
          .down = tensor(layout.down, layout.choices, limits.hidden),
          .shared_gate = tensor(layout.shared_gate, layout.rows, limits.shared_width),
          .shared_up = tensor(layout.shared_up, layout.rows, limits.shared_width),
          .shared_down = tensor(layout.shared_down, layout.rows, limits.hidden),
          .hidden_codes =
              limits.activation_codes ? reinterpret_cast<uint8_t*>(memory + layout.hidden_codes) : nullptr,
          .hidden_scales = reinterpret_cast<float*>(memory + layout.hidden_scales),
          .tiles = reinterpret_cast<RowTile*>(memory + layout.tiles),
          .num_tiles = reinterpret_cast<int*>(memory + layout.num_tiles),
          .x_rows = reinterpret_cast<int*>(memory + layout.x_rows),
          .out_rows = reinterpret_cast<int*>(memory + layout.out_rows),
          .weights = reinterpret_cast<float*>(memory + layout.weights)};
}

void MixExperts(cudaStream_t stream, const Activation& x, const Routing& routing, const ExpertsView& experts,
                const ExpertScratch& scratch, Tensor out) {
  const int num_rows = x.values.rows;
  CHECK_EQ(routing.rows, num_rows);
  CHECK_EQ(out.rows, num_rows);
  CHECK_LE(experts.num_experts, kMaxExperts);
  CHECK_LE(experts.gate.outputs, scratch.gate.width);
  CHECK_LE(experts.shared_gate.outputs, scratch.shared_gate.width);
  CHECK_LE(out.width, scratch.down.width);
  for (int first = 0; first < num_rows; first += scratch.max_rows) {
    const int rows = std::min(scratch.max_rows, num_rows - first), choice = first * routing.experts_per_token;
    const Routing part = {routing.experts + choice, routing.weights + choice, rows, routing.experts_per_token};
    RunRouted(stream, Rows(x, first, rows), part, experts, scratch);
    if (experts.has_shared) RunShared(stream, Rows(x, first, rows), experts, scratch);
    const dim3 grid(static_cast<unsigned>(rows), static_cast<unsigned>(CeilDiv(out.width, kThreads)));
    CombineKernel<<<grid, kThreads, 0, stream>>>(scratch.down, scratch.weights, routing.experts_per_token,
                                                 experts.has_shared ? scratch.shared_down : Tensor{},
                                                 Rows(out, first, rows));
    CheckLaunch("CombineKernel");
  }
}

}  // namespace latentd::cuda
