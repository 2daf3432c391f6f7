#include "engine/model/activations.h"

#include <algorithm>
#include <utility>

#include <absl/status/status.h>

#include "kernels/rounding.h"

namespace latentd {
namespace {

class Arena {
 public:
  explicit Arena(Device& device) : device_(device) {}

  Tensor Rows(int rows, int width) {
    const int stride = RowStride(width);
    return {Values<float>(rows, stride), rows, width, stride};
  }
  Activation CodedRows(int rows, int width, ScaleFormat scale_format) {
    Activation activation = Rows(rows, width);
    activation.codes = Values<uint8_t>(rows, activation.code_stride());
    activation.scales = Values<float>(rows, activation.num_groups());
    activation.scale_format = scale_format;
    return activation;
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

size_t CodeBytes(int width) {
  const Activation activation(Tensor{.values = nullptr, .rows = 0, .width = width, .stride = width});
  return static_cast<size_t>(activation.code_stride()) + static_cast<size_t>(activation.num_groups()) * sizeof(float);
}

// Bytes of one token: h, q_latent, heads, the dense hidden layer and those of the experts.
size_t CodeBytesPerToken(const ModelConfig& config) {
  const size_t experts = static_cast<size_t>(config.routing.experts_per_token) * CodeBytes(config.expert_width) +
                         CodeBytes(config.shared_expert_width);
  return CodeBytes(config.hidden_size) + CodeBytes(config.query_latent_width) +
         CodeBytes(config.attention.num_heads * config.attention.value_width) + CodeBytes(config.dense_width) + experts;
}

// A backend's own copy of the widest inputs, as values or as the 16 bits that a tile unit reads.
size_t RoundedBytesPerToken(const ModelConfig& config) {
  const int widest = std::max({config.hidden_size, config.query_latent_width, config.dense_width,
                               config.attention.num_heads * config.attention.value_width});
  return static_cast<size_t>(RowStride(widest)) * (sizeof(float) + sizeof(uint16_t));
}

}  // namespace

ScaleFormat CodeScaleFormat(const ModelConfig& config) {
  return config.quantization.power_of_two_scales ? ScaleFormat::kUe8m0 : ScaleFormat::kF32;
}

size_t ActivationMemory::BytesPerToken(const ModelConfig& config, ActivationFormat activations) {
  const AttentionShape& shape = config.attention;
  const int64_t widths = 3 * RowStride(config.hidden_size) + RowStride(config.query_latent_width) +
                         RowStride(shape.num_heads * shape.query_width()) +
                         RowStride(shape.latent_width + shape.rope_width) +
                         RowStride(shape.num_heads * shape.value_width) + 2 * RowStride(config.dense_width) +
                         RowStride(config.routing.num_experts);
  // The kernels' scratch holds each token's inputs, gate, up and output once for every expert that it goes to.
  const int64_t scratch = int64_t{config.routing.experts_per_token} * 2 * (config.hidden_size + config.expert_width);
  const size_t codes = activations == ActivationFormat::kE4M3 ? CodeBytesPerToken(config) : 0;
  const size_t rounded = activations == ActivationFormat::kF32 ? 0 : RoundedBytesPerToken(config);
  return static_cast<size_t>(widths + scratch) * sizeof(float) + codes + rounded;
}

absl::StatusOr<ActivationMemory> ActivationMemory::Allocate(Device& device, const ModelConfig& config,
                                                            const StepLimits& limits) {
  const AttentionShape& shape = config.attention;
  const int tokens = limits.max_tokens;
  const int logit_rows = limits.max_logit_rows;
  const int experts_per_token = config.routing.experts_per_token;
  Activations a;
  Arena arena(device);
  const auto activation = [&](int width) {
    return limits.activations == ActivationFormat::kE4M3 ? arena.CodedRows(tokens, width, CodeScaleFormat(config))
                                                         : arena.Rows(tokens, width);
  };
  a.x = arena.Rows(tokens, config.hidden_size);
  a.h = activation(config.hidden_size);
  a.delta = arena.Rows(tokens, config.hidden_size);
  a.q_latent = activation(config.query_latent_width);
  a.q = arena.Rows(tokens, shape.num_heads * shape.query_width());
  a.kv = arena.Rows(tokens, shape.latent_width + shape.rope_width);
  a.heads = activation(shape.num_heads * shape.value_width);
  a.gate = activation(config.dense_width);
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
  for (Tensor* t : {&cut.x, &cut.h.values, &cut.delta, &cut.q_latent.values, &cut.q, &cut.kv, &cut.heads.values,
                    &cut.gate.values, &cut.up, &cut.router_logits}) {
    t->rows = num_tokens;
  }
  cut.routing.rows = num_tokens;
  for (Tensor* t : {&cut.logit_x, &cut.logit_delta, &cut.logit_h, &cut.logits}) t->rows = num_logit_rows;
  return cut;
}

}  // namespace latentd
