#include "tests/support/allocation_count.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

#include <malloc.h>

namespace latentd {
namespace {

std::atomic<size_t> live_bytes{0}, most_bytes{0}, allocations{0};

void* Allocate(size_t num_bytes) {
  void* const memory = std::malloc(num_bytes);
  if (memory == nullptr) throw std::bad_alloc();
  const size_t live = live_bytes += malloc_usable_size(memory);
  most_bytes = std::max(most_bytes.load(), live);
  ++allocations;
  return memory;
}

void Free(void* memory) {
  if (memory != nullptr) live_bytes -= malloc_usable_size(memory);
  std::free(memory);
}

}  // namespace

AllocationCount::AllocationCount() : live_at_start_(live_bytes), allocations_at_start_(allocations) {
  most_bytes = live_at_start_;
}

size_t AllocationCount::peak_bytes() const { return most_bytes - live_at_start_; }
size_t AllocationCount::num_allocations() const { return allocations - allocations_at_start_; }

}  // namespace latentd

void* operator new(size_t num_bytes) { return latentd::Allocate(num_bytes); }
void* operator new[](size_t num_bytes) { return latentd::Allocate(num_bytes); }
void operator delete(void* memory) noexcept { latentd::Free(memory); }
void operator delete[](void* memory) noexcept { latentd::Free(memory); }
void operator delete(void* memory, size_t) noexcept { latentd::Free(memory); }
void operator delete[](void* memory, size_t) noexcept { latentd::Free(memory); }
