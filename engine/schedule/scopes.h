// The texts that keep stored blocks apart: salts, which all with the same one share, and owners, whose blocks are
// theirs alone. A scope is there as long as blocks are in it; its memory is used again. Part of PrefixIndex; engine
// thread only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/schedule/block_id.h"
#include "engine/schedule/chain_hash.h"
#include "engine/schedule/hash_table.h"

namespace latentd {

using ScopeId = int32_t;
inline constexpr ScopeId kNoScope = -1;

enum class Sharing : uint8_t { kShared, kOwn };

class Scopes {
 public:
  struct Scope {
    std::string text;
    Sharing sharing = Sharing::kShared;
    BlockHash hash;             // of the text, under the mask
    BlockId newest = kNoBlock;  // the head of the list of its blocks
    int num_blocks = 0;
  };

  Scopes(int most_scopes, uint64_t hash_mask);

  ScopeId Find(std::string_view text, Sharing sharing) const;  // kNoScope where no block is in it
  // One that is new is dropped with its last block.
  ScopeId FindOrAdd(std::string_view text, Sharing sharing);
  void Drop(ScopeId id);

  Scope& at(ScopeId id) { return scopes_[static_cast<size_t>(id)]; }
  const Scope& at(ScopeId id) const { return scopes_[static_cast<size_t>(id)]; }
  BlockHash HashOf(std::string_view text) const;

 private:
  size_t Place(const BlockHash& hash, std::string_view text, Sharing sharing) const;

  const uint64_t hash_mask_;
  std::vector<Scope> scopes_;
  std::vector<ScopeId> unused_;
  HashTable by_hash_;
};

}  // namespace latentd
