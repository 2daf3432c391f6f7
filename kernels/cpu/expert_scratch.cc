#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/experts.h"

namespace latentd::cpu {
namespace {

// Whole panels are stored; the extra line keeps the rows of a tile out of each other's L1 sets.
size_t HiddenStride(int width) {
  return static_cast<size_t>((width + kPanelOutputs - 1) / kPanelOutputs * kPanelOutputs + 16);
}

size_t NumCodeGroups(int width) { return static_cast<size_t>((width + kCodeGroup - 1) / kCodeGroup); }

}  // namespace

absl::Status ExpertScratch::Reserve(Device& device, const StepLimits& limits) {
  const auto tokens = static_cast<size_t>(limits.max_tokens);
  const auto chosen = static_cast<size_t>(limits.experts_per_token);
  const size_t entries = tokens * (chosen + 1);
  choices_.reserve(entries);
  jobs_.reserve(entries);
  const bool may_have_codes = limits.activations == ActivationFormat::kE4M3;
  for (Addresses& rows : x_) rows.values.reserve(entries);
  x_[static_cast<size_t>(InputKind::kCodes)].scales.reserve(may_have_codes ? entries : 0);
  hidden_.reserve(entries);
  hidden_scales_.reserve(entries);
  const auto floats = [=](int width) { return HiddenStride(width) + (may_have_codes ? NumCodeGroups(width) : 0); };
  const size_t row_floats = chosen * floats(limits.expert_width) + floats(limits.shared_expert_width);
  absl::StatusOr<DeviceBuffer> hidden = device.Allocate(tokens * row_floats * sizeof(float));
  if (!hidden.ok()) return hidden.status();
  hidden_values_ = *std::move(hidden);
  return absl::OkStatus();
}

void ExpertScratch::Plan(const ExpertInputs& x, const Routing& routing, const PackedExperts& experts) {
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
    for (int row = 0; row < x.num_rows; ++row) choices_.push_back({-1, row, 1.0f});

  TakeRows(x);
  jobs_.clear();
  hidden_.clear();
  hidden_scales_.clear();
  num_hidden_panels_ = 0;
  hidden_floats_ = 0;
  for (int first = 0, end; first < num_routed; first = end) {
    const int32_t expert = choices_[static_cast<size_t>(first)].expert;
    for (end = first; end < num_routed && choices_[static_cast<size_t>(end)].expert == expert;) ++end;
    AddJob(experts.routed[static_cast<size_t>(expert)], first, end - first);
  }
  if (experts.shared.gate != nullptr) AddJob(experts.shared, num_routed, x.num_rows);
}

void ExpertScratch::TakeRows(const ExpertInputs& x) {
  inputs_ = x;
  for (size_t kind = 0; kind < kNumInputKinds; ++kind) {
    Addresses& rows = x_[kind];
    rows.values.clear();
    rows.scales.clear();
    const ProductRows& from = x.rows[kind];
    for (const Choice& choice : choices_) {
      if (from.values != nullptr) rows.values.push_back(from.values[choice.row]);
      if (from.scales != nullptr) rows.scales.push_back(from.scales[choice.row]);
    }
  }
}

void ExpertScratch::AddJob(const ExpertMlp& expert, int first, int count) {
  jobs_.push_back({expert.gate.get(), expert.up.get(), expert.down.get(), first, count, num_hidden_panels_});
  num_hidden_panels_ += expert.gate->num_panels();
  const bool has_codes = hidden_kind(jobs_.back()) == InputKind::kCodes;
  for (int i = 0; i < count; ++i) {
    hidden_.push_back(hidden_values_.As<float>() + hidden_floats_);
    hidden_floats_ += HiddenStride(expert.gate->outputs);
    hidden_scales_.push_back(has_codes ? hidden_values_.As<float>() + hidden_floats_ : nullptr);
    if (has_codes) hidden_floats_ += NumCodeGroups(expert.gate->outputs);
  }
  CHECK_LE(hidden_floats_ * sizeof(float), hidden_values_.bytes());
}

ProductRows ExpertScratch::x(const ExpertJob& job, const PackedMatrix& w) const {
  const auto kind = static_cast<size_t>(inputs_.KindFor(w));
  return {.arithmetic = inputs_.rows[kind].arithmetic,
          .values = x_[kind].values.data() + job.first,
          .scales = inputs_.rows[kind].scales == nullptr ? nullptr : x_[kind].scales.data() + job.first};
}

ProductRows ExpertScratch::hidden_rows(const ExpertJob& job) const {
  const InputKind kind = hidden_kind(job);
  return {.arithmetic = kind == InputKind::kAsTheyAre ? Arithmetic::kA32 : Arithmetic::kA16,
          .values = hidden(job),
          .scales = kind == InputKind::kCodes ? hidden_scales(job) : nullptr};
}

}  // namespace latentd::cpu
