// Numbers by block hash, in memory taken at construction. Several entries may have one hash: the caller tells them
// apart. Whose tokens choose the hashes does not choose where they stand: places are drawn anew in each process.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <random>

#include "base/check.h"
#include "engine/schedule/chain_hash.h"
#include "engine/schedule/zeroed_array.h"

namespace latentd {

class HashTable {
 public:
  static constexpr size_t kNowhere = SIZE_MAX;

  explicit HashTable(size_t most_entries)
      : entries_(std::bit_ceil(std::max<size_t>(2, 2 * most_entries))), most_entries_(most_entries) {
    std::random_device random;
    multiplier_ = uint64_t{random()} << 32 | random() | 1;
  }

  // Where the hash has a value that `matches(value)`, until the table changes; else kNowhere.
  template <class Matches>
  size_t Find(const BlockHash& hash, const Matches& matches) const {
    for (size_t at = HomeOf(hash); entries_[at].is_used; at = After(at)) {
      if (entries_[at].hash == hash && matches(entries_[at].value)) return at;
    }
    return kNowhere;
  }

  int32_t& value(size_t at) { return entries_[at].value; }
  int32_t value(size_t at) const { return entries_[at].value; }
  size_t size() const { return num_entries_; }

  void Insert(const BlockHash& hash, int32_t value) {
    CHECK_LT(num_entries_, most_entries_);
    size_t at = HomeOf(hash);
    while (entries_[at].is_used) at = After(at);
    entries_[at] = {.hash = hash, .value = value, .is_used = true};
    ++num_entries_;
  }

  // Entries that stand further from their home than the hole move up.
  void Erase(size_t hole) {
    for (size_t at = After(hole); entries_[at].is_used; at = After(at)) {
      const size_t mask = entries_.size() - 1;
      if (((at - HomeOf(entries_[at].hash)) & mask) < ((at - hole) & mask)) continue;
      entries_[hole] = entries_[at];
      hole = at;
    }
    entries_[hole].is_used = false;
    --num_entries_;
  }

 private:
  struct Entry {
    BlockHash hash;
    int32_t value;
    bool is_used;
  };

  size_t HomeOf(const BlockHash& hash) const {
    return static_cast<size_t>((hash.low * multiplier_) >> (64 - std::countr_zero(entries_.size())));
  }
  size_t After(size_t at) const { return (at + 1) & (entries_.size() - 1); }

  ZeroedArray<Entry> entries_;  // a power of two, at most half of them in use
  size_t most_entries_;
  size_t num_entries_ = 0;
  uint64_t multiplier_;  // odd
};

// How often each hash is in.
class HashCounts {
 public:
  explicit HashCounts(size_t most_hashes) : counts_(most_hashes) {}

  bool Has(const BlockHash& hash) const { return Find(hash) != HashTable::kNowhere; }
  void Add(const BlockHash& hash) {
    const size_t at = Find(hash);
    if (at == HashTable::kNowhere) {
      counts_.Insert(hash, 1);
    } else {
      ++counts_.value(at);
    }
  }
  void Remove(const BlockHash& hash) {
    const size_t at = Find(hash);
    CHECK_NE(at, HashTable::kNowhere);
    if (--counts_.value(at) == 0) counts_.Erase(at);
  }

 private:
  size_t Find(const BlockHash& hash) const {
    return counts_.Find(hash, [](int32_t) { return true; });
  }

  HashTable counts_;
};

}  // namespace latentd
