#include "server/process/heap.h"

#include <chrono>
#include <cstddef>

#include <malloc.h>
#include <sys/resource.h>

namespace latentd {
namespace {

constexpr int kMaxArenas = 4;
constexpr int kMappedBytes = 256 << 10;      // blocks from this size on; fixed, or glibc would raise it
constexpr size_t kMuchBytes = 16 << 20;      // that is free and worth a walk over the heap
constexpr std::chrono::seconds kBetween{2};  // the heap is not asked, nor its pages taken, all the time

// By `ulimit -v`. Each arena but the first reserves 64 MiB of it, which stacks and files may need.
bool IsAddressSpaceBounded() {
  rlimit limit{};
  return getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

}  // namespace

void BoundHeap() {
  mallopt(M_ARENA_MAX, IsAddressSpaceBounded() ? 1 : kMaxArenas);
  mallopt(M_MMAP_THRESHOLD, kMappedBytes);
  mallopt(M_TRIM_THRESHOLD, kMappedBytes);
}

void HeapTrim::Tick(TimePoint now) {
  if (now - last_ < kBetween) return;
  last_ = now;  // to ask how much is free takes all arenas' locks, too
  if (mallinfo2().fordblks >= kMuchBytes) malloc_trim(0);
}

}  // namespace latentd
