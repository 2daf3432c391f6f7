// Planned tensors to safetensors files: one model.safetensors, or shards and their index.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <absl/status/status.h>

#include "tools/convert/planned_tensor.h"

namespace latentd {

inline constexpr uint64_t kDefaultShardBytes = 5'000'000'000;  // as the hub's own tools cut

// A tensor larger than max_shard_bytes gets a file of its own. Shows progress where stderr is a terminal.
absl::Status WriteTensors(const std::filesystem::path& directory, const std::vector<PlannedTensor>& tensors,
                          uint64_t max_shard_bytes);

// The files beside the weights: config.json, the tokenizer's and whatever else lies flat in the directory.
absl::Status CopyOtherFiles(const std::filesystem::path& from, const std::filesystem::path& to);

absl::Status WriteText(const std::filesystem::path& path, const std::string& text);

}  // namespace latentd
