#include "kernels/cuda/sampler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "kernels/cpu/verbs.h"
#include "kernels/id_bits.h"

namespace latentd::cuda {
namespace {

// The likeliest id of all is the likeliest of those that the masks leave, if they leave it.
bool MasksLeave(const SampleRow& row, int32_t id) {
  if (!row.has_token.empty() && row.has_token[static_cast<size_t>(id)] == 0) return false;
  if (!row.allowed.empty() && !HasId(row.allowed, id)) return false;
  return !HasId(row.banned_ids, id);
}

}  // namespace

absl::Status Sampler::Reserve(CudaDevice& device, const StepLimits& limits) {
  const auto rows = static_cast<size_t>(limits.max_logit_rows);
  const auto vocab = static_cast<size_t>(limits.vocab_size);
  absl::StatusOr<DeviceBuffer> parts =
      device.Allocate(rows * static_cast<size_t>(NumGreedyParts(limits.vocab_size)) * sizeof(uint64_t));
  if (!parts.ok()) return parts.status();
  absl::StatusOr<DeviceBuffer> device_choices = device.Allocate(rows * sizeof(GreedyChoice));
  if (!device_choices.ok()) return device_choices.status();
  absl::StatusOr<PinnedBuffer> choices = PinnedBuffer::Allocate(rows * sizeof(GreedyChoice));
  if (!choices.ok()) return choices.status();
  parts_ = *std::move(parts);
  device_choices_ = *std::move(device_choices);
  choices_ = *std::move(choices);
  host_indices_.reserve(rows);
  host_rows_.reserve(rows);
  host_results_.reserve(rows);
  host_logits_.resize(rows * vocab);
  scratch_.Reserve(limits.vocab_size, pool_.num_threads());
  return absl::OkStatus();
}

void Sampler::Launch(CudaDevice& device, Tensor logits) {
  logits_ = logits;
  if (logits.rows == 0) return;
  ChooseGreedy(device.stream(), logits, /*has_token=*/nullptr, parts_.As<uint64_t>(),
               device_choices_.As<GreedyChoice>());
  CheckCuda(
      cudaMemcpyAsync(choices_.As<GreedyChoice>(), device_choices_.As<GreedyChoice>(),
                      static_cast<size_t>(logits.rows) * sizeof(GreedyChoice), cudaMemcpyDeviceToHost, device.stream()),
      "cudaMemcpyAsync");
}

void Sampler::Collect(CudaDevice& device, std::span<SampleResult> results) {
  CHECK_LE(results.size(), rows_.size());
  device.Synchronize();
  host_indices_.clear();
  host_rows_.clear();
  for (size_t i = 0; i < results.size(); ++i) {
    const SampleRow& row = rows_[i];
    const GreedyChoice& choice = choices_.As<GreedyChoice>()[i];
    results[i] = {.id = choice.finite != 0 ? choice.id : -1, .finite = choice.finite != 0, .top = {}};
    if (choice.finite == 0 || (row.WantsLikeliest() && MasksLeave(row, choice.id))) continue;
    host_indices_.push_back(static_cast<int>(i));
    host_rows_.push_back(row);
  }
  if (!host_rows_.empty()) SampleOnHost(device, results);
}

void Sampler::SampleOnHost(CudaDevice& device, std::span<SampleResult> results) {
  const auto vocab = static_cast<size_t>(logits_.width);
  const Tensor logits{host_logits_.data(), static_cast<int>(host_rows_.size()), logits_.width, logits_.width};
  for (size_t i = 0; i < host_rows_.size(); ++i) {
    CheckCuda(cudaMemcpyAsync(logits.Row(static_cast<int>(i)), logits_.Row(host_indices_[i]), vocab * sizeof(float),
                              cudaMemcpyDeviceToHost, device.stream()),
              "cudaMemcpyAsync");
  }
  device.Synchronize();
  host_results_.resize(host_rows_.size());
  cpu::Sample(pool_, scratch_, logits, host_rows_, host_results_);
  for (size_t i = 0; i < host_rows_.size(); ++i) {
    std::swap(results[static_cast<size_t>(host_indices_[i])], host_results_[i]);
  }
}

}  // namespace latentd::cuda
