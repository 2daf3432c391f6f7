#include "tests/cuda_emulator/runtime/access_ids.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "tests/cuda_emulator/runtime/failure.h"

namespace cuda_emulator {
namespace {

constexpr uint32_t kMaxChunks = 1 << (32 - kChunkBits);

}  // namespace

AccessIds AccessIds::instance_;

void AccessIds::BeginLaunch(uint32_t max_chunks) {
  if (chunks_.size() > max_chunks) {
    Region::ForgetHistory();
    chunks_.resize(1);
    ++num_restarts_;
  }
  first_of_launch_ = static_cast<AccessId>(chunks_.size()) << kChunkBits;
}

uint32_t AccessIds::TakeChunk(uint64_t block) {
  if (chunks_.size() == kMaxChunks) Fail(CUDA_EMULATOR_HERE, "host", "too many accesses of one launch to remember");
  AccessRecord* records = nullptr;
  if (free_records_.empty()) {
    records = new AccessRecord[kChunkIds / 2];
  } else {
    records = free_records_.back();
    free_records_.pop_back();
  }
  chunks_.push_back({block, records});
  return static_cast<uint32_t>(chunks_.size() - 1);
}

void AccessIds::ForgetChunk(uint32_t chunk) { free_records_.push_back(std::exchange(chunks_[chunk].records, nullptr)); }

bool Published::Includes(AccessId id) const {
  return id < below || std::binary_search(also.begin(), also.end(), id & ~kAtomicBit);
}

void Published::Merge(const Published& other) {
  below = std::max(below, other.below);
  std::vector<AccessId> merged;
  std::set_union(also.begin(), also.end(), other.also.begin(), other.also.end(), std::back_inserter(merged));
  merged.erase(merged.begin(), std::lower_bound(merged.begin(), merged.end(), below));
  also = std::move(merged);
}

}  // namespace cuda_emulator
