#include "engine/text/answer/stop_matcher.h"

#include <algorithm>

namespace latentd {

StopMatcher::StopMatcher(std::span<const std::string> stops, StopText stop_text)
    : automaton_(std::make_shared<const Automaton>(stops)), stop_text_(stop_text) {}

StopMatcher::Automaton::Automaton(std::span<const std::string> stop_strings)
    : stops(stop_strings.begin(), stop_strings.end()) {
  stop_with.resize(1);
  stop_here.resize(1);
  for (size_t i = 0; i < stops.size(); ++i) {
    if (stops[i].empty()) continue;
    const uint32_t end = trie.Insert(stops[i]);
    stop_with.resize(trie.num_nodes(), i);
    stop_here.resize(trie.num_nodes());
    if (!stop_here[end]) stop_here[end] = i;
  }
  Link();
}

// Level by level, because a node's shorter suffix is a node of a level above.
void StopMatcher::Automaton::Link() {
  shorter.assign(trie.num_nodes(), ByteTrie::kRoot);
  size_t longest = 0;
  for (const std::string& stop : stops) longest = std::max(longest, stop.size());
  std::vector<uint32_t> nodes(stops.size(), ByteTrie::kRoot);  // where each stop string is on this level
  for (size_t level = 0; level < longest; ++level) {
    for (size_t i = 0; i < stops.size(); ++i) {
      if (level >= stops[i].size()) continue;
      const uint32_t parent = nodes[i];
      const uint32_t node = nodes[i] = trie.Child(parent, stops[i][level]);
      if (parent == ByteTrie::kRoot) continue;
      shorter[node] = Next(shorter[parent], stops[i][level]);
      if (!stop_here[node]) stop_here[node] = stop_here[shorter[node]];
    }
  }
}

uint32_t StopMatcher::Automaton::Next(uint32_t node, char byte) const {
  while (true) {
    const uint32_t child = trie.Child(node, byte);
    if (child != ByteTrie::kNone) return child;
    if (node == ByteTrie::kRoot) return node;
    node = shorter[node];
  }
}

std::string_view StopMatcher::Held() const {
  if (node_ == ByteTrie::kRoot) return {};
  return std::string_view(automaton_->stops[automaton_->stop_with[node_]]).substr(0, automaton_->trie.Depth(node_));
}

StopMatcher::Output StopMatcher::Append(std::string_view chunk) {
  if (found_) return {"", found_};
  uint32_t node = node_;
  for (size_t i = 0; i < chunk.size(); ++i) {
    node = automaton_->Next(node, chunk[i]);
    if (automaton_->stop_here[node]) return Stop(chunk, i + 1, *automaton_->stop_here[node]);
  }
  return {MoveTo(node, chunk), std::nullopt};
}

std::string StopMatcher::Pass(std::string_view chunk) {
  if (found_) return "";
  uint32_t node = node_;
  for (const char byte : chunk) node = automaton_->Next(node, byte);
  return MoveTo(node, chunk);
}

// After all of the chunk: what no longer begins a stop string.
std::string StopMatcher::MoveTo(uint32_t node, std::string_view chunk) {
  const std::string_view held = Held();
  node_ = node;
  const size_t final_size = held.size() + chunk.size() - automaton_->trie.Depth(node);
  std::string text(held.substr(0, final_size));
  if (final_size > held.size()) text += chunk.substr(0, final_size - held.size());
  return text;
}

StopMatcher::Output StopMatcher::Stop(std::string_view chunk, size_t consumed, size_t stop) {
  std::string text(Held());
  text += chunk.substr(0, consumed);
  if (stop_text_ == StopText::kExclude) text.resize(text.size() - automaton_->stops[stop].size());
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
