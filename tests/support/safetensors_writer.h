// Writes safetensors files from plain values, well-formed or not: the format's other side, made independently of the
// reader under test.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace latentd {

struct StoredTensor {
  std::string name;
  std::string dtype;  // the format's word, such as "BF16"
  std::vector<int64_t> shape;
  std::string bytes;
};

// The JSON header for these tensors in this order, padded with spaces to a multiple of 8.
std::string SafetensorsHeader(const std::vector<StoredTensor>& tensors);

// The whole file for a header, right or wrong, and a buffer.
std::string SafetensorsBytes(std::string_view header, std::string_view buffer);
std::string SafetensorsBytes(const std::vector<StoredTensor>& tensors);

// model.safetensors, or `num_shards` files with their index: tensors are dealt out in turn, so that an FP8 weight and
// its scales part company.
void WriteShards(const std::filesystem::path& directory, const std::vector<StoredTensor>& tensors, int num_shards);

}  // namespace latentd
