#include "engine/text/answer/stop_matcher.h"

#include <algorithm>

namespace latentd {

StopMatcher::StopMatcher(std::span<const std::string> stops, StopText stop_text)
    : stops_(stops.begin(), stops.end()), stop_text_(stop_text) {
  stop_with_.resize(1);
  stop_here_.resize(1);
  for (size_t i = 0; i < stops_.size(); ++i) {
    if (stops_[i].empty()) continue;
    const uint32_t end = trie_.Insert(stops_[i]);
    stop_with_.resize(trie_.num_nodes(), i);
    stop_here_.resize(trie_.num_nodes());
    if (!stop_here_[end]) stop_here_[end] = i;
  }
  Link();
}

// Level by level, because a node's shorter suffix is a node of a level above.
void StopMatcher::Link() {
  shorter_.assign(trie_.num_nodes(), ByteTrie::kRoot);
  size_t longest = 0;
  for (const std::string& stop : stops_) longest = std::max(longest, stop.size());
  std::vector<uint32_t> nodes(stops_.size(), ByteTrie::kRoot);  // where each stop string is on this level
  for (size_t level = 0; level < longest; ++level) {
    for (size_t i = 0; i < stops_.size(); ++i) {
      if (level >= stops_[i].size()) continue;
      const uint32_t parent = nodes[i];
      const uint32_t node = nodes[i] = trie_.Child(parent, stops_[i][level]);
      if (parent == ByteTrie::kRoot) continue;
      shorter_[node] = Next(shorter_[parent], stops_[i][level]);
      if (!stop_here_[node]) stop_here_[node] = stop_here_[shorter_[node]];
    }
  }
}

uint32_t StopMatcher::Next(uint32_t node, char byte) const {
  while (true) {
    const uint32_t child = trie_.Child(node, byte);
    if (child != ByteTrie::kNone) return child;
    if (node == ByteTrie::kRoot) return node;
    node = shorter_[node];
  }
}

std::string_view StopMatcher::Held() const {
  if (node_ == ByteTrie::kRoot) return {};
  return std::string_view(stops_[stop_with_[node_]]).substr(0, trie_.Depth(node_));
}

StopMatcher::Output StopMatcher::Append(std::string_view chunk) {
  if (found_) return {"", found_};
  uint32_t node = node_;
  for (size_t i = 0; i < chunk.size(); ++i) {
    node = Next(node, chunk[i]);
    if (stop_here_[node]) return Stop(chunk, i + 1, *stop_here_[node]);
  }
  return {MoveTo(node, chunk), std::nullopt};
}

std::string StopMatcher::Pass(std::string_view chunk) {
  if (found_) return "";
  uint32_t node = node_;
  for (const char byte : chunk) node = Next(node, byte);
  return MoveTo(node, chunk);
}

// After all of the chunk: what no longer begins a stop string.
std::string StopMatcher::MoveTo(uint32_t node, std::string_view chunk) {
  const std::string_view held = Held();
  node_ = node;
  const size_t final_size = held.size() + chunk.size() - trie_.Depth(node);
  std::string text(held.substr(0, final_size));
  if (final_size > held.size()) text += chunk.substr(0, final_size - held.size());
  return text;
}

StopMatcher::Output StopMatcher::Stop(std::string_view chunk, size_t consumed, size_t stop) {
  std::string text(Held());
  text += chunk.substr(0, consumed);
  if (stop_text_ == StopText::kExclude) text.resize(text.size() - stops_[stop].size());
  found_ = stop;
  node_ = ByteTrie::kRoot;
  return {std::move(text), found_};
}

std::string StopMatcher::Flush() {
  std::string text(Held());
  node_ = ByteTrie::kRoot;
  return text;
}

}  // namespace latentd
