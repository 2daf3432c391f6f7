#include "kernels/cuda/step_inputs.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace latentd::cuda {
namespace {

constexpr size_t kAlignment = 64;

}  // namespace

StepInputs::~StepInputs() {
  if (copied_ != nullptr) CheckCuda(cudaEventDestroy(copied_), "cudaEventDestroy");
}

template <class T>
StepInputs::Place<T> StepInputs::Next(size_t capacity) {
  const Place<T> place{bytes_, capacity};
  bytes_ += (capacity * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
  return place;
}

absl::Status StepInputs::Reserve(CudaDevice& device, const StepLimits& limits) {
  const auto tokens = static_cast<size_t>(limits.max_tokens);
  const auto rows = static_cast<size_t>(limits.max_rows);
  const auto row_blocks = static_cast<size_t>((limits.max_context + kBlockSlots - 1) / kBlockSlots);
  max_context_ = limits.max_context;
  bytes_ = 0;
  token_ids_ = Next<int32_t>(tokens);
  positions_ = Next<int32_t>(tokens);
  slots_ = Next<int32_t>(tokens);
  token_rows_ = Next<int32_t>(tokens);
  rows_ = Next<BatchRow>(rows);
  logit_tokens_ = Next<int32_t>(static_cast<size_t>(limits.max_logit_rows));
  hidden_rows_ = Next<int32_t>(tokens);
  blocks_ = Next<int32_t>(rows * row_blocks);  // last: most of it is rarely used, and then not copied
  absl::StatusOr<DeviceBuffer> device_memory = device.Allocate(bytes_);
  if (!device_memory.ok()) return device_memory.status();
  absl::StatusOr<PinnedBuffer> host_memory = PinnedBuffer::Allocate(bytes_);
  if (!host_memory.ok()) return host_memory.status();
  device_memory_ = *std::move(device_memory);
  host_memory_ = *std::move(host_memory);
  std::memset(host_memory_.As<std::byte>(), 0, bytes_);
  if (copied_ == nullptr) {
    CheckCuda(cudaEventCreateWithFlags(&copied_, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  }
  return absl::OkStatus();
}

template <class T>
std::span<const T> StepInputs::Stage(const Place<T>& place, std::span<const T> values) {
  CHECK_LE(values.size(), place.capacity);
  std::copy(values.begin(), values.end(), reinterpret_cast<T*>(host_memory_.As<std::byte>() + place.offset));
  return {reinterpret_cast<const T*>(device_memory_.As<std::byte>() + place.offset), values.size()};
}

Batch StepInputs::Upload(CudaDevice& device, const BatchInputs& inputs, std::span<const SampleRow> samples) {
  for (const BatchRow& row : inputs.rows) CHECK_LE(row.first_key, row.first_position);
  CheckCuda(cudaEventSynchronize(copied_), "cudaEventSynchronize");
  const int ranges = NumRanges(std::max(1, inputs.max_context()));
  const int shape_ranges = std::min(static_cast<int>(std::bit_ceil(static_cast<unsigned>(ranges))),
                                    std::max(ranges, NumRanges(max_context_)));
  const Batch batch{.token_ids = Stage<int32_t>(token_ids_, inputs.token_ids),
                    .positions = Stage<int32_t>(positions_, inputs.positions),
                    .slots = Stage<int32_t>(slots_, inputs.slots),
                    .token_rows = Stage<int32_t>(token_rows_, inputs.token_rows),
                    .rows = Stage<BatchRow>(rows_, inputs.rows),
                    .blocks = Stage<int32_t>(blocks_, inputs.blocks),
                    .logit_tokens = Stage<int32_t>(logit_tokens_, inputs.logit_tokens),
                    .hidden_rows = Stage<int32_t>(hidden_rows_, inputs.hidden_rows),
                    .samples = samples,
                    .max_context = shape_ranges * kRangeKeys};
  const size_t used = blocks_.offset + inputs.blocks.size() * sizeof(int32_t);
  CheckCuda(cudaMemcpyAsync(device_memory_.As<std::byte>(), host_memory_.As<std::byte>(), used, cudaMemcpyHostToDevice,
                            device.stream()),
            "cudaMemcpyAsync");
  CheckCuda(cudaEventRecord(copied_, device.stream()), "cudaEventRecord");
  return batch;
}

}  // namespace latentd::cuda
