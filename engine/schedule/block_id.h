// Names of the cache's blocks.
#pragma once

#include <cstdint>

#include "kernels/cache_block.h"

namespace latentd {

using BlockId = int32_t;

inline constexpr BlockId kScratchBlock = 0;         // where padding tokens write; never handed out
inline constexpr BlockId kNoBlock = kScratchBlock;  // so it also says: none

// The blocks of a cache of `num_blocks` that sequences can hold.
constexpr int UsableBlocks(int num_blocks) { return num_blocks - 1; }
constexpr int BlocksFor(int num_tokens) { return (num_tokens + kBlockSlots - 1) / kBlockSlots; }

}  // namespace latentd
