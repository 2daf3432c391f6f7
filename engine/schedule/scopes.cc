#include "engine/schedule/scopes.h"

#include "base/check.h"

namespace latentd {

Scopes::Scopes(int most_scopes, uint64_t hash_mask)
    : hash_mask_(hash_mask), by_hash_(static_cast<size_t>(most_scopes)) {
  scopes_.reserve(static_cast<size_t>(most_scopes));
  unused_.reserve(static_cast<size_t>(most_scopes));
}

ScopeId Scopes::Find(std::string_view text, Sharing sharing) const {
  const size_t place = Place(HashOf(text), text, sharing);
  return place == HashTable::kNowhere ? kNoScope : by_hash_.value(place);
}

ScopeId Scopes::FindOrAdd(std::string_view text, Sharing sharing) {
  const BlockHash hash = HashOf(text);
  const size_t place = Place(hash, text, sharing);
  if (place != HashTable::kNowhere) return by_hash_.value(place);
  if (unused_.empty()) {
    unused_.push_back(static_cast<ScopeId>(scopes_.size()));
    scopes_.emplace_back();
  }
  const ScopeId id = unused_.back();
  unused_.pop_back();
  Scope& scope = at(id);
  scope.text.assign(text);
  scope.sharing = sharing;
  scope.hash = hash;
  by_hash_.Insert(hash, id);
  return id;
}

void Scopes::Drop(ScopeId id) {
  const Scope& scope = at(id);
  CHECK_EQ(scope.num_blocks, 0);
  by_hash_.Erase(Place(scope.hash, scope.text, scope.sharing));
  unused_.push_back(id);
}

BlockHash Scopes::HashOf(std::string_view text) const {
  const BlockHash hash = RootHash(text);
  return {.low = hash.low & hash_mask_, .high = hash.high & hash_mask_};
}

size_t Scopes::Place(const BlockHash& hash, std::string_view text, Sharing sharing) const {
  return by_hash_.Find(hash, [&](ScopeId id) { return at(id).sharing == sharing && at(id).text == text; });
}

}  // namespace latentd
