// Sample on the GPU. The likeliest id of each row is chosen on the device; a row that wants more (a draw, penalties,
// masks, log-probabilities) is chosen by the CPU's sampler from the downloaded logits, so that every request can be
// served. Owned by CudaOps; engine thread only.
#pragma once

#include <span>
#include <vector>

#include <absl/status/status.h>

#include "base/thread_pool.h"
#include "kernels/batch.h"
#include "kernels/cpu/sample_scratch.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/greedy.h"
#include "kernels/ops.h"

namespace latentd::cuda {

class Sampler {
 public:
  absl::Status Reserve(CudaDevice& device, const StepLimits& limits);

  // The rows of the step at hand, borrowed until Collect.
  void Begin(std::span<const SampleRow> rows) { rows_ = rows; }
  // Launches only. Recorded steps must all have their logits at one address: Collect reads the last call's.
  void Launch(CudaDevice& device, Tensor logits);
  // Waits for the device.
  void Collect(CudaDevice& device, std::span<SampleResult> results);

 private:
  void SampleOnHost(CudaDevice& device, std::span<SampleResult> results);

  std::span<const SampleRow> rows_;
  Tensor logits_;
  DeviceBuffer parts_;           // [logit rows, NumGreedyParts(vocab)]
  DeviceBuffer device_choices_;  // [logit rows]
  PinnedBuffer choices_;         // [logit rows]

  std::vector<int> host_indices_;  // of the rows that the CPU chooses for
  std::vector<SampleRow> host_rows_;
  std::vector<float> host_logits_;  // [host rows, vocab]
  std::vector<SampleResult> host_results_;
  ThreadPool pool_{1};
  cpu::SampleScratch scratch_;
};

}  // namespace latentd::cuda
