// The verb MixExperts: out = Σ weight · expert(x) in ascending id, the shared expert last.
//
// Two parallel regions. The first has an item per (touched expert, panel of its hidden layer): gate and up of the same
// outputs, SwiGLU, store. The second has an item per panel of the output and walks the experts in ascending order, so
// no two threads add to one number and the order needs no care. Each touched weight is read from memory once per step.
// Where x has codes, a region between them rounds the hidden rows to codes: their groups are wider than a panel.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "base/thread_pool.h"
#include "kernels/cpu/activation_codes.h"
#include "kernels/cpu/packed_matrix.h"
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

  std::vector<ExpertMlp> routed;
  ExpertMlp shared;  // empty pointers where there is none
};

// One expert and the rows that chose it: entries [first, first + count) of ExpertScratch.
struct ExpertJob {
  const PackedMatrix* gate = nullptr;
  const PackedMatrix* up = nullptr;
  const PackedMatrix* down = nullptr;
  int first = 0;
  int count = 0;
  int first_panel = 0;  // of the hidden layers of all jobs
};

// The step's choices grouped by expert, and the hidden layers. Owned by CpuOps; engine thread only.
class ExpertScratch {
 public:
  absl::Status Reserve(Device& device, const StepLimits& limits);

  void Plan(const LinearInputs& x, const Routing& routing, const PackedExperts& experts);

  const std::vector<ExpertJob>& jobs() const { return jobs_; }
  int num_hidden_panels() const { return num_hidden_panels_; }
  int num_choices() const { return static_cast<int>(choices_.size()); }
  // The job's rows of x as products with `w` read them.
  const float* const* x(const ExpertJob& job, const PackedMatrix& w) const {
    return (decoded_x_.empty() || w.dtype() != DType::kE4M3 ? x_ : decoded_x_).data() + job.first;
  }
  float* const* hidden(const ExpertJob& job) const { return hidden_.data() + job.first; }
  int row(const ExpertJob& job, int i) const { return choices_[static_cast<size_t>(job.first + i)].row; }
  float weight(const ExpertJob& job, int i) const { return choices_[static_cast<size_t>(job.first + i)].weight; }

 private:
  struct Choice {
    int32_t expert;
    int32_t row;
    float weight;
  };
  void AddJob(const ExpertMlp& expert, int first, int count);

  std::vector<Choice> choices_;  // ascending expert, then row; the shared expert's come last
  std::vector<ExpertJob> jobs_;
  std::vector<const float*> x_;
  std::vector<const float*> decoded_x_;  // empty where x has no codes
  std::vector<float*> hidden_;
  int num_hidden_panels_ = 0;
  DeviceBuffer hidden_values_;
  size_t hidden_floats_ = 0;  // in use
};

void MixExperts(ThreadPool& pool, const LinearInputs& x, const Routing& routing, const PackedExperts& experts,
                ExpertScratch& scratch, Tensor out);

}  // namespace latentd::cpu
