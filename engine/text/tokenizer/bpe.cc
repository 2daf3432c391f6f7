#include "engine/text/tokenizer/bpe.h"

#include <queue>

#include "base/interruption.h"

namespace latentd {
namespace {

// Up to here scanning all pairs for each merge is faster than a heap.
constexpr size_t kMaxShortBytes = 48;
constexpr uint32_t kNoRank = UINT32_MAX;
constexpr uint32_t kEnd = UINT32_MAX;

}  // namespace

// A doubly linked list in an array: a merge keeps the left symbol and unlinks the right one.
struct Bpe::Symbol {
  int32_t id = 0;
  uint32_t previous = kEnd;
  uint32_t next = kEnd;
  bool gone = false;
};

// A merge that was possible when it was pushed; stale if its symbols have changed since.
struct Bpe::Candidate {
  uint32_t rank = 0;
  uint32_t left = 0;
  int32_t left_id = 0;
  int32_t right_id = 0;
  int32_t merged = 0;

  bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
};

void Bpe::AddMerge(int32_t left, int32_t right, int32_t merged, uint32_t rank) {
  merges_.insert_or_assign(PairKey(left, right), Merge{rank, merged});
}

const Bpe::Merge* Bpe::FindMerge(int32_t left, int32_t right) const {
  const auto found = merges_.find(PairKey(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void Bpe::Encode(std::string_view piece, std::vector<int32_t>& ids) const {
  const auto whole = whole_pieces_.find(absl::string_view(piece.data(), piece.size()));
  if (whole != whole_pieces_.end()) {
    ids.push_back(whole->second);
  } else if (piece.size() <= kMaxShortBytes) {
    EncodeShort(piece, ids);
  } else {
    EncodeLong(piece, ids);
  }
}

void Bpe::EncodeShort(std::string_view piece, std::vector<int32_t>& ids) const {
  std::array<int32_t, kMaxShortBytes> symbols;
  std::array<Merge, kMaxShortBytes> merges;  // merges[i] joins symbols i and i + 1
  size_t num_symbols = piece.size();
  const auto set_merge = [&](size_t i) {
    const Merge* merge = i + 1 < num_symbols ? FindMerge(symbols[i], symbols[i + 1]) : nullptr;
    merges[i] = merge == nullptr ? Merge{kNoRank, 0} : *merge;
  };
  for (size_t i = 0; i < num_symbols; ++i) symbols[i] = byte_ids_[static_cast<uint8_t>(piece[i])];
  for (size_t i = 0; i < num_symbols; ++i) set_merge(i);
  while (num_symbols > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < num_symbols; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNoRank) break;
    symbols[best] = merges[best].id;
    --num_symbols;
    for (size_t i = best + 1; i < num_symbols; ++i) {
      symbols[i] = symbols[i + 1];
      merges[i] = merges[i + 1];
    }
    set_merge(best);
    if (best > 0) set_merge(best - 1);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.begin() + static_cast<std::ptrdiff_t>(num_symbols));
}

void Bpe::EncodeLong(std::string_view piece, std::vector<int32_t>& ids) const {
  std::vector<Symbol> symbols(piece.size());
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto push = [&](uint32_t left) {
    if (left == kEnd || symbols[left].next == kEnd) return;
    const int32_t left_id = symbols[left].id, right_id = symbols[symbols[left].next].id;
    const Merge* merge = FindMerge(left_id, right_id);
    if (merge != nullptr) candidates.push({merge->rank, left, left_id, right_id, merge->id});
  };
  for (uint32_t i = 0; i < symbols.size(); ++i) {
    symbols[i].id = byte_ids_[static_cast<uint8_t>(piece[i])];
    symbols[i].previous = i == 0 ? kEnd : i - 1;
    symbols[i].next = i + 1 == symbols.size() ? kEnd : i + 1;
  }
  for (uint32_t i = 0; i < symbols.size(); ++i) push(i);
  while (!candidates.empty() && !IsInterrupted()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Symbol& left = symbols[best.left];
    if (left.gone || left.id != best.left_id || left.next == kEnd || symbols[left.next].id != best.right_id) continue;
    Symbol& right = symbols[left.next];
    left.id = best.merged;
    right.gone = true;
    left.next = right.next;
    if (right.next != kEnd) symbols[right.next].previous = best.left;
    push(left.previous);
    push(best.left);
  }
  for (uint32_t i = 0; i != kEnd; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace latentd
