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

ScaleFormat ScaleFormatOf(const ModelConfig& config) {
  return config.quantization.power_of_two_scales ? ScaleFormat::kUe8m0 : ScaleFormat::kF32;
}

std::vector<PlannedTensor> PlanOne(const ExpectedTensor& tensor, const ModelConfig& config,
                                   const RandomCheckpoint& options) {
  ValueRows rows = DrawnRows(tensor, options.seed);
  if (tensor.role == TensorRole::kRoutingBias) return {PlanValues(tensor.name, DType::kF32, std::move(rows))};
  if (options.dtype == DType::kE4M3 && MayBeFp8(tensor.role)) {
    return PlanQuantized(tensor.name, rows, ScaleFormatOf(config));
  }
  if (options.dtype == DType::kInt4 && BecomesInt4(tensor, options.int4_tensors)) {
    return PlanInt4(tensor.name, rows, Int4Scales::kNearest);
  }
  const DType plain = options.dtype == DType::kF32 ? DType::kF32 : DType::kBf16;
  return {PlanValues(tensor.name, plain, std::move(rows))};
}

std::vector<PlannedTensor> PlanOf(const ModelConfig& config, const RandomCheckpoint& options) {
  std::vector<PlannedTensor> plan;
  const absl::Status status = ForEachExpectedTensor(config, [&](const ExpectedTensor& tensor) {
    if (tensor.is_copy()) return absl::OkStatus();
    for (PlannedTensor& part : PlanOne(tensor, config, options)) plan.push_back(std::move(part));
    return absl::OkStatus();
  });
  return plan;
}

absl::Status DeclareType(const std::filesystem::path& path, const ModelConfig& config,
                         const RandomCheckpoint& options) {
  if (options.dtype == DType::kE4M3) return DeclareFp8(path, ScaleFormatOf(config), DType::kBf16);
  if (options.dtype == DType::kInt4) return DeclareInt4(path, options.int4_tensors, DType::kBf16);
  return DeclareUnquantized(path, options.dtype);
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
  absl::Status status = DeclareType(config_json, *config, options);
  if (status.ok()) status = WriteTensors(output->path(), PlanOf(*config, options), kDefaultShardBytes);
  return status.ok() ? output->Commit() : status;
}

}  // namespace latentd
