// The inputs of a step on the device: one buffer whose arrays never move, filled by one copy. Owned by CudaOps.
#pragma once

#include <span>

#include <absl/status/status.h>

#include "kernels/batch.h"
#include "kernels/cuda/attend_plan.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/ops.h"

namespace latentd::cuda {

class StepInputs {
 public:
  StepInputs() = default;
  StepInputs(const StepInputs&) = delete;
  StepInputs& operator=(const StepInputs&) = delete;
  ~StepInputs();

  absl::Status Reserve(CudaDevice& device, const StepLimits& limits);

  // Copies the inputs on the device's stream, once the copy before has been made. max_context is rounded up to
  // kRangeKeys times a power of two, or to the longest context there is.
  Batch Upload(CudaDevice& device, const BatchInputs& inputs, std::span<const SampleRow> samples);

 private:
  // An array's place: the same offset in the device's buffer and in the pinned one.
  template <class T>
  struct Place {
    size_t offset = 0;
    size_t capacity = 0;
  };
  template <class T>
  Place<T> Next(size_t capacity);
  template <class T>
  std::span<const T> Stage(const Place<T>& place, std::span<const T> values);

  int max_context_ = 0;
  size_t bytes_ = 0;
  Place<int32_t> token_ids_, positions_, slots_, token_rows_, logit_tokens_, hidden_rows_, blocks_;
  Place<BatchRow> rows_;
  DeviceBuffer device_memory_;
  PinnedBuffer host_memory_;
  cudaEvent_t copied_ = nullptr;  // the host may write to host_memory_ again
};

}  // namespace latentd::cuda
