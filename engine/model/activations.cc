#include "engine/model/activations.h"

#include <utility>

#include <absl/status/status.h>

namespace latentd {
namespace {

// Rows start one cache line past a multiple of 16 values, so that the rows of a tile do not share the same L1 sets.
constexpr int PaddedStride(int width) { return (width + 15) / 16 * 16 + 16; }

class Arena {
 public:
  explicit Arena(Device& device) : device_(device) {}

  Tensor Rows(int rows, int width) {
    const int stride = PaddedStride(width);
    return {Values<float>(rows, stride), rows, width, stride};
  }
  template <class T>
  T* Values(int rows, int width) {
    if (!status_.ok() || rows == 0 || width == 0) return nullptr;
    absl::StatusOr<DeviceBuffer> buffer =
        device_.Allocate(static_cast<size_t>(rows) * static_cast<size_t>(width) * sizeof(T));
    if (!buffer.ok()) {
      status_ = buffer.status();
      return nullptr;
    }
    T* values = buffer->As<T>();
    buffers.push_back(*std::move(buffer));
    return values;
  }
  const absl::Status& status() const { return status_; }

  std::vector<DeviceBuffer> buffers;

 private:
  Device& device_;
  absl::Status status_;
};

}  // namespace

size_t ActivationMemory::BytesPerToken(const ModelConfig& config) {
  const AttentionShape& shape = config.attention;
  const int64_t widths = 3 * PaddedStride(config.hidden_size) + PaddedStride(config.query_latent_width) +
                         PaddedStride(shape.num_heads * shape.query_width()) +
                         PaddedStride(shape.latent_width + shape.rope_width) +
                         PaddedStride(shape.num_heads * shape.value_width) + 2 * PaddedStride(config.dense_width) +
                         PaddedStride(config.routing.num_experts);
  // The kernels' scratch holds each token's inputs, gate, up and output once for every expert that it goes to.
  const int64_t scratch = int64_t{config.routing.experts_per_token} * 2 * (config.hidden_size + config.expert_width);
  return static_cast<size_t>(widths + scratch) * sizeof(float);
}

absl::StatusOr<ActivationMemory> ActivationMemory::Allocate(Device& device, const ModelConfig& config,
                                                            const StepLimits& limits) {
  const AttentionShape& shape = config.attention;
  const int tokens = limits.max_tokens;
  const int logit_rows = limits.max_logit_rows;
  const int experts_per_token = config.routing.experts_per_token;
  Activations a;
  Arena arena(device);
  a.x = arena.Rows(tokens, config.hidden_size);
  a.h = arena.Rows(tokens, config.hidden_size);
  a.delta = arena.Rows(tokens, config.hidden_size);
  a.q_latent = arena.Rows(tokens, config.query_latent_width);
  a.q = arena.Rows(tokens, shape.num_heads * shape.query_width());
  a.kv = arena.Rows(tokens, shape.latent_width + shape.rope_width);
  a.heads = arena.Rows(tokens, shape.num_heads * shape.value_width);
  a.gate = arena.Rows(tokens, config.dense_width);
  a.up = arena.Rows(tokens, config.dense_width);
  a.router_logits = arena.Rows(tokens, config.routing.num_experts);
  a.routing = {.experts = arena.Values<int32_t>(tokens, experts_per_token),
               .weights = arena.Values<float>(tokens, experts_per_token),
               .rows = tokens,
               .experts_per_token = experts_per_token};
  a.logit_x = arena.Rows(logit_rows, config.hidden_size);
  a.logit_delta = arena.Rows(logit_rows, config.hidden_size);
  a.logit_h = arena.Rows(logit_rows, config.hidden_size);
  a.logits = arena.Rows(logit_rows, config.vocab_size);
  if (!arena.status().ok()) return arena.status();
  return ActivationMemory{a, std::move(arena.buffers)};
}

Activations Activations::FirstRows(int num_tokens, int num_logit_rows) const {
  Activations cut = *this;
  for (Tensor* t : {&cut.x, &cut.h, &cut.delta, &cut.q_latent, &cut.q, &cut.kv, &cut.heads, &cut.gate, &cut.up,
                    &cut.router_logits}) {
    t->rows = num_tokens;
  }
  cut.routing.rows = num_tokens;
  for (Tensor* t : {&cut.logit_x, &cut.logit_delta, &cut.logit_h, &cut.logits}) t->rows = num_logit_rows;
  return cut;
}

}  // namespace latentd
