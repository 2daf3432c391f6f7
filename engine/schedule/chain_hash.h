// Names full blocks outside this process, too: a 128-bit XXH3 chain over its tokens and all before them, equal in any
// process, so that a router may compute it. A hash names, it does not prove: who finds a block by it compares the ids.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <string_view>

namespace latentd {

struct BlockHash {
  uint64_t low = 0;
  uint64_t high = 0;
  auto operator<=>(const BlockHash&) const = default;
};

// What a first block's hash goes on from: XXH3 of the salt's bytes.
BlockHash RootHash(std::string_view salt);
// XXH3 of the hash before (low, high) and the ids, all little-endian.
BlockHash ChainHash(const BlockHash& before, std::span<const int32_t> ids);

}  // namespace latentd
