// The safetensors files that a checkpoint directory consists of, opened, and its index checked against them both ways.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/model/safetensors.h"

namespace latentd {

struct Shards {
  std::vector<SafetensorsFile> files;  // no tensor name occurs twice among them
  std::vector<std::string> warnings;   // one line each
};

// What model.safetensors.index.json names where there is one, else model.safetensors alone.
absl::StatusOr<Shards> OpenShards(const std::filesystem::path& directory);

}  // namespace latentd
