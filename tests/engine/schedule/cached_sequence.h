// A sequence as the cache sees one: its tokens, the key they are stored under, the blocks it holds.
#pragma once

#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/schedule/block_cache.h"

namespace latentd {

// first, first + 1, …
inline std::vector<int32_t> Tokens(int count, int32_t first = 0) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

inline std::vector<int32_t> operator+(std::vector<int32_t> a, const std::vector<int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class CachedSequence {
 public:
  struct Name {
    std::string salt = {};
    std::string own = {};
  };

  CachedSequence(BlockCache& cache, std::vector<int32_t> all_tokens, Name name)
      : tokens(std::move(all_tokens)), cache_(cache), name_(std::move(name)) {}
  CachedSequence(BlockCache& cache, std::vector<int32_t> all_tokens)
      : CachedSequence(cache, std::move(all_tokens), Name()) {}

  PrefixKey key() const { return {.salt = name_.salt, .tokens = tokens, .own = name_.own}; }
  int num_tokens() const { return static_cast<int>(tokens.size()); }
  PrefixMatch Match() { return cache_.Match(key(), num_tokens()); }

  std::optional<BlockCopy> Open() {
    Match();
    return cache_.Open(table);
  }
  // Blocks for all its tokens.
  bool Grow() {
    while (table.num_blocks() < BlocksFor(num_tokens())) {
      if (!cache_.Extend(table)) return false;
    }
    return true;
  }
  int Publish(TailRule rule = TailRule::kWithTail) { return Publish({}, rule); }
  int Publish(const DraftedSlots& drafted, TailRule rule = TailRule::kWithTail) {
    return cache_.Publish(table, key(), num_tokens(), rule, drafted);
  }
  void Release(TimePoint keep_until = kNotKept) { cache_.Release(table, keep_until); }

  std::vector<int32_t> tokens;
  BlockTable table;

 private:
  BlockCache& cache_;
  const Name name_;
};

// It runs from its first token to its last one, and ends.
inline void RunWhole(CachedSequence sequence, TimePoint keep_until = kNotKept) {
  sequence.Open();
  CHECK(sequence.Grow());
  sequence.Publish();
  sequence.Release(keep_until);
}

inline int NumReusable(BlockCache& cache, std::vector<int32_t> tokens, CachedSequence::Name name = {}) {
  return CachedSequence(cache, std::move(tokens), std::move(name)).Match().num_tokens;
}

}  // namespace latentd
