#include "engine/load/choose_numerics.h"

#include <absl/status/status.h>
#include <absl/strings/str_format.h>

#include "engine/model/checkpoint/tensor_catalog.h"
#include "engine/model/checkpoint/tensor_names.h"

namespace latentd {
namespace {

// How many processes share the model. A sum that is split among several has another order, and so other bytes:
// whatever splits one makes this a member of Numerics.
constexpr int kWorldSize = 1;

// Whether products meet weights of that type which codes are for: kv_b's inputs are never quantised, and what is only
// checked meets none.
bool HasProducts(const Checkpoint& checkpoint, const ModelConfig& config, DType dtype) {
  const absl::Status walk = ForEachExpectedTensor(config, [&](const ExpectedTensor& tensor) {
    const bool is_product = tensor.use == TensorUse::kLoaded && tensor.role == TensorRole::kProjection;
    const bool is_one = is_product && checkpoint.Has(tensor.name) && checkpoint.Matrix(tensor.name).dtype == dtype;
    return is_one ? absl::AlreadyExistsError(tensor.name) : absl::OkStatus();
  });
  return !walk.ok();
}

std::string_view ActivationTypeName(ActivationFormat activations, const ModelConfig& config) {
  if (activations == ActivationFormat::kF32) return "a32";
  return CodeScaleFormat(config) == ScaleFormat::kUe8m0 ? "a8ue8m0" : "a8";
}

std::string_view LatentTypeName(LatentFormat latents) {
  return latents == LatentFormat::kF32 ? "f32" : NameOf(latents);
}

}  // namespace

// auto: what the models were trained with where the hardware multiplies codes; on the CPU, which decodes them, only an
// operator's wish outweighs the precision of the values.
absl::StatusOr<ActivationFormat> ChooseActivations(const LoadOptions& options, const Checkpoint& checkpoint,
                                                   const ModelConfig& config, const ChosenBackend& chosen) {
  const bool is_auto = options.fp8_activations == "auto";
  if (options.fp8_activations == "off" || (is_auto && !chosen.is_cuda())) return ActivationFormat::kF32;
  if (HasProducts(checkpoint, config, DType::kE4M3)) return ActivationFormat::kE4M3;
  if (is_auto) return ActivationFormat::kF32;
  return absl::InvalidArgumentError(
      absl::StrFormat("fp8-activations=dynamic: expected FP8 weights, found none in %s; use auto or off, or make FP8 "
                      "weights with latent-convert quantize",
                      options.model_directory));
}

std::string QuantizationOf(const Checkpoint& checkpoint, const ModelConfig& config) {
  if (HasProducts(checkpoint, config, DType::kInt4)) return "int4_group32";
  if (HasProducts(checkpoint, config, DType::kE4M3)) return "fp8_e4m3_block128";
  return checkpoint.Matrix(tensor_names::kEmbedding).dtype == DType::kF32 ? "fp32" : "bf16";
}

std::string FingerprintOf(const Numerics& numerics, std::string_view quantization, std::string_view revision) {
  return absl::StrFormat("%s/exact-1/%s-%s/kv-%s/world-%d/%s", numerics.chosen.is_cuda() ? "cuda" : "cpu", quantization,
                         ActivationTypeName(numerics.activations, numerics.config),
                         LatentTypeName(numerics.chosen.latents), kWorldSize, revision);
}

}  // namespace latentd
