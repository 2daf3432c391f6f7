#include "tools/convert/random_checkpoint.h"

#include <cmath>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <absl/strings/str_format.h>
#include <absl/strings/str_replace.h>

#include "base/fingerprint.h"
#include "base/quoting.h"
#include "engine/model/checkpoint/tensor_catalog.h"
#include "engine/model/config/model_config.h"
#include "tools/convert/checkpoint_writer.h"
#include "tools/convert/config_json.h"
#include "tools/convert/planned_tensor.h"

namespace latentd {
namespace {

struct Distribution {
  float mean = 0.0f;
  float deviation = 1.0f;
};

// Such that what a layer adds stays around one whatever its width.
Distribution DistributionOf(const ExpectedTensor& tensor) {
  if (tensor.role == TensorRole::kRoutingBias) return {.deviation = 0.1f};
  if (tensor.shape.size() == 1) return {.mean = 1.0f, .deviation = 0.1f};  // norms
  if (tensor.role == TensorRole::kEmbedding) return {};
  return {.deviation = 1.0f / std::sqrt(static_cast<float>(tensor.shape[1]))};
}

// SplitMix64: the number at a place of a stream, so that any row can be drawn alone and twice.
uint64_t Mixed(uint64_t place) {
  place += 0x9E3779B97F4A7C15;
  place = (place ^ (place >> 30)) * 0xBF58476D1CE4E5B9;
  place = (place ^ (place >> 27)) * 0x94D049BB133111EB;
  return place ^ (place >> 31);
}

// Nearly normal, of mean 0 and deviation 1: the sum of four uniform numbers, at the price of one draw.
float Draw(uint64_t place) {
  const uint64_t bits = Mixed(place);
  const uint64_t sum = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48);
  return (static_cast<float>(sum) - 2.0f * 0xFFFF) * (1.7320508f / 0x10000);
}

ValueRows DrawnRows(const ExpectedTensor& tensor, uint64_t seed) {
  const Distribution distribution = DistributionOf(tensor);
  const uint64_t stream = Mixed(Fingerprint(tensor.name, Mixed(seed)));
  const auto width = static_cast<uint64_t>(tensor.shape.back());
  return {.shape = tensor.shape, .read = [distribution, stream, width](int64_t first_row, std::span<float> values) {
            const uint64_t first = stream + static_cast<uint64_t>(first_row) * width;
            for (size_t i = 0; i < values.size(); ++i) {
              values[i] = distribution.mean + distribution.deviation * Draw(first + i);
            }
          }};
}

std::vector<PlannedTensor> PlanOf(const ModelConfig& config, const RandomCheckpoint& options) {
  std::vector<PlannedTensor> plan;
  const absl::Status status = ForEachExpectedTensor(config, [&](const ExpectedTensor& tensor) {
    if (tensor.optional) return absl::OkStatus();
    ValueRows rows = DrawnRows(tensor, options.seed);
    const bool is_bias = tensor.role == TensorRole::kRoutingBias;
    if (options.dtype != DType::kE4M3) {
      plan.push_back(PlanValues(tensor.name, is_bias ? DType::kF32 : options.dtype, std::move(rows)));
    } else if (!MayBeFp8(tensor.role)) {
      plan.push_back(PlanValues(tensor.name, is_bias ? DType::kF32 : DType::kBf16, std::move(rows)));
    } else {
      const ScaleFormat format = config.quantization.power_of_two_scales ? ScaleFormat::kUe8m0 : ScaleFormat::kF32;
      for (PlannedTensor& part : PlanQuantized(tensor.name, rows, format)) plan.push_back(std::move(part));
    }
    return absl::OkStatus();
  });
  return plan;
}

absl::Status DeclareType(const std::filesystem::path& path, DType dtype, const ModelConfig& config) {
  if (dtype != DType::kE4M3) return DeclareUnquantized(path, dtype);
  return DeclareFp8(path, config.quantization.power_of_two_scales ? ScaleFormat::kUe8m0 : ScaleFormat::kF32,
                    DType::kBf16);
}

}  // namespace

absl::Status WriteRandomCheckpoint(const RandomCheckpoint& options) {
  absl::StatusOr<OutputDirectory> output = OutputDirectory::Create(options.to, options.existing, options.config_json);
  if (!output.ok()) return output.status();
  const std::filesystem::path config_json = output->path() / "config.json";
  std::error_code error;
  std::filesystem::copy_file(options.config_json, config_json, error);
  if (error) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: %s", Quoted(options.config_json.string()), error.message()));
  }
  const absl::StatusOr<ModelConfig> config = LoadModelConfig(output->path());
  if (!config.ok()) {
    // The copy is gone when the message is read: it names the original.
    return absl::InvalidArgumentError(absl::StrReplaceAll(std::string(config.status().message()),
                                                          {{config_json.string(), options.config_json.string()}}));
  }
  absl::Status status = DeclareType(config_json, options.dtype, *config);
  if (status.ok()) status = WriteTensors(output->path(), PlanOf(*config, options), kDefaultShardBytes);
  return status.ok() ? output->Commit() : status;
}

}  // namespace latentd
