// A set of token ids as a bitmap: bit id % 64 of word id / 64. Made once per request, so that no step pays for the
// length of a list.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace latentd {

inline constexpr size_t kIdsPerWord = 64;

inline bool HasId(std::span<const uint64_t> bits, int32_t id) {
  const auto index = static_cast<size_t>(id);
  return (bits[index / kIdsPerWord] >> (index % kIdsPerWord) & 1) != 0;
}

// A bitmap over the ids below `vocab_size` with those of `ids` set, which come in any order and number.
template <class Ids>
std::vector<uint64_t> BitsOf(const Ids& ids, size_t vocab_size) {
  std::vector<uint64_t> bits((vocab_size + kIdsPerWord - 1) / kIdsPerWord);
  for (const auto id : ids) bits.at(static_cast<size_t>(id) / kIdsPerWord) |= uint64_t{1} << (id % kIdsPerWord);
  return bits;
}

// The same of a short list.
inline bool HasId(std::span<const int32_t> ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace latentd
