#include "kernels/cuda/attend_plan.h"

#include <algorithm>

#include <absl/strings/str_format.h>

#include "base/check.h"

namespace latentd::cuda {
namespace {

constexpr size_t kPartAlignment = 256;

size_t PartBytes(size_t bytes) { return (bytes + kPartAlignment - 1) / kPartAlignment * kPartAlignment; }

}  // namespace

absl::Status SupportsAttention(const AttentionShape& shape) {
  const int key_width = shape.latent_width + shape.rope_width;
  if (shape.latent_width <= kMaxLatentWidth && key_width <= kMaxKeyWidth) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrFormat(
      "attention with latents of width %d and keys of width %d: the CUDA backend holds at most %d and %d; use the CPU "
      "backend",
      shape.latent_width, key_width, kMaxLatentWidth, kMaxKeyWidth));
}

AttendPlan::AttendPlan(const AttentionShape& shape, int max_tokens, int max_context)
    : num_heads(shape.num_heads),
      key_stride(RoundUp(shape.latent_width + shape.rope_width, 8)),
      latent_stride(RoundUp(shape.latent_width, 16)),
      max_ranges(std::max(1, NumRanges(max_context))) {
  const auto heads = static_cast<size_t>(num_heads);
  const size_t token_bytes = 2 * sizeof(uint16_t) * heads * static_cast<size_t>(key_stride);
  const size_t pair_bytes = sizeof(float) * heads * (static_cast<size_t>(latent_stride) + 2);
  const int most_pairs = static_cast<int>(kMaxBytes / (token_bytes + pair_bytes));
  this->max_tokens = std::clamp(most_pairs, 1, std::min(max_tokens, kMaxWaveTokens));
  max_pairs = std::max(max_ranges, std::min(most_pairs, this->max_tokens * max_ranges));
}

int AttendPlan::WaveTokens(int num_ranges) const {
  CHECK_LE(num_ranges, max_ranges);
  return std::min(max_tokens, max_pairs / num_ranges);
}

size_t AttendPlan::query_plane_bytes() const {
  return PartBytes(sizeof(uint16_t) * static_cast<size_t>(max_tokens) * static_cast<size_t>(num_heads) *
                   static_cast<size_t>(key_stride));
}

size_t AttendPlan::latent_bytes() const {
  return PartBytes(sizeof(float) * static_cast<size_t>(max_pairs) * static_cast<size_t>(num_heads) *
                   static_cast<size_t>(latent_stride));
}

size_t AttendPlan::statistic_bytes() const {
  return PartBytes(sizeof(float) * static_cast<size_t>(max_pairs) * static_cast<size_t>(num_heads));
}

}  // namespace latentd::cuda
