#include "engine/schedule/prefix_index.h"

#include <algorithm>
#include <iterator>

#include <absl/strings/str_cat.h>

#include "base/check.h"

namespace latentd {
namespace {

int CommonPrefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  return static_cast<int>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

bool StartsWith(std::span<const int32_t> ids, std::span<const int32_t> start) {
  return CommonPrefix(ids, start) == static_cast<int>(start.size());
}

std::span<const int32_t> IdsFrom(const PrefixKey& key, int first, int count = kBlockSlots) {
  return key.tokens.subspan(static_cast<size_t>(first), static_cast<size_t>(count));
}

}  // namespace

PrefixIndex::PrefixIndex(const PrefixIndexOptions& options)
    : hash_mask_(options.hash_mask),
      events_(options.events),
      nodes_(static_cast<size_t>(options.num_blocks)),
      ids_(nodes_.size() * kBlockSlots),
      scopes_(options.num_blocks, options.hash_mask),
      full_(nodes_.size()),
      children_(nodes_.size(), Before{this}),
      contents_(nodes_.size()),
      evicted_(nodes_.size()) {}

void PrefixIndex::Match(const PrefixKey& key, int limit, PrefixPath& path) const {
  const PrefixKey wanted{.salt = key.salt, .tokens = key.tokens.first(static_cast<size_t>(limit)), .own = key.own};
  path.blocks.clear();
  const Readable scopes = ScopesOf(key);
  const Reached end = Descend(wanted, scopes.shared, {}, [&](BlockId block) { path.blocks.push_back(block); });
  path.tail = FindPartial(wanted, scopes.shared, end);
  if (scopes.own != kNoScope) TakeOwn(wanted, scopes.own, path);
  MeasureLosses(wanted, path);
}

BlockId PrefixIndex::FindFull(const PrefixKey& key, const ChildIds& child) const {
  const Readable scopes = ScopesOf(key);
  const BlockHash hash = Hash(EndOf(child.parent, key.salt).hash, child.ids);
  const BlockId own = FindExact(hash, {child.parent, scopes.own, child.ids});
  return own != kNoBlock ? own : FindExact(hash, {child.parent, scopes.shared, child.ids});
}

BlockId PrefixIndex::FindCovering(const PrefixKey& key, const ChildIds& child) const {
  const Place place{child.parent, ScopeToStore(key), child.ids};
  const auto found = children_.all().lower_bound(place);
  const bool covers =
      found != children_.all().end() && IsSibling(*found, place) && StartsWith(IdsOf(*found), place.ids);
  return covers ? *found : kNoBlock;
}

// What `place.ids` begins with stands before it, with siblings between them that share still more with it. So the last
// one up to `place.ids` is either such a start, or tells how long one can be.
BlockId PrefixIndex::FindCovered(const PrefixKey& key, const ChildIds& child) const {
  Place place{child.parent, ScopeToStore(key), child.ids};
  for (size_t most = child.ids.size() - 1; most > 0;) {
    place.ids = child.ids.first(most);
    const auto behind = children_.all().upper_bound(place);
    if (behind == children_.all().begin()) break;
    const BlockId found = *std::prev(behind);
    if (!IsSibling(found, place)) break;
    const int common = CommonPrefix(place.ids, IdsOf(found));
    if (common == num_tokens(found)) return found;
    most = static_cast<size_t>(common);
  }
  return kNoBlock;
}

bool PrefixIndex::IsCovered(BlockId tail) const {
  const Place place = PlaceOf(tail);
  const auto next = children_.all().upper_bound(place);
  return next != children_.all().end() && IsSibling(*next, place) && StartsWith(IdsOf(*next), place.ids);
}

void PrefixIndex::Add(BlockId block, const PrefixKey& key, const ChildIds& child, int num_undrafted) {
  Node& node = At(block);
  const int size = static_cast<int>(child.ids.size());
  CHECK_LE(size, kBlockSlots);
  if (Has(block)) {
    CHECK_EQ(node.parent, child.parent);
    CHECK_LT(node.num_tokens, size);
    children_.Erase(children_.all().find(block));
  } else {
    node.parent = child.parent;
    node.scope =
        key.own.empty() ? scopes_.FindOrAdd(key.salt, Sharing::kShared) : scopes_.FindOrAdd(key.own, Sharing::kOwn);
    if (node.parent != kNoBlock) ++At(node.parent).num_children;
    Link(block);
  }
  node.num_tokens = size;
  node.num_undrafted = num_undrafted;
  std::copy(child.ids.begin(), child.ids.end(), &ids_[static_cast<size_t>(block) * kBlockSlots]);
  children_.Insert(block);
  if (size == kBlockSlots) AddFull(block, key.salt);
}

void PrefixIndex::Remove(BlockId leaf, Removal removal) {
  Node& node = At(leaf);
  CHECK(Has(leaf));
  CHECK_EQ(node.num_children, 0);
  children_.Erase(children_.all().find(leaf));
  if (node.num_tokens == kBlockSlots) RemoveFull(leaf, removal);
  if (node.parent != kNoBlock) --At(node.parent).num_children;
  Unlink(leaf);
  node = Node();
}

void PrefixIndex::Flushed() const {
  if (events_ != nullptr) events_->Cleared();
}

void PrefixIndex::AppendChildren(BlockId block, std::vector<BlockId>& children) const {
  auto child = children_.all().lower_bound(Place{block, kNoScope, {}});
  for (; child != children_.all().end() && parent(*child) == block; ++child) children.push_back(*child);
}

void PrefixIndex::AppendStored(std::vector<KvEvent>& events) const {
  std::vector<BlockId> blocks;
  blocks.reserve(static_cast<size_t>(size()));
  events.reserve(events.size() + blocks.capacity());
  AppendChildren(kNoBlock, blocks);
  for (size_t i = 0; i < blocks.size(); ++i) AppendChildren(blocks[i], blocks);
  for (const BlockId block : blocks) {
    if (!IsTold(block)) continue;
    KvEvent& event = events.emplace_back();
    event.kind = KvEvent::Kind::kStored;
    event.hash = At(block).hash;
    std::ranges::copy(IdsOf(block), event.token_ids.begin());
    if (parent(block) == kNoBlock) {
      event.salt = scopes_.at(At(block).scope).text;
    } else {
      event.parent = At(parent(block)).hash;
    }
  }
}

bool PrefixIndex::Before::operator()(const Place& a, const Place& b) const {
  if (a.parent != b.parent) return a.parent < b.parent;
  if (a.scope != b.scope) return a.scope < b.scope;
  return std::lexicographical_compare(a.ids.begin(), a.ids.end(), b.ids.begin(), b.ids.end());
}

std::span<const int32_t> PrefixIndex::IdsOf(BlockId block) const {
  return ids_.values().subspan(static_cast<size_t>(block) * kBlockSlots, static_cast<size_t>(num_tokens(block)));
}

BlockHash PrefixIndex::Hash(const BlockHash& before, std::span<const int32_t> ids) const {
  const BlockHash hash = ChainHash(before, ids);
  return {.low = hash.low & hash_mask_, .high = hash.high & hash_mask_};
}

PrefixIndex::ChainEnd PrefixIndex::EndOf(BlockId block, std::string_view salt) const {
  if (block == kNoBlock) return {.hash = scopes_.HashOf(salt), .content = scopes_.HashOf("")};
  return {.hash = At(block).hash, .content = At(block).content};
}

PrefixIndex::Readable PrefixIndex::ScopesOf(const PrefixKey& key) const {
  return {.shared = scopes_.Find(key.salt, Sharing::kShared),
          .own = key.own.empty() ? kNoScope : scopes_.Find(key.own, Sharing::kOwn)};
}

ScopeId PrefixIndex::ScopeToStore(const PrefixKey& key) const {
  return key.own.empty() ? scopes_.Find(key.salt, Sharing::kShared) : scopes_.Find(key.own, Sharing::kOwn);
}

bool PrefixIndex::IsSibling(BlockId block, const Place& place) const {
  return At(block).parent == place.parent && At(block).scope == place.scope;
}

template <class Visit>
PrefixIndex::Reached PrefixIndex::Descend(const PrefixKey& wanted, ScopeId scope, Reached from,
                                          const Visit& visit) const {
  const int num_wanted = static_cast<int>(wanted.tokens.size());
  while (from.num_tokens + kBlockSlots <= num_wanted) {
    const std::span<const int32_t> ids = IdsFrom(wanted, from.num_tokens);
    const BlockHash hash = Hash(EndOf(from.last, wanted.salt).hash, ids);
    const BlockId block = FindExact(hash, {from.last, scope, ids});
    if (block == kNoBlock) break;
    from = {.last = block, .num_tokens = from.num_tokens + kBlockSlots};
    visit(block);
  }
  return from;
}

// Own blocks stand beneath shared ones at any depth, each beneath one: all the ways down take no more time than there
// are blocks of this owner and of the path.
void PrefixIndex::TakeOwn(const PrefixKey& wanted, ScopeId own, PrefixPath& path) const {
  const auto start = [&](int depth) {
    return Reached{.last = depth == 0 ? kNoBlock : path.blocks[static_cast<size_t>(depth) - 1],
                   .num_tokens = depth * kBlockSlots};
  };
  const int num_shared = static_cast<int>(path.blocks.size());
  int most = num_shared * kBlockSlots + path.tail.num_slots;
  int best_depth = -1;
  for (int depth = num_shared; depth >= 0; --depth) {
    const Reached end = Descend(wanted, own, start(depth), [](BlockId) {});
    const int num_tokens = end.num_tokens + FindPartial(wanted, own, end).num_slots;
    if (num_tokens > most) best_depth = depth;
    most = std::max(most, num_tokens);
  }
  if (best_depth < 0) return;
  const Reached from = start(best_depth);
  path.blocks.resize(static_cast<size_t>(best_depth));
  const Reached end = Descend(wanted, own, from, [&](BlockId block) { path.blocks.push_back(block); });
  path.tail = FindPartial(wanted, own, end);
}

BlockId PrefixIndex::FindExact(const BlockHash& hash, const Place& place) const {
  if (place.scope == kNoScope) return kNoBlock;
  const size_t found = full_.Find(hash, [&](BlockId block) {
    return IsSibling(block, place) && std::equal(place.ids.begin(), place.ids.end(), IdsOf(block).begin());
  });
  return found == HashTable::kNowhere ? kNoBlock : full_.value(found);
}

// In their order, the siblings that share most with the ids are beside the place where these would stand.
PrefixTail PrefixIndex::FindPartial(const PrefixKey& wanted, ScopeId scope, const Reached& from) const {
  const int num_left = std::min(kBlockSlots, static_cast<int>(wanted.tokens.size()) - from.num_tokens);
  const Place place{from.last, scope, IdsFrom(wanted, from.num_tokens, num_left)};
  PrefixTail best;
  const auto consider = [&](BlockId block) {
    const int common = IsSibling(block, place) ? CommonPrefix(place.ids, IdsOf(block)) : 0;
    if (common > best.num_slots) best = {.block = block, .num_slots = common};
  };
  const auto behind = children_.all().lower_bound(place);
  if (behind != children_.all().end()) consider(*behind);
  if (behind != children_.all().begin()) consider(*std::prev(behind));
  return best;
}

void PrefixIndex::MeasureLosses(const PrefixKey& wanted, PrefixPath& path) const {
  const ChainEnd end = EndOf(path.blocks.empty() ? kNoBlock : path.blocks.back(), wanted.salt);
  const int num_wanted = static_cast<int>(wanted.tokens.size());
  const auto end_of = [&](const auto& hashes, BlockHash hash) {
    int end_of_found = static_cast<int>(path.blocks.size()) * kBlockSlots;
    for (; end_of_found + kBlockSlots <= num_wanted; end_of_found += kBlockSlots) {
      hash = Hash(hash, IdsFrom(wanted, end_of_found));
      if (!hashes.Has(hash)) break;
    }
    return end_of_found;
  };
  path.end_of_evicted = end_of(evicted_, end.hash);
  path.end_of_salted = end_of(contents_, end.content);
}

void PrefixIndex::Link(BlockId block) {
  Scopes::Scope& scope = scopes_.at(At(block).scope);
  ++scope.num_blocks;
  At(block).older = scope.newest;
  if (scope.newest != kNoBlock) At(scope.newest).newer = block;
  scope.newest = block;
}

void PrefixIndex::Unlink(BlockId block) {
  const Node& node = At(block);
  Scopes::Scope& scope = scopes_.at(node.scope);
  (node.newer == kNoBlock ? scope.newest : At(node.newer).older) = node.older;
  if (node.older != kNoBlock) At(node.older).newer = node.newer;
  if (--scope.num_blocks == 0) scopes_.Drop(node.scope);
}

void PrefixIndex::AddFull(BlockId block, std::string_view salt) {
  Node& node = At(block);
  const ChainEnd before = EndOf(node.parent, salt);
  node.hash = Hash(before.hash, IdsOf(block));
  node.content = Hash(before.content, IdsOf(block));
  full_.Insert(node.hash, block);
  if (scopes_.at(node.scope).sharing == Sharing::kOwn) return;
  contents_.Add(node.content);
  if (events_ == nullptr) return;
  if (node.parent == kNoBlock) {
    events_->StoredFirst(node.hash, salt, IdsOf(block));
  } else {
    events_->Stored(node.hash, before.hash, IdsOf(block));
  }
}

void PrefixIndex::RemoveFull(BlockId block, Removal removal) {
  const Node& node = At(block);
  full_.Erase(full_.Find(node.hash, [&](BlockId other) { return other == block; }));
  if (scopes_.at(node.scope).sharing == Sharing::kOwn) return;
  contents_.Remove(node.content);
  if (removal == Removal::kEvicted) evicted_.Add(node.hash);
  if (events_ != nullptr && removal != Removal::kFlushed) events_->Removed(node.hash);
}

absl::Status PrefixIndex::CheckInvariants() const {
  int num_full = 0, num_beneath = 0, num_counted = 0;  // blocks beneath another one, as the set and as parents have it
  int num_siblings = 0;                                // of one parent, so far
  BlockId before = kNoBlock;
  for (BlockId block : children_.all()) {
    if (const char* wrong = FindFault(block)) return absl::InternalError(absl::StrCat("block ", block, wrong));
    if (before != kNoBlock && !Before{this}(before, block)) {
      return absl::InternalError(absl::StrCat("blocks ", before, " and ", block, " are out of order as children"));
    }
    num_full += num_tokens(block) == kBlockSlots ? 1 : 0;
    num_beneath += parent(block) != kNoBlock ? 1 : 0;
    num_counted += At(block).num_children;
    num_siblings = before != kNoBlock && parent(before) == parent(block) ? num_siblings + 1 : 1;
    if (parent(block) != kNoBlock && num_siblings > At(parent(block)).num_children) {
      return absl::InternalError(absl::StrCat("block ", parent(block), " has more children than it counts"));
    }
    before = block;
  }
  if (num_beneath != num_counted) {
    return absl::InternalError(absl::StrCat(num_beneath, " blocks have a parent, parents count ", num_counted));
  }
  if (static_cast<int>(full_.size()) != num_full) {
    return absl::InternalError(absl::StrCat(num_full, " full blocks, ", full_.size(), " found by hash"));
  }
  return absl::OkStatus();
}

const char* PrefixIndex::FindFault(BlockId block) const {
  const Node& node = At(block);
  if (node.num_tokens < 1 || node.num_tokens > kBlockSlots) return " is stored without tokens";
  const bool has_undrafted = node.num_undrafted >= 0 && node.num_undrafted <= node.num_tokens;
  if (!has_undrafted) return " lacks more drafted slots than it has tokens";
  if (node.parent != kNoBlock) {
    const Node& above = At(node.parent);
    if (above.num_tokens != kBlockSlots) return " is beneath one that is not a full one";
    const bool leaves_scope = above.scope != node.scope;
    if (leaves_scope && scopes_.at(above.scope).sharing == Sharing::kOwn) return " is beneath another owner's";
    if (leaves_scope && scopes_.at(node.scope).sharing == Sharing::kShared) return " is beneath another salt's";
  }
  if (node.num_tokens < kBlockSlots) return node.num_children == 0 ? nullptr : " is a tail with blocks beneath it";
  return FindExact(node.hash, PlaceOf(block)) == block ? nullptr : " is not found by what it holds";
}

}  // namespace latentd
