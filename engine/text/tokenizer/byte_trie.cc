#include "engine/text/tokenizer/byte_trie.h"

namespace latentd {

uint32_t ByteTrie::Insert(std::string_view text) {
  uint32_t node = kRoot;
  for (const char byte : text) {
    const auto [edge, is_new] = edges_.try_emplace(EdgeKey(node, byte), num_nodes());
    if (is_new) depths_.push_back(depths_[node] + 1);
    node = edge->second;
  }
  return node;
}

uint32_t ByteTrie::Child(uint32_t node, char byte) const {
  const auto edge = edges_.find(EdgeKey(node, byte));
  return edge == edges_.end() ? kNone : edge->second;
}

}  // namespace latentd
