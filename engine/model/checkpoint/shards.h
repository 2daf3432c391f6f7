// The safetensors files that a checkpoint directory consists of, opened, and its index held against them.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/model/checkpoint/safetensors.h"

namespace latentd {

struct Shards {
  std::vector<SafetensorsFile> files;
  std::vector<std::string> warnings;  // one line each
  // For tensors in more than one file: the place in `files` of the one that the index names.
  std::map<std::string, size_t, std::less<>> file_of_copies;
  // Tensors of the index that are in no file, by name: the file that should have them. A load that needs one fails.
  std::map<std::string, std::string, std::less<>> absent;

  // Each tensor once.
  void ForEach(const std::function<void(const SafetensorsFile&, const SafetensorsEntry&)>& visit) const;
};

// What model.safetensors.index.json names where there is one, else model.safetensors, else all safetensors files of the
// directory that belong to a model. An error says what else is there, and what to do with it.
absl::StatusOr<Shards> OpenShards(const std::filesystem::path& directory);

}  // namespace latentd
