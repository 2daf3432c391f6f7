#include "engine/text/tokenizer/bpe.h"

#include <random>
#include <string>

#include <gtest/gtest.h>

namespace latentd {
namespace {

struct Merge {
  int32_t left = 0, right = 0, merged = 0;
};

std::array<int32_t, 256> ByteIds() {
  std::array<int32_t, 256> ids;
  for (int32_t i = 0; i < 256; ++i) ids[static_cast<size_t>(i)] = i;
  return ids;
}

// Looks through all pairs for each single merge.
std::vector<int32_t> Naive(const std::vector<Merge>& merges, std::string_view piece) {
  std::vector<int32_t> ids;
  for (const char c : piece) ids.push_back(static_cast<uint8_t>(c));
  while (true) {
    size_t best_rank = merges.size(), best_at = 0;
    for (size_t at = 0; at + 1 < ids.size(); ++at) {
      for (size_t rank = 0; rank < best_rank; ++rank) {
        if (merges[rank].left != ids[at] || merges[rank].right != ids[at + 1]) continue;
        best_rank = rank;
        best_at = at;
      }
    }
    if (best_rank == merges.size()) return ids;
    ids[best_at] = merges[best_rank].merged;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best_at) + 1);
  }
}

TEST(Bpe, AgreesWithTheNaiveRuleOnShortAndLongPieces) {
  constexpr uint32_t kSeed = 20240609;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 300; ++round) {
    Bpe bpe(ByteIds());
    std::vector<Merge> merges;
    std::vector<int32_t> known = {'a', 'b', 'c'};
    for (int i = 0; i < 12; ++i) {
      const Merge merge{known[random() % known.size()], known[random() % known.size()], 256 + i};
      const bool repeated = std::any_of(merges.begin(), merges.end(), [&](const Merge& other) {
        return other.left == merge.left && other.right == merge.right;
      });
      if (repeated) continue;
      known.push_back(merge.merged);
      merges.push_back(merge);
    }
    // A later merge may make the parts of an earlier one, so ranks don't rise from merge to merge.
    std::shuffle(merges.begin(), merges.end(), random);
    for (size_t rank = 0; rank < merges.size(); ++rank) {
      bpe.AddMerge(merges[rank].left, merges[rank].right, merges[rank].merged, static_cast<uint32_t>(rank));
    }
    for (const size_t length : {0U, 1U, 2U, 7U, 30U, 48U, 49U, 120U}) {
      std::string piece;
      for (size_t i = 0; i < length; ++i) piece += static_cast<char>('a' + random() % 3);
      std::vector<int32_t> ids;
      bpe.Encode(piece, ids);
      ASSERT_EQ(ids, Naive(merges, piece)) << "seed " << kSeed << " round " << round << " " << piece;
    }
  }
}

TEST(Bpe, EqualPairsMergeFromTheLeft) {
  Bpe bpe(ByteIds());
  bpe.AddMerge('a', 'a', 256, 0);
  std::vector<int32_t> ids;
  bpe.Encode("aaaaa", ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{256, 256, 'a'}));
}

TEST(Bpe, AWholePieceNeedsNoMerges) {
  Bpe bpe(ByteIds());
  bpe.AddWholePiece("abc", 300);
  std::vector<int32_t> ids;
  bpe.Encode("abc", ids);
  bpe.Encode("abcd", ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{300, 'a', 'b', 'c', 'd'}));
}

}  // namespace
}  // namespace latentd
