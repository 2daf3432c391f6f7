// Values that begin as zeros and take memory where they are written only: a table for every block of a large cache is
// megabytes, of which a short-lived or idle daemon needs few.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>
#include <type_traits>

#include "base/check.h"

namespace latentd {

template <class T>
class ZeroedArray {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  explicit ZeroedArray(size_t count) : values_(static_cast<T*>(std::calloc(count, sizeof(T)))), count_(count) {
    CHECK(values_ != nullptr || count == 0);
  }

  size_t size() const { return count_; }
  T& operator[](size_t index) { return values_.get()[index]; }
  const T& operator[](size_t index) const { return values_.get()[index]; }
  std::span<T> values() { return {values_.get(), count_}; }
  std::span<const T> values() const { return {values_.get(), count_}; }

 private:
  struct Free {
    void operator()(T* values) const { std::free(values); }
  };
  std::unique_ptr<T, Free> values_;
  size_t count_;
};

}  // namespace latentd
