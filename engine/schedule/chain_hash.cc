#include "engine/schedule/chain_hash.h"

#include <array>
#include <bit>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"
#include "kernels/cache_block.h"

namespace latentd {
namespace {

static_assert(std::endian::native == std::endian::little, "hashes are of little-endian bytes: swap them here");

BlockHash Named(const XXH128_hash_t& hash) { return {.low = hash.low64, .high = hash.high64}; }

}  // namespace

BlockHash RootHash(std::string_view salt) { return Named(XXH3_128bits(salt.data(), salt.size())); }

BlockHash ChainHash(const BlockHash& before, std::span<const int32_t> ids) {
  static_assert(sizeof(BlockHash) == 16);
  CHECK_LE(ids.size(), size_t{kBlockSlots});
  std::array<unsigned char, sizeof(BlockHash) + kBlockSlots * sizeof(int32_t)> bytes;
  std::memcpy(bytes.data(), &before, sizeof(before));
  std::memcpy(bytes.data() + sizeof(before), ids.data(), ids.size_bytes());
  return Named(XXH3_128bits(bytes.data(), sizeof(before) + ids.size_bytes()));
}

}  // namespace latentd
