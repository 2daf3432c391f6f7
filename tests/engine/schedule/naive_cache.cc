#include "tests/engine/schedule/naive_cache.h"

#include <algorithm>
#include <iterator>
#include <tuple>

namespace latentd {
namespace {

bool StartsWith(const std::vector<int32_t>& tokens, const std::vector<int32_t>& start) {
  return tokens.size() >= start.size() && std::equal(start.begin(), start.end(), tokens.begin());
}

bool IsFull(const NaiveCache::Block& block) { return !block.tokens.empty() && block.tokens.size() % kBlockSlots == 0; }

}  // namespace

int NaiveCache::NumCommon(const Key& key, int limit) const {
  int most = 0;
  for (const auto& [id, block] : blocks_) {
    if (block.own.empty() ? block.salt != key.salt : block.own != key.own) continue;
    int common = 0;
    while (common < limit && common < static_cast<int>(block.tokens.size()) &&
           block.tokens[static_cast<size_t>(common)] == key.tokens[static_cast<size_t>(common)]) {
      ++common;
    }
    most = std::max(most, common);
  }
  return most;
}

bool NaiveCache::Holds(BlockId block, const std::vector<int32_t>& tokens) const {
  const auto found = blocks_.find(block);
  return found != blocks_.end() && StartsWith(found->second.tokens, tokens);
}

DraftedSlots NaiveCache::Drafted(const Table& path, int num_tokens) const {
  int from = num_tokens;
  while (from > kFirstDraftedSlot && blocks_.at(path[static_cast<size_t>((from - 1) / kBlockSlots)])
                                         .drafted[static_cast<size_t>((from - 1) % kBlockSlots)]) {
    --from;
  }
  return from < num_tokens ? DraftedSlots{.from = from, .to = num_tokens} : DraftedSlots();
}

int NaiveCache::num_cached() const {
  return static_cast<int>(
      std::count_if(blocks_.begin(), blocks_.end(), [&](const auto& entry) { return IsCached(entry.second); }));
}

int NaiveCache::num_kept() const {
  return static_cast<int>(std::count_if(blocks_.begin(), blocks_.end(), [&](const auto& entry) {
    return IsCached(entry.second) && entry.second.keep_until != kNotKept;
  }));
}

BlockId NaiveCache::FirstToGo() const {
  if (num_free() > 0) return kNoBlock;
  std::optional<std::tuple<TimePoint, uint64_t, BlockId>> first;
  for (const auto& [id, block] : blocks_) {
    if (!IsCached(block)) continue;
    const std::tuple candidate{block.keep_until, block.turn, id};
    if (!first || candidate < *first) first = candidate;
  }
  return first ? std::get<BlockId>(*first) : kNoBlock;
}

void NaiveCache::Take(BlockId block, Table& table) {
  blocks_[block] = Block{.references = 1};
  table.push_back(block);
}

void NaiveCache::Hold(BlockId block, Table& table) {
  ++blocks_.at(block).references;
  table.push_back(block);
}

void NaiveCache::Use(BlockId block) {
  if (IsCached(blocks_.at(block))) blocks_.at(block).turn = ++num_turns_;
}

int NaiveCache::Publish(Table& table, const Key& key, int num_committed, TailRule rule, DraftedSlots drafted) {
  BlockId parent = kNoBlock;
  for (size_t i = 0; i < table.size(); ++i) {
    const int end = std::min(num_committed, static_cast<int>(i + 1) * kBlockSlots);
    const bool is_tail = end % kBlockSlots != 0;
    if (end <= static_cast<int>(i) * kBlockSlots || (is_tail && rule != TailRule::kWithTail)) break;
    Block wanted{.salt = key.salt, .own = key.own, .parent = parent};
    wanted.tokens.assign(key.tokens.begin(), key.tokens.begin() + end);
    for (int slot = static_cast<int>(i) * kBlockSlots; slot < end; ++slot) {
      wanted.drafted.push_back(slot < kFirstDraftedSlot || (slot >= drafted.from && end <= drafted.to));
    }
    if (!StartsWith(blocks_.at(table[i]).tokens, wanted.tokens)) {
      const BlockId twin = FindTwin(wanted);
      if (twin == kNoBlock) {
        Store(table[i], std::move(wanted));
      } else if (is_tail) {
        Use(twin);
      } else {
        blocks_.at(table[i]).tokens.clear();
        LetGo(table[i]);
        ++blocks_.at(twin).references;
        table[i] = twin;
        for (int slot = end - kBlockSlots; slot < end; ++slot) {
          const bool has_slot = blocks_.at(twin).drafted[static_cast<size_t>(slot % kBlockSlots)];
          if (!has_slot) drafted.from = std::max(drafted.from, slot + 1);
        }
      }
    }
    parent = table[i];
  }
  DropCovered();
  return drafted.from;
}

void NaiveCache::Release(Table& table, TimePoint keep_until) {
  for (BlockId block : table) {
    Block& held = blocks_.at(block);
    if (!held.tokens.empty()) held.keep_until = std::max(held.keep_until, keep_until);
  }
  std::reverse(table.begin(), table.end());
  for (BlockId block : table) LetGo(block);
  table.clear();
}

// What the table alone holds from some block on, and what stands beneath that one.
void NaiveCache::Forget(const Table& table) {
  auto first = table.end();
  while (first != table.begin() && blocks_.at(*std::prev(first)).references == 1) --first;
  if (first == table.end()) return;
  const BlockId wrong = *first;
  Drop([&](BlockId, const Block& block) { return IsCached(block) && StandsBeneath(block, wrong); });
  for (; first != table.end(); ++first) blocks_.at(*first) = Block{.references = 1};
}

void NaiveCache::ExpireKept(TimePoint now) {
  const auto is_over = [&](const auto& entry) {
    return IsCached(entry.second) && entry.second.keep_until != kNotKept && entry.second.keep_until <= now;
  };
  while (std::any_of(blocks_.begin(), blocks_.end(), is_over)) StopKeepingMost();
}

void NaiveCache::DropPrivate(const std::string& own) {
  Drop([&](BlockId, const Block& block) { return IsCached(block) && block.own == own; });
}

void NaiveCache::Flush() {
  Drop([&](BlockId, const Block& block) { return IsCached(block); });
}

bool NaiveCache::IsCovered(BlockId block) const {
  const Block& tail = blocks_.at(block);
  return !IsFull(tail) && std::any_of(blocks_.begin(), blocks_.end(), [&](const auto& other) {
    return other.first != block && AreSiblings(other.second, tail) && StartsWith(other.second.tokens, tail.tokens);
  });
}

bool NaiveCache::StandsBeneath(const Block& block, BlockId above) const {
  BlockId parent = block.parent;
  while (parent != kNoBlock && parent != above) parent = blocks_.at(parent).parent;
  return parent == above;
}

void NaiveCache::LetGo(BlockId block) {
  Block& held = blocks_.at(block);
  if (--held.references > 0) return;
  if (held.tokens.empty()) {
    blocks_.erase(block);
    return;
  }
  held.turn = ++num_turns_;
  if (num_kept() > num_blocks_ / 2) StopKeepingMost();
  if (IsCovered(block)) blocks_.erase(block);
}

void NaiveCache::Store(BlockId block, Block stored) {
  Block& held = blocks_.at(block);
  stored.references = held.references;
  stored.keep_until = held.keep_until;
  held = std::move(stored);
}

// A full block may be exchanged for one that is its owner's or shared; a tail is not stored beside one that covers it,
// the first of these by tokens.
BlockId NaiveCache::FindTwin(const Block& wanted) const {
  BlockId shared = kNoBlock, first = kNoBlock;
  for (const auto& [id, block] : blocks_) {
    if (block.parent != wanted.parent || block.tokens.empty()) continue;
    const bool holds = IsFull(wanted) ? block.tokens == wanted.tokens : StartsWith(block.tokens, wanted.tokens);
    if (!holds) continue;
    if (AreSiblings(block, wanted)) {
      if (first == kNoBlock || block.tokens < blocks_.at(first).tokens) first = id;
    } else if (IsFull(wanted) && block.own.empty() && block.salt == wanted.salt) {
      shared = id;
    }
  }
  return first != kNoBlock ? first : shared;
}

void NaiveCache::DropCovered() {
  Drop([&](BlockId id, const Block& block) { return IsCached(block) && IsCovered(id); });
}

// The one that would go first among those kept.
void NaiveCache::StopKeepingMost() {
  Block* first = nullptr;
  for (auto& [id, block] : blocks_) {
    if (!IsCached(block) || block.keep_until == kNotKept) continue;
    if (first == nullptr || std::tie(block.keep_until, block.turn) < std::tie(first->keep_until, first->turn)) {
      first = &block;
    }
  }
  first->keep_until = kNotKept;
  first->turn = ++num_turns_;
}

template <class Predicate>
void NaiveCache::Drop(const Predicate& predicate) {
  std::vector<BlockId> dropped;
  for (const auto& [id, block] : blocks_) {
    if (predicate(id, block)) dropped.push_back(id);
  }
  for (BlockId id : dropped) blocks_.erase(id);
}

}  // namespace latentd
