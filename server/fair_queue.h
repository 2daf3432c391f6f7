// Lines of waiting entries, one for each peer; the lines take turns, so that a peer with many entries delays a peer
// with one by a single entry. Not thread-safe: its owner's lock guards it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace latentd {

template <class Entry>
class FairQueue {
 public:
  void Push(const std::string& peer, Entry entry) {
    std::deque<Entry>& line = lines_[peer];
    if (line.empty()) turns_.push_back(peer);
    line.push_back(std::move(entry));
    ++size_;
  }

  // The oldest entry of the peer whose turn it is; that peer goes to the end of the turns.
  std::optional<Entry> Pop() {
    return PopIf([](const std::string&, const Entry&) { return true; });
  }
  // The same of the first peer, by turns, whose oldest entry `may_go(peer, entry)`.
  template <class MayGo>
  std::optional<Entry> PopIf(const MayGo& may_go) {
    const auto turn = std::find_if(turns_.begin(), turns_.end(), [&](const std::string& peer) {
      return may_go(peer, lines_.find(peer)->second.front());
    });
    if (turn == turns_.end()) return std::nullopt;
    const std::string peer = *turn;
    turns_.erase(turn);
    const auto line = lines_.find(peer);
    std::optional<Entry> entry = std::move(line->second.front());
    line->second.pop_front();
    --size_;
    if (line->second.empty()) {
      lines_.erase(line);
    } else {
      turns_.push_back(peer);
    }
    return entry;
  }

  // Takes out the first entry of `peer` that `is_it(entry)`, wherever it stands; nothing where there is none.
  template <class IsIt>
  std::optional<Entry> Remove(const std::string& peer, const IsIt& is_it) {
    const auto line = lines_.find(peer);
    if (line == lines_.end()) return std::nullopt;
    const auto found = std::find_if(line->second.begin(), line->second.end(), is_it);
    if (found == line->second.end()) return std::nullopt;
    std::optional<Entry> entry = std::move(*found);
    line->second.erase(found);
    --size_;
    if (line->second.empty()) {
      lines_.erase(line);
      turns_.erase(std::find(turns_.begin(), turns_.end(), peer));
    }
    return entry;
  }

  // Takes the newest entry of the longest line, to make room for one of `peer`; nothing where no line is longer than
  // that of `peer` would become.
  std::optional<Entry> PopForRoom(const std::string& peer) {
    const auto shorter = [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); };
    const auto longest = std::max_element(lines_.begin(), lines_.end(), shorter);
    if (longest == lines_.end() || longest->second.size() <= size_of(peer) + 1) return std::nullopt;
    std::optional<Entry> entry = std::move(longest->second.back());
    longest->second.pop_back();
    --size_;
    return entry;
  }

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  size_t size_of(const std::string& peer) const {
    const auto line = lines_.find(peer);
    return line == lines_.end() ? 0 : line->second.size();
  }

 private:
  std::map<std::string, std::deque<Entry>> lines_;  // none is empty
  std::deque<std::string> turns_;                   // the peers that have a line
  size_t size_ = 0;
};

}  // namespace latentd
