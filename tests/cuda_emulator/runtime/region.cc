#include "tests/cuda_emulator/runtime/region.h"

#include <vector>

#include <sys/mman.h>

#include "tests/cuda_emulator/runtime/failure.h"

namespace cuda_emulator {
namespace {

void* MapPlane(uint64_t bytes) {
  void* plane = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (plane == MAP_FAILED) Fail(CUDA_EMULATOR_HERE, "host", "no address space for the shadow memory");
  return plane;
}

AccessId* MapHistoryPlane(uint64_t region_bytes) {
  return static_cast<AccessId*>(MapPlane(region_bytes * sizeof(AccessId)));
}

std::vector<Region*>& ShadowedRegions() {
  static auto* regions = new std::vector<Region*>;
  return *regions;
}

void Zero(AccessId* plane, uint64_t region_bytes) {
  if (plane != nullptr) madvise(plane, region_bytes * sizeof(AccessId), MADV_DONTNEED);
}

}  // namespace

void Region::SetRange(void* base, uint64_t bytes) {
  base_ = reinterpret_cast<uintptr_t>(base);
  bytes_ = bytes;
}

void Region::MapState() {
  if (state_ == nullptr) state_ = static_cast<uint8_t*>(MapPlane(bytes_));
}

void Region::MapShadow() {
  MapState();
  if (writers_ != nullptr) return;
  writers_ = MapHistoryPlane(bytes_);
  readers_ = MapHistoryPlane(bytes_);
  if (shared_by_blocks) other_readers_ = MapHistoryPlane(bytes_);
  ShadowedRegions().push_back(this);
}

void Region::ForgetHistory() {
  for (Region* region : ShadowedRegions()) {
    Zero(region->writers_, region->bytes_);
    Zero(region->readers_, region->bytes_);
    Zero(region->other_readers_, region->bytes_);
  }
}

}  // namespace cuda_emulator
