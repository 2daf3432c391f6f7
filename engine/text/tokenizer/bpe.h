// Byte pair encoding of one piece of text. Constant after construction: any number of threads may encode at once.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>

namespace latentd {

class Bpe {
 public:
  explicit Bpe(const std::array<int32_t, 256>& byte_ids) : byte_ids_(byte_ids) {}

  // The later of two merges of the same pair counts.
  void AddMerge(int32_t left, int32_t right, int32_t merged, uint32_t rank);

  // From now on a piece that is just `bytes` becomes `id` without any merge.
  void AddWholePiece(std::string_view bytes, int32_t id) { whole_pieces_.emplace(bytes, id); }

  // Appends the ids of `piece`: of all adjacent pairs the one of lowest rank merges first, the leftmost among equals.
  void Encode(std::string_view piece, std::vector<int32_t>& ids) const;

 private:
  struct Merge {
    uint32_t rank = 0;
    int32_t id = 0;
  };
  struct Symbol;
  struct Candidate;

  static uint64_t PairKey(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  const Merge* FindMerge(int32_t left, int32_t right) const;
  void EncodeShort(std::string_view piece, std::vector<int32_t>& ids) const;
  void EncodeLong(std::string_view piece, std::vector<int32_t>& ids) const;

  std::array<int32_t, 256> byte_ids_;
  absl::flat_hash_map<uint64_t, Merge> merges_;  // by PairKey
  absl::flat_hash_map<std::string, int32_t> whole_pieces_;
};

}  // namespace latentd
