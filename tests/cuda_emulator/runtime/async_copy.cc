#include "tests/cuda_emulator/runtime/async_copy.h"

#include <cstring>

#include "tests/cuda_emulator/runtime/block.h"
#include "tests/cuda_emulator/runtime/failure.h"
#include "tests/cuda_emulator/runtime/shadow.h"

namespace cuda_emulator {
namespace {

bool LandsAtIssue() {
  switch (CurrentSchedule().async) {
    case AsyncCompletion::kEarly:
      return true;
    case AsyncCompletion::kLate:
      return false;
    case AsyncCompletion::kRandom:
      return Random() % 2 == 0;
  }
  return false;
}

void Land(const AsyncRequest& request) {
  auto* target = static_cast<std::byte*>(SharedPointer(request.shared_address));
  if (request.source_bytes > 0) std::memcpy(target, request.source, request.source_bytes);
  std::memset(target + request.source_bytes, 0, request.bytes - request.source_bytes);
}

void CheckOperands(const AsyncRequest& request) {
  const Where where = request.where;
  if (request.bytes != 4 && request.bytes != 8 && request.bytes != 16) {
    Fail(where, "misaligned", "cp.async of %u bytes", request.bytes);
  }
  if (request.source_bytes > request.bytes) {
    Fail(where, "out-of-bounds", "cp.async of %u bytes reads %u", request.bytes, request.source_bytes);
  }
  CheckAlignment(request.shared_address, request.bytes, where);
  if (request.source_bytes > 0) CheckAlignment(reinterpret_cast<uintptr_t>(request.source), request.bytes, where);
  if (!IsSharedAddress(SharedPointer(request.shared_address))) {
    Fail(where, "out-of-bounds", "cp.async to %#x, which is not in shared memory", request.shared_address);
  }
}

}  // namespace

void AsyncQueue::Clear() {
  requests_.clear();
  first_ = 0;
  num_commits_ = 0;
}

void AsyncQueue::Add(AsyncRequest request) {
  if (size() == 0) {
    requests_.clear();
    first_ = 0;
  }
  request.group = num_commits_;
  requests_.push_back(request);
}

const AsyncRequest* AsyncQueue::TakeOlderThan(uint32_t groups_left) {
  if (size() == 0 || uint64_t{requests_[first_].group} + groups_left >= num_commits_) return nullptr;
  return &requests_[first_++];
}

void AsyncCopy(uint32_t shared_address, const void* global_address, uint32_t bytes, uint32_t source_bytes,
               Where where) {
  AsyncRequest request = {.shared_address = shared_address,
                          .bytes = bytes,
                          .source = global_address,
                          .source_bytes = source_bytes,
                          .group = 0,
                          .landed = LandsAtIssue(),
                          .where = where};
  CheckOperands(request);
  if (running_kernel->shadow) BeginAsyncCopy(request);
  if (request.landed) {
    Land(request);
  } else {
    std::memset(SharedPointer(shared_address), 0xFF, bytes);
  }
  running->copies.Add(request);
}

void AsyncCommit() { running->copies.Commit(); }

void AsyncWait(uint32_t groups_left, Where where) {
  while (const AsyncRequest* request = running->copies.TakeOlderThan(groups_left)) {
    if (!request->landed) Land(*request);
    if (running_kernel->shadow) EndAsyncCopy(*request, where);
  }
}

void CheckCopiesAtExit(const Thread& thread) {
  if (thread.copies.size() == 0) return;
  Fail(thread.copies.oldest().where, "async", "a thread ends with %zu cp.async copies it never waited for",
       thread.copies.size());
}

}  // namespace cuda_emulator
