#include "tests/engine/model/checkpoint/largest_allocation.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<size_t> largest_allocation = 0;

}  // namespace

void* operator new(size_t size) {
  // Tests here allocate from one thread at a time: a lost update between load and store can't happen.
  largest_allocation.store(std::max(largest_allocation.load(std::memory_order_relaxed), size),
                           std::memory_order_relaxed);
  void* const address = std::malloc(std::max<size_t>(size, 1));
  if (address == nullptr) throw std::bad_alloc();
  return address;
}
void operator delete(void* address) noexcept { std::free(address); }
void operator delete(void* address, size_t) noexcept { std::free(address); }

namespace latentd {

void ResetLargestAllocation() { largest_allocation = 0; }
size_t LargestAllocation() { return largest_allocation; }

}  // namespace latentd
