#include "engine/schedule/eviction_order.h"

#include <algorithm>

namespace latentd {

EvictionOrder::EvictionOrder(int num_blocks)
    : links_(Index(num_blocks)),
      keep_until_(Index(num_blocks), kNotKept),
      turns_(Index(num_blocks)),
      kept_(Index(num_blocks) / 2 + 1, Sooner()) {}

void EvictionOrder::Keep(BlockId block, TimePoint until) {
  keep_until_[Index(block)] = std::max(keep_until_[Index(block)], until);
}

void EvictionOrder::Add(BlockId block) {
  ++size_;
  if (keep_until_[Index(block)] == kNotKept) {
    Link(block);
    return;
  }
  turns_[Index(block)] = ++num_turns_;
  kept_.Insert({keep_until_[Index(block)], turns_[Index(block)], block});
  if (kept_.all().size() > links_.size() / 2) StopKeepingFirst();
}

void EvictionOrder::Remove(BlockId block) {
  --size_;
  if (keep_until_[Index(block)] == kNotKept) {
    const Links& links = links_[Index(block)];
    links_[Index(links.before)].next = links.next;
    links_[Index(links.next)].before = links.before;
  } else {
    kept_.Erase(kept_.all().find({keep_until_[Index(block)], turns_[Index(block)], block}));
  }
}

void EvictionOrder::ExpireKept(TimePoint now) {
  while (!kept_.all().empty() && kept_.all().begin()->until <= now) StopKeepingFirst();
}

BlockId EvictionOrder::Next() const {
  if (links_[kEnds].next != kEnds) return links_[kEnds].next;
  return kept_.all().empty() ? kNoBlock : kept_.all().begin()->block;
}

void EvictionOrder::Link(BlockId block) {
  const BlockId last = links_[kEnds].before;
  links_[Index(block)] = {.before = last, .next = kEnds};
  links_[Index(last)].next = block;
  links_[kEnds].before = block;
}

void EvictionOrder::StopKeepingFirst() {
  const BlockId block = kept_.all().begin()->block;
  kept_.Erase(kept_.all().begin());
  Forget(block);
  Link(block);
}

}  // namespace latentd
