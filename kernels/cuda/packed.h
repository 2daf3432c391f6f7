// Weights in the layout that linear.cu reads: rows of values, padded with zeros to a multiple of 128 inputs, then the
// scales, if any, in rows padded to a multiple of four. Outputs are not padded. Packing happens in host memory, from
// bytes of any alignment; plain C++.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kernels/cuda/launch.h"
#include "kernels/tensor.h"

namespace latentd::cuda {

struct PackedLayout {
  DType dtype = DType::kF32;
  int outputs = 0;
  int inputs = 0;
  int stride = 0;        // values between rows
  int scale_stride = 0;  // 0 without scales
  size_t scales_at = 0;  // bytes from the start
  size_t bytes = 0;      // of everything: a multiple of 256
};

PackedLayout LayoutOf(DType dtype, int outputs, int inputs);
// Fills layout.bytes bytes. A source of another dtype than the layout's is decoded, which only fp32 layouts allow.
void Pack(const MatrixSource& source, const PackedLayout& layout, std::byte* to);
// `packed` is the copy in the device's memory, on a multiple of 256 bytes.
MatrixView ViewOf(const PackedLayout& layout, const std::byte* packed);

// One role (gate, up or down) of all experts of a layer: the same layout for each, one after the other. Where their
// dtypes differ, which no published checkpoint does, all become fp32, and so read the values of activations with codes.
PackedLayout CommonLayout(std::span<const MatrixSource> sources);

// Where the matrices of a layer's experts lie in one allocation.
struct ExpertsLayout {
  int num_experts = 0;
  PackedLayout gate = {}, up = {}, down = {};  // of one routed expert
  bool has_shared = false;
  PackedLayout shared_gate = {}, shared_up = {}, shared_down = {};

  size_t gate_at() const { return 0; }
  size_t up_at() const { return gate_at() + routed(gate); }
  size_t down_at() const { return up_at() + routed(up); }
  size_t shared_gate_at() const { return down_at() + routed(down); }
  size_t shared_up_at() const { return shared_gate_at() + shared_gate.bytes; }
  size_t shared_down_at() const { return shared_up_at() + shared_up.bytes; }
  size_t bytes() const { return shared_down_at() + shared_down.bytes; }

 private:
  size_t routed(const PackedLayout& one) const { return static_cast<size_t>(num_experts) * one.bytes; }
};

ExpertsLayout LayoutOf(std::span<const ExpertSource> routed, const ExpertSource* shared);

// The experts of a layer in the device's memory. The views are expert 0's; the next one's matrix lies *_bytes further.
struct ExpertsView {
  int num_experts = 0;
  MatrixView gate = {}, up = {}, down = {};
  size_t gate_bytes = 0, up_bytes = 0, down_bytes = 0;
  bool has_shared = false;
  MatrixView shared_gate = {}, shared_up = {}, shared_down = {};
};
ExpertsView ViewOf(const ExpertsLayout& layout, const std::byte* packed);

// One matrix of the layer and its place in the allocation; a host buffer of the largest one's size serves them all.
struct ExpertPart {
  MatrixSource source;
  PackedLayout layout;
  size_t at = 0;
};
std::vector<ExpertPart> PartsOf(const ExpertsLayout& layout, std::span<const ExpertSource> routed,
                                const ExpertSource* shared);

}  // namespace latentd::cuda
