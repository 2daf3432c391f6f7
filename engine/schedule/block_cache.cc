#include "engine/schedule/block_cache.h"

#include <algorithm>
#include <utility>

#include <absl/strings/str_cat.h>

#include "base/check.h"

namespace latentd {
namespace {

ChildIds ChildAt(const BlockTable& table, const PrefixKey& key, int index, int num_ids) {
  const BlockId parent = index == 0 ? kNoBlock : table.blocks()[static_cast<size_t>(index - 1)];
  const size_t first = static_cast<size_t>(index) * kBlockSlots;
  return {.parent = parent, .ids = key.tokens.subspan(first, static_cast<size_t>(num_ids))};
}

// Slots of a table's block, from its first to the last one that is missing.
int NumUndrafted(const DraftedSlots& drafted, int index, int num_ids) {
  const int first = index * kBlockSlots;
  if (drafted.to < first + num_ids) return num_ids;
  return drafted.from <= kFirstDraftedSlot ? 0 : std::clamp(drafted.from - first, 0, num_ids);
}

}  // namespace

BlockTable::BlockTable(BlockTable&& other) noexcept
    : cache_(std::exchange(other.cache_, nullptr)),
      blocks_(std::exchange(other.blocks_, {})),
      num_published_(std::exchange(other.num_published_, 0)) {}

BlockTable& BlockTable::operator=(BlockTable&& other) noexcept {
  if (this == &other) return *this;
  if (cache_ != nullptr) cache_->Release(*this);
  cache_ = std::exchange(other.cache_, nullptr);
  blocks_ = std::exchange(other.blocks_, {});
  num_published_ = std::exchange(other.num_published_, 0);
  return *this;
}

BlockTable::~BlockTable() {
  if (cache_ != nullptr) cache_->Release(*this);
}

BlockCache::BlockCache(const BlockCacheOptions& options)
    : references_(static_cast<size_t>(options.num_blocks)),
      order_(options.num_blocks),
      index_({.num_blocks = options.num_blocks, .hash_mask = options.hash_mask, .events = options.events}),
      shuffle_(options.shuffle_seed != 0),
      random_(options.shuffle_seed) {
  CHECK_GE(options.num_blocks, 2);
  free_.reserve(references_.size());
  for (BlockId block = options.num_blocks - 1; block > kScratchBlock; --block) free_.push_back(block);
  path_.blocks.reserve(references_.size());
}

BlockCache::~BlockCache() { CHECK_EQ(num_held(), 0); }

PrefixMatch BlockCache::Match(const PrefixKey& key, int limit) {
  CHECK_LE(limit, static_cast<int>(key.tokens.size()));
  index_.Match(key, limit, path_);
  num_changes_at_match_ = num_changes_;

  PrefixMatch match{.num_blocks = static_cast<int>(path_.blocks.size())};
  match.num_tokens = match.num_blocks * kBlockSlots;
  int drafted_from = kFirstDraftedSlot;
  for (int index = 0; index < match.num_blocks; ++index) {
    const BlockId block = path_.blocks[static_cast<size_t>(index)];
    match.num_cached_blocks += IsCached(block) ? 1 : 0;
    drafted_from = std::max(drafted_from, EndOfUndrafted(block, index));
  }
  int end = match.num_tokens;  // of what is accounted for
  const auto account = [&end](int until) {
    const int begin = end;
    end = std::max(begin, until);
    return end - begin;
  };
  const int tail_slots = account(end + path_.tail.num_slots);
  // The copy's source is not evicted to make its destination.
  const int num_available = this->num_available() - match.num_cached_blocks - (IsCached(path_.tail.block) ? 1 : 0);
  if (num_available > 0) {
    match.has_tail = tail_slots > 0;
    match.num_tokens += tail_slots;
    if (match.has_tail) drafted_from = std::max(drafted_from, EndOfUndrafted(path_.tail.block, match.num_blocks));
  } else {
    path_.tail = {};
    match.lost_to_granularity = tail_slots;
  }
  if (drafted_from < match.num_tokens) match.drafted = {.from = drafted_from, .to = match.num_tokens};
  match.lost_to_eviction = account(path_.end_of_evicted);
  match.lost_to_salt = account(path_.end_of_salted);
  return match;
}

std::optional<BlockCopy> BlockCache::Open(BlockTable& table) {
  CHECK_EQ(num_changes_, num_changes_at_match_);
  CHECK(table.blocks_.empty());
  ++num_changes_;
  table.cache_ = this;
  table.num_published_ = static_cast<int>(path_.blocks.size());
  for (BlockId block : path_.blocks) {
    Hold(block);
    table.blocks_.push_back(block);
  }
  const PrefixTail& tail = path_.tail;
  if (tail.num_slots == 0) return std::nullopt;
  const bool was_cached = IsCached(tail.block);
  if (was_cached) order_.Remove(tail.block);
  CHECK(Extend(table));
  if (was_cached) order_.Add(tail.block);
  return BlockCopy{.from = tail.block, .to = table.blocks_.back(), .num_slots = tail.num_slots};
}

bool BlockCache::Extend(BlockTable& table) {
  CHECK(table.cache_ == this || table.cache_ == nullptr);
  const BlockId block = Take();
  if (block == kNoBlock) return false;
  ++num_changes_;
  table.cache_ = this;
  table.blocks_.push_back(block);
  return true;
}

int BlockCache::Publish(BlockTable& table, const PrefixKey& key, int num_committed, TailRule rule,
                        DraftedSlots drafted) {
  CHECK_LE(num_committed, table.num_blocks() * kBlockSlots);
  CHECK_LE(num_committed, static_cast<int>(key.tokens.size()));
  const int num_full = num_committed / kBlockSlots;
  const int num_in_tail = num_committed % kBlockSlots;
  CHECK_GE(num_full, table.num_published_);
  ++num_changes_;
  while (table.num_published_ < num_full) PublishNext(table, key, drafted);
  if (rule == TailRule::kWithTail && num_in_tail > 0) PublishTail(table, key, num_in_tail, drafted);
  return drafted.from;
}

bool BlockCache::IsDrafted(const BlockTable& table, const DraftedSlots& drafted) const {
  for (int index = 0; index < table.num_published_; ++index) {
    const int end = EndOfUndrafted(table.blocks_[static_cast<size_t>(index)], index);
    if (end > drafted.from && end <= drafted.to) return false;
  }
  return true;
}

void BlockCache::Release(BlockTable& table, TimePoint keep_until) {
  CHECK(table.cache_ == this || table.cache_ == nullptr);
  ++num_changes_;
  if (keep_until != kNotKept) {
    for (BlockId block : table.blocks_) {
      if (index_.Has(block)) order_.Keep(block, keep_until);
    }
  }
  for (auto block = table.blocks_.rbegin(); block != table.blocks_.rend(); ++block) LetGo(*block);
  table.blocks_.clear();
  table.num_published_ = 0;
  table.cache_ = nullptr;
}

void BlockCache::ExpireKept(TimePoint now) { order_.ExpireKept(now); }

void BlockCache::Forget(BlockTable& table) {
  ++num_changes_;
  size_t first = table.blocks_.size();
  while (first > 0 && num_references(table.blocks_[first - 1]) == 1) --first;
  table.num_published_ = std::min(table.num_published_, static_cast<int>(first));
  if (first == table.blocks_.size() || !index_.Has(table.blocks_[first])) return;
  std::vector<BlockId> wrong{table.blocks_[first]};  // and all beneath it: of other tables, none holds one
  for (size_t i = 0; i < wrong.size(); ++i) index_.AppendChildren(wrong[i], wrong);
  for (auto block = wrong.rbegin(); block != wrong.rend(); ++block) {
    if (IsCached(*block)) {
      Uncache(*block, Removal::kDropped);
    } else {
      Unstore(*block, Removal::kDropped);
    }
  }
}

void BlockCache::DropPrivate(std::string_view own) {
  ++num_changes_;
  index_.ForEachOwn(own, [&](BlockId block) {
    if (IsCached(block)) Uncache(block, Removal::kDropped);
  });
}

int BlockCache::Flush() {
  ++num_changes_;
  const int num_flushed = num_cached();
  const Removal removal = num_flushed == index_.size() ? Removal::kFlushed : Removal::kDropped;
  while (num_cached() > 0) Uncache(order_.Next(), removal);
  if (removal == Removal::kFlushed) index_.Flushed();
  return num_flushed;
}

// Held once; kNoBlock where all are held.
BlockId BlockCache::Take() {
  if (free_.empty()) {
    if (num_cached() == 0) return kNoBlock;
    Uncache(order_.Next(), Removal::kEvicted);
    ++num_evictions_;
  }
  if (shuffle_) std::swap(free_[random_() % free_.size()], free_.back());
  const BlockId block = free_.back();
  free_.pop_back();
  CHECK_EQ(std::exchange(References(block), 1), 0);
  return block;
}

// One that is findable.
void BlockCache::Hold(BlockId block) {
  if (References(block)++ == 0) order_.Remove(block);
}

void BlockCache::LetGo(BlockId block) {
  CHECK_GT(References(block), 0);
  if (--References(block) > 0) return;
  if (!index_.Has(block)) {
    free_.push_back(block);
    return;
  }
  order_.Add(block);
  if (index_.num_tokens(block) < kBlockSlots && index_.IsCovered(block)) Uncache(block, Removal::kDropped);
}

void BlockCache::Uncache(BlockId block, Removal removal) {
  order_.Remove(block);
  Unstore(block, removal);
  free_.push_back(block);
}

void BlockCache::Unstore(BlockId block, Removal removal) {
  index_.Remove(block, removal);
  order_.Forget(block);
}

void BlockCache::PublishNext(BlockTable& table, const PrefixKey& key, DraftedSlots& drafted) {
  const int index = table.num_published_++;
  const ChildIds child = ChildAt(table, key, index, kBlockSlots);
  BlockId& held = table.blocks_[static_cast<size_t>(index)];
  const BlockId twin = index_.FindFull(key, child);
  if (twin == kNoBlock) {
    Store(held, key, child, NumUndrafted(drafted, index, kBlockSlots));
    return;
  }
  // So that a table that holds a block holds those that it stands beneath.
  if (index_.Has(held)) Unstore(held, Removal::kDropped);
  LetGo(held);
  Hold(twin);
  held = twin;
  drafted.from = std::max(drafted.from, EndOfUndrafted(twin, index));
}

void BlockCache::PublishTail(BlockTable& table, const PrefixKey& key, int num_ids, const DraftedSlots& drafted) {
  const BlockId held = table.blocks_[static_cast<size_t>(table.num_published_)];
  const ChildIds child = ChildAt(table, key, table.num_published_, num_ids);
  if (index_.num_tokens(held) >= num_ids) return;
  const BlockId covering = index_.FindCovering(key, child);
  if (covering == kNoBlock) {
    Store(held, key, child, NumUndrafted(drafted, table.num_published_, num_ids));
  } else if (IsCached(covering)) {
    order_.Remove(covering);
    order_.Add(covering);
  }
}

// 0 where all of the block's slots are drafted; it is a table's block of that index.
int BlockCache::EndOfUndrafted(BlockId block, int index) const {
  const int num_undrafted = index_.num_undrafted(block);
  return num_undrafted == 0 ? 0 : index * kBlockSlots + num_undrafted;
}

void BlockCache::Store(BlockId block, const PrefixKey& key, const ChildIds& child, int num_undrafted) {
  index_.Add(block, key, child, num_undrafted);
  ChildIds start = child;
  for (BlockId covered = index_.FindCovered(key, start); covered != kNoBlock;
       covered = index_.FindCovered(key, start)) {
    start.ids = start.ids.first(static_cast<size_t>(index_.num_tokens(covered)));
    if (IsCached(covered)) Uncache(covered, Removal::kDropped);
  }
}

absl::Status BlockCache::CheckInvariants(std::span<const BlockTable* const> tables) const {
  if (absl::Status status = CheckTables(tables); !status.ok()) return status;
  std::vector<State> states(references_.size(), State::kHeld);
  states[kScratchBlock] = State::kScratch;
  if (absl::Status status = CheckFree(states); !status.ok()) return status;
  if (absl::Status status = CheckOrder(states); !status.ok()) return status;
  int num_held_blocks = 0;
  for (BlockId block = 0; block < num_total(); ++block) {
    const bool is_held = states[static_cast<size_t>(block)] == State::kHeld;
    if (is_held != (num_references(block) > 0)) {
      return absl::InternalError(absl::StrCat("block ", block, " has ", num_references(block), " references, and is ",
                                              is_held ? "neither free nor cached" : "free or cached"));
    }
    num_held_blocks += is_held ? 1 : 0;
  }
  if (num_held_blocks != num_held()) {
    return absl::InternalError(absl::StrCat(num_held_blocks, " blocks are held, ", num_held(), " counted"));
  }
  return index_.CheckInvariants();
}

absl::Status BlockCache::CheckTables(std::span<const BlockTable* const> tables) const {
  std::vector<int32_t> holders(references_.size());
  for (const BlockTable* table : tables) {
    BlockId before = kNoBlock;
    for (BlockId block : table->blocks()) ++holders[static_cast<size_t>(block)];
    for (BlockId block : table->blocks().first(static_cast<size_t>(table->num_published()))) {
      if (index_.num_tokens(block) != kBlockSlots || index_.parent(block) != before) {
        return absl::InternalError(absl::StrCat("block ", block, " of a table is not findable behind ", before));
      }
      before = block;
    }
  }
  for (BlockId block = 0; block < num_total(); ++block) {
    if (holders[static_cast<size_t>(block)] != num_references(block)) {
      return absl::InternalError(absl::StrCat("block ", block, " has ", num_references(block), " references, but ",
                                              holders[static_cast<size_t>(block)], " tables hold it"));
    }
  }
  return absl::OkStatus();
}

absl::Status BlockCache::CheckFree(std::vector<State>& states) const {
  for (BlockId block : free_) {
    if (std::exchange(states[static_cast<size_t>(block)], State::kFree) != State::kHeld || index_.Has(block)) {
      return absl::InternalError(absl::StrCat("block ", block, " is free twice, or findable, or the scratch block"));
    }
  }
  return absl::OkStatus();
}

absl::Status BlockCache::CheckOrder(std::vector<State>& states) const {
  absl::Status status;
  int num_in_order = 0;
  order_.ForEach([&](BlockId block) {
    ++num_in_order;
    const bool was_held = std::exchange(states[static_cast<size_t>(block)], State::kCached) == State::kHeld;
    if (!was_held || !index_.Has(block)) {
      status = absl::InternalError(absl::StrCat("block ", block, " is cached twice, or free, or not findable"));
    } else if (states[static_cast<size_t>(index_.parent(block))] == State::kCached) {
      status = absl::InternalError(absl::StrCat("block ", index_.parent(block), " goes before ", block, ", its child"));
    } else if (index_.num_tokens(block) < kBlockSlots && index_.IsCovered(block)) {
      status = absl::InternalError(absl::StrCat("block ", block, " is cached, but another one covers it"));
    }
  });
  if (status.ok() && num_in_order != num_cached()) {
    status = absl::InternalError(absl::StrCat(num_in_order, " blocks in order, ", num_cached(), " counted"));
  }
  return status;
}

}  // namespace latentd
