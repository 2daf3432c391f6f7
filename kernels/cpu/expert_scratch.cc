#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/experts.h"

namespace latentd::cpu {
namespace {

// Whole panels are stored; the extra line keeps the rows of a tile out of each other's L1 sets.
size_t HiddenStride(int width) {
  return static_cast<size_t>((width + kPanelOutputs - 1) / kPanelOutputs * kPanelOutputs + 16);
}

}  // namespace

absl::Status ExpertScratch::Reserve(Device& device, const StepLimits& limits) {
  const auto tokens = static_cast<size_t>(limits.max_tokens);
  const auto chosen = static_cast<size_t>(limits.experts_per_token);
  const size_t entries = tokens * (chosen + 1);
  choices_.reserve(entries);
  jobs_.reserve(entries);
  x_.reserve(entries);
  if (limits.activations == ActivationFormat::kE4M3) decoded_x_.reserve(entries);
  hidden_.reserve(entries);
  const size_t row_floats = chosen * HiddenStride(limits.expert_width) + HiddenStride(limits.shared_expert_width);
  absl::StatusOr<DeviceBuffer> hidden = device.Allocate(tokens * row_floats * sizeof(float));
  if (!hidden.ok()) return hidden.status();
  hidden_values_ = *std::move(hidden);
  return absl::OkStatus();
}

void ExpertScratch::Plan(const LinearInputs& x, const Routing& routing, const PackedExperts& experts) {
  choices_.clear();
  for (int row = 0; row < routing.rows; ++row) {
    for (int i = row * routing.experts_per_token; i < (row + 1) * routing.experts_per_token; ++i) {
      CHECK_GE(routing.experts[i], 0);
      CHECK_LT(routing.experts[i], static_cast<int>(experts.routed.size()));
      choices_.push_back({routing.experts[i], row, routing.weights[i]});
    }
  }
  std::sort(choices_.begin(), choices_.end(), [](const Choice& a, const Choice& b) {
    return a.expert != b.expert ? a.expert < b.expert : a.row < b.row;
  });
  const int num_routed = static_cast<int>(choices_.size());
  if (experts.shared.gate != nullptr)
    for (int row = 0; row < x.values.rows; ++row) choices_.push_back({-1, row, 1.0f});

  x_.clear();
  decoded_x_.clear();
  for (const Choice& choice : choices_) {
    x_.push_back(x.values.Row(choice.row));
    if (x.coded()) decoded_x_.push_back(x.decoded.Row(choice.row));
  }
  jobs_.clear();
  hidden_.clear();
  num_hidden_panels_ = 0;
  hidden_floats_ = 0;
  for (int first = 0, end; first < num_routed; first = end) {
    const int32_t expert = choices_[static_cast<size_t>(first)].expert;
    for (end = first; end < num_routed && choices_[static_cast<size_t>(end)].expert == expert;) ++end;
    AddJob(experts.routed[static_cast<size_t>(expert)], first, end - first);
  }
  if (experts.shared.gate != nullptr) AddJob(experts.shared, num_routed, x.values.rows);
}

void ExpertScratch::AddJob(const ExpertMlp& expert, int first, int count) {
  jobs_.push_back({expert.gate.get(), expert.up.get(), expert.down.get(), first, count, num_hidden_panels_});
  num_hidden_panels_ += expert.gate->num_panels();
  for (int i = 0; i < count; ++i) {
    hidden_.push_back(hidden_values_.As<float>() + hidden_floats_);
    hidden_floats_ += HiddenStride(expert.gate->outputs);
  }
  CHECK_LE(hidden_floats_ * sizeof(float), hidden_values_.bytes());
}

}  // namespace latentd::cpu
