// An ordered set that takes its memory at construction.
#pragma once

#include <cstddef>
#include <set>
#include <utility>
#include <vector>

#include "base/check.h"

namespace latentd {

template <class T, class Less>
class RecycledSet {
 public:
  using Iterator = typename std::set<T, Less>::const_iterator;

  RecycledSet(size_t most, const Less& less) : all_(less) {
    spares_.reserve(most);
    for (size_t i = 0; i < most; ++i) spares_.push_back(all_.extract(all_.insert(T{}).first));
  }

  const std::set<T, Less>& all() const { return all_; }

  void Insert(const T& value) {
    CHECK(!spares_.empty());
    spares_.back().value() = value;
    CHECK(all_.insert(std::move(spares_.back())).inserted);
    spares_.pop_back();
  }
  void Erase(Iterator place) {
    CHECK(place != all_.end());
    spares_.push_back(all_.extract(place));
  }

 private:
  std::set<T, Less> all_;
  std::vector<typename std::set<T, Less>::node_type> spares_;
};

}  // namespace latentd
