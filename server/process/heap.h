// The heap gives back the memory that a burst of large messages left: glibc keeps an arena for each few threads and, in
// each, what lies below the last byte in use, so that memory once taken would stay taken. Any thread.
#pragma once

#include "base/clock.h"

namespace latentd {

// Few arenas, and large blocks in mappings of their own, which go back when they are freed. Before the first thread.
void BoundHeap();

// Gives free memory back to the system where there is much of it. One thread at a time, as often as it likes.
class HeapTrim {
 public:
  void Tick(TimePoint now);

 private:
  TimePoint last_{};
};

}  // namespace latentd
