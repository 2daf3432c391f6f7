// The files of a directory that hold a model's weights where no index names them, and the files found instead of them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace latentd {

// Names of the safetensors files to read together, in order: numbered ones ("model-00001-of-00004.safetensors") all of
// them. Other files beside a model (an adapter, Mistral's consolidated copy, a training's state) are passed over.
// NOT_FOUND, with what is there instead and what to do, where there are none.
absl::StatusOr<std::vector<std::string>> FindWeightFiles(const std::filesystem::path& directory);

inline constexpr char kShardIndexName[] = "model.safetensors.index.json";

// Any one file that is, or was, of such weights: also of numbered ones that are not complete, or their index alone.
std::optional<std::string> FindTraceOfWeights(const std::filesystem::path& directory);

}  // namespace latentd
