#include "engine/model/checkpoint/value_scan.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/check.h"

namespace latentd {
namespace {

template <class Word>
Word LoadWord(const std::byte* words, size_t index) {
  Word word;
  std::memcpy(&word, words + index * sizeof(Word), sizeof(Word));
  return word;
}

// Index of the first word in which all bits of the mask are set. Whole chunks are only ORed together, which vectorises.
template <class Word>
std::optional<size_t> FindAllSet(std::span<const std::byte> bytes, Word mask) {
  constexpr size_t kChunk = 4096;
  const size_t count = bytes.size() / sizeof(Word);
  const std::byte* words = bytes.data();
  for (size_t begin = 0; begin < count; begin += kChunk) {
    const size_t end = std::min(begin + kChunk, count);
    Word found = 0;
    for (size_t i = begin; i < end; ++i) found |= (LoadWord<Word>(words, i) & mask) == mask ? Word{1} : Word{0};
    if (found == 0) continue;
    while ((LoadWord<Word>(words, begin) & mask) != mask) ++begin;
    return begin;
  }
  return std::nullopt;
}

}  // namespace

std::optional<size_t> FindNonFinite(DType dtype, std::span<const std::byte> bytes) {
  switch (dtype) {
    case DType::kF32:
      return FindAllSet<uint32_t>(bytes, 0x7F800000);
    case DType::kBf16:
      return FindAllSet<uint16_t>(bytes, 0x7F80);
    case DType::kE4M3:
      return FindAllSet<uint8_t>(bytes, 0x7F);
    case DType::kInt4:
      return std::nullopt;
    case DType::kE8M0:
      break;
  }
  CHECK(false);
  return std::nullopt;
}

}  // namespace latentd
