#include "engine/load/choose_numerics.h"

#include <algorithm>
#include <span>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "engine/model/activations.h"
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

absl::StatusOr<ActivationFormat> ChooseActivations(const LoadOptions& options, const Checkpoint& checkpoint,
                                                   const ModelConfig& config, const ChosenBackend& chosen) {
  const bool has_fp8_products = HasProducts(checkpoint, config, DType::kE4M3);
  std::string names = "auto";
  for (const ActivationFormat format : chosen.backend.ops->activation_formats()) {
    const bool is_possible = format != ActivationFormat::kE4M3 || has_fp8_products;
    const bool is_named = NameOf(format) == options.activations;
    if (is_possible && (is_named || options.activations == "auto")) return format;
    if (is_named) {
      return absl::InvalidArgumentError(
          absl::StrFormat("activations=fp8: expected FP8 weights, found none in %s; use another format or auto, or "
                          "make FP8 weights with latent-convert quantize",
                          options.model_directory));
    }
    absl::StrAppend(&names, ", ", std::string(NameOf(format)));
  }
  return absl::InvalidArgumentError(absl::StrFormat("activations: expected what %s computes with (%s), found %s",
                                                    chosen.device, names, options.activations));
}

bool StoresBeside(ActivationFormat activations, std::string_view latents, const Ops& ops) {
  const std::span<const LatentFormat> stored = ops.latent_formats(activations);
  return std::any_of(stored.begin(), stored.end(), [&](LatentFormat format) { return NameOf(format) == latents; });
}

absl::StatusOr<LatentFormat> ChooseLatents(const LoadOptions& options, ActivationFormat activations,
                                           const ChosenBackend& chosen) {
  const Ops& ops = *chosen.backend.ops;
  const std::span<const LatentFormat> stored = ops.latent_formats(activations);
  if (options.kv_dtype == "auto") return stored.front();
  std::string names = "auto";
  for (const LatentFormat format : stored) {
    if (NameOf(format) == options.kv_dtype) return format;
    absl::StrAppend(&names, ", ", std::string(NameOf(format)));
  }
  const bool is_of_fp32 = StoresBeside(ActivationFormat::kF32, options.kv_dtype, ops);
  return absl::InvalidArgumentError(
      absl::StrFormat("kv-dtype: expected what %s stores with activations=%s (%s), found %s%s", chosen.device,
                      std::string(NameOf(activations)), names, options.kv_dtype,
                      is_of_fp32 ? "; use one of those, or activations=fp32" : ""));
}

std::string_view ActivationTypeName(ActivationFormat activations, const ModelConfig& config) {
  if (activations == ActivationFormat::kF32) return "a32";
  if (activations == ActivationFormat::kBf16) return "a16";
  return CodeScaleFormat(config) == ScaleFormat::kUe8m0 ? "a8ue8m0" : "a8";
}

// Raised where the bytes of answers change. Codes on the CPU were multiplied with their scales first.
std::string_view ArithmeticVersion(ActivationFormat activations, const ChosenBackend& chosen) {
  return activations == ActivationFormat::kE4M3 && !chosen.is_cuda() ? "exact-2" : "exact-1";
}

std::string_view LatentTypeName(LatentFormat latents) {
  return latents == LatentFormat::kF32 ? "f32" : NameOf(latents);
}

}  // namespace

// Each backend's first choices: a GPU's are what the models were trained with, where the weights are FP8.
absl::StatusOr<Numerics> ChooseNumerics(const LoadOptions& options, const Checkpoint& checkpoint,
                                        const ModelConfig& config, const ChosenBackend& chosen) {
  const absl::StatusOr<ActivationFormat> activations = ChooseActivations(options, checkpoint, config, chosen);
  if (!activations.ok()) return activations.status();
  const absl::StatusOr<LatentFormat> latents = ChooseLatents(options, *activations, chosen);
  if (!latents.ok()) return latents.status();
  return Numerics{.activations = *activations, .latents = *latents};
}

std::string QuantizationOf(const Checkpoint& checkpoint, const ModelConfig& config) {
  if (HasProducts(checkpoint, config, DType::kInt4)) return "int4_group32";
  if (HasProducts(checkpoint, config, DType::kE4M3)) return "fp8_e4m3_block128";
  return checkpoint.Matrix(tensor_names::kEmbedding).dtype == DType::kF32 ? "fp32" : "bf16";
}

std::string FingerprintOf(const Numerics& numerics, const ChosenBackend& chosen, const ModelConfig& config,
                          std::string_view quantization, std::string_view revision) {
  return absl::StrFormat("%s/%s/%s-%s/kv-%s/world-%d/%s", chosen.is_cuda() ? "cuda" : "cpu",
                         ArithmeticVersion(numerics.activations, chosen), quantization,
                         ActivationTypeName(numerics.activations, config), LatentTypeName(numerics.latents), kWorldSize,
                         revision);
}

}  // namespace latentd
