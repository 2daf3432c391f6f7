#include "engine/schedule/chain_hash.h"

#include <gtest/gtest.h>

#include "tests/engine/schedule/cached_sequence.h"

namespace latentd {
namespace {

// As libxxhash's XXH3_128bits has them: a router in another language computes the same.
TEST(ChainHash, IsTheSameInAnyProcess) {
  const BlockHash root = RootHash("team-a");
  EXPECT_EQ(RootHash(""), (BlockHash{.low = 0x6001c324468d497f, .high = 0x99aa06d3014798d8}));
  EXPECT_EQ(root, (BlockHash{.low = 0x13bbe75cdec53559, .high = 0x2f0f3856e32b35d4}));
  const BlockHash first = ChainHash(root, Tokens(64));
  EXPECT_EQ(first, (BlockHash{.low = 0x2f89211745dff94e, .high = 0x36a06941d836545e}));
  EXPECT_EQ(ChainHash(first, Tokens(64, 64)), (BlockHash{.low = 0x8d271155717edd0e, .high = 0x573bb36cf3d3fb4b}));
}

}  // namespace
}  // namespace latentd
