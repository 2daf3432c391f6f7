// Lines of waiting entries, one for each connection; addresses take turns, and the connections of each do, so that a
// client with many entries on many connections delays one with a single entry by a single entry. Not thread-safe: its
// owner's lock guards it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "server/net/peer.h"

namespace latentd {

template <class Entry>
class FairQueue {
 public:
  void Push(const Peer& peer, Entry entry) {
    Address& address = addresses_[peer.address];
    if (address.size == 0) turns_.push_back(peer.address);
    Line& line = address.lines[peer.connection];
    if (line.empty()) address.turns.push_back(peer.connection);
    line.push_back(std::move(entry));
    ++address.size;
    ++size_;
  }

  // The oldest entry of the connection whose turn it is; it and its address go to the end of the turns.
  std::optional<Entry> Pop() {
    return PopIf([](const Entry&) { return true; });
  }
  // The same of the first connection, by turns, whose oldest entry `may_go(entry)`.
  template <class MayGo>
  std::optional<Entry> PopIf(const MayGo& may_go) {
    for (auto turn = turns_.begin(); turn != turns_.end(); ++turn) {
      Address& address = addresses_.find(*turn)->second;
      const auto connection = std::find_if(
          address.turns.begin(), address.turns.end(),
          [&](const std::string& connection) { return may_go(address.lines.find(connection)->second.front()); });
      if (connection == address.turns.end()) continue;
      std::optional<Entry> entry = std::move(address.lines.find(*connection)->second.front());
      std::rotate(connection, connection + 1, address.turns.end());
      std::rotate(turn, turn + 1, turns_.end());
      Line& line = address.lines.find(address.turns.back())->second;
      line.pop_front();
      Shrunk(turns_.back(), address.turns.back());
      return entry;
    }
    return std::nullopt;
  }

  // Takes out the first entry of `peer` that `is_it(entry)`, wherever it stands; nothing where there is none.
  template <class IsIt>
  std::optional<Entry> Remove(const Peer& peer, const IsIt& is_it) {
    const auto address = addresses_.find(peer.address);
    if (address == addresses_.end()) return std::nullopt;
    const auto line = address->second.lines.find(peer.connection);
    if (line == address->second.lines.end()) return std::nullopt;
    const auto found = std::find_if(line->second.begin(), line->second.end(), is_it);
    if (found == line->second.end()) return std::nullopt;
    std::optional<Entry> entry = std::move(*found);
    line->second.erase(found);
    Shrunk(peer.address, peer.connection);
    return entry;
  }

  // Takes the newest entry of the longest line of the address that has most, to make room for one of `peer`; nothing
  // where none has more than `peer` would.
  std::optional<Entry> PopForRoom(const Peer& peer) {
    const auto fewer = [](const auto& a, const auto& b) { return a.second.size < b.second.size; };
    const auto most = std::max_element(addresses_.begin(), addresses_.end(), fewer);
    if (most == addresses_.end()) return std::nullopt;
    const auto shorter = [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); };
    const auto longest = std::max_element(most->second.lines.begin(), most->second.lines.end(), shorter);
    Peer holder;
    holder.address = most->first;
    holder.connection = longest->first;
    const Holding held{most->second.size, longest->second.size()};
    if (!GivesWay({holder, held}, {peer, {size_of_address(peer), size_of(peer)}}, 1)) return std::nullopt;
    std::optional<Entry> entry = std::move(longest->second.back());
    longest->second.pop_back();
    Shrunk(holder.address, holder.connection);
    return entry;
  }

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  // Entries of its connection alone.
  size_t size_of(const Peer& peer) const {
    const auto address = addresses_.find(peer.address);
    if (address == addresses_.end()) return 0;
    const auto line = address->second.lines.find(peer.connection);
    return line == address->second.lines.end() ? 0 : line->second.size();
  }

 private:
  using Line = std::deque<Entry>;
  struct Address {
    std::map<std::string, Line> lines;  // of connections; none is empty
    std::deque<std::string> turns;      // the connections that have a line
    size_t size = 0;
  };

  size_t size_of_address(const Peer& peer) const {
    const auto address = addresses_.find(peer.address);
    return address == addresses_.end() ? 0 : address->second.size;
  }

  // The line lost an entry.
  void Shrunk(std::string name, std::string connection) {
    const auto address = addresses_.find(name);
    const auto line = address->second.lines.find(connection);
    --size_;
    --address->second.size;
    if (line->second.empty()) {
      std::erase(address->second.turns, connection);
      address->second.lines.erase(line);
    }
    if (address->second.size > 0) return;
    std::erase(turns_, name);
    addresses_.erase(address);
  }

  std::map<std::string, Address> addresses_;  // none is empty
  std::deque<std::string> turns_;             // the addresses that have entries
  size_t size_ = 0;
};

}  // namespace latentd
