// Bytes that a piece of code takes from the heap. One binary only: replaces operator new.
#pragma once

#include <cstddef>

namespace latentd {

// From construction on, of all threads.
class AllocationCount {
 public:
  AllocationCount();

  // The most that was held at a time beyond what was held at the start.
  size_t peak_bytes() const;
  size_t num_allocations() const;

 private:
  size_t live_at_start_;
  size_t allocations_at_start_;
};

}  // namespace latentd
