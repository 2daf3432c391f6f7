// A set of strings, walked byte by byte: the searches for added tokens and for stop strings share it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>

namespace latentd {

class ByteTrie {
 public:
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kNone = UINT32_MAX;

  // Returns the node where `text` ends. Nodes are numbered in order of creation.
  uint32_t Insert(std::string_view text);
  // kNone if no string goes on with `byte`.
  uint32_t Child(uint32_t node, char byte) const;
  // The number of bytes on the way from the root.
  uint32_t Depth(uint32_t node) const { return depths_[node]; }
  uint32_t num_nodes() const { return static_cast<uint32_t>(depths_.size()); }

 private:
  static uint64_t EdgeKey(uint32_t node, char byte) {
    return static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte);
  }

  absl::flat_hash_map<uint64_t, uint32_t> edges_;
  std::vector<uint32_t> depths_ = {0};
};

}  // namespace latentd
