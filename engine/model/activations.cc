#include "engine/model/activations.h"

#include <utility>

#include <absl/status/status.h>

#include "kernels/rounding.h"

namespace latentd {
namespace {

class Arena {
 public:
  // Without a device it counts bytes, and its values have no address.
  explicit Arena(Device* device) : device_(device) {}

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
    const size_t bytes = static_cast<size_t>(rows) * static_cast<size_t>(width) * sizeof(T);
    num_bytes_ += bytes;
    if (device_ == nullptr) return nullptr;
    absl::StatusOr<DeviceBuffer> buffer = device_->Allocate(bytes);
    if (!buffer.ok()) {
      status_ = buffer.status();
      return nullptr;
    }
    T* values = buffer->As<T>();
    buffers.push_back(*std::move(buffer));
    return values;
  }
  const absl::Status& status() const { return status_; }
  size_t num_bytes() const { return num_bytes_; }

  std::vector<DeviceBuffer> buffers;

 private:
  Device* const device_;
  size_t num_bytes_ = 0;
  absl::Status status_;
};

// All tensors of a step: in memory, or of no address where the arena only counts.
Activations LayOut(Arena& arena, const ModelConfig& config, MtpUse mtp, const StepLimits& limits) {
  const AttentionShape& shape = config.attention;
  const int tokens = limits.max_tokens;
  const int logit_rows = limits.max_logit_rows;
  const int experts_per_token = config.routing.experts_per_token;
  Activations a;
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
  if (mtp == MtpUse::kNone) return a;
  a.hidden = arena.Rows(tokens, config.hidden_size);
  a.pair = arena.Rows(tokens, 2 * config.hidden_size);
  return a;
}

}  // namespace

ScaleFormat CodeScaleFormat(const ModelConfig& config) {
  return config.quantization.power_of_two_scales ? ScaleFormat::kUe8m0 : ScaleFormat::kF32;
}

size_t ActivationMemory::Bytes(const ModelConfig& config, MtpUse mtp, const StepLimits& limits) {
  Arena arena(nullptr);
  LayOut(arena, config, mtp, limits);
  return arena.num_bytes();
}

absl::StatusOr<ActivationMemory> ActivationMemory::Allocate(Device& device, const ModelConfig& config, MtpUse mtp,
                                                            const StepLimits& limits) {
  Arena arena(&device);
  Activations largest = LayOut(arena, config, mtp, limits);
  if (!arena.status().ok()) return arena.status();
  return ActivationMemory{largest, std::move(arena.buffers)};
}

Activations Activations::FirstRows(int num_tokens, int num_logit_rows) const {
  Activations cut = *this;
  for (Tensor* t : {&cut.x, &cut.h.values, &cut.delta, &cut.q_latent.values, &cut.q, &cut.kv, &cut.heads.values,
                    &cut.gate.values, &cut.up, &cut.router_logits, &cut.hidden, &cut.pair}) {
    t->rows = num_tokens;
  }
  cut.routing.rows = num_tokens;
  for (Tensor* t : {&cut.logit_x, &cut.logit_delta, &cut.logit_h, &cut.logits}) t->rows = num_logit_rows;
  return cut;
}

}  // namespace latentd
