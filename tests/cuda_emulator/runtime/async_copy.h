// cp.async: the copies a thread has issued and not yet waited for.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/cuda_emulator/runtime/device_api.h"

namespace cuda_emulator {

struct Thread;

struct AsyncRequest {
  uint32_t shared_address;
  uint32_t bytes;
  const void* source;
  uint32_t source_bytes;  // the rest of `bytes` becomes zeros
  uint32_t group;
  bool landed;  // the bytes are there already, though no one may know
  Where where;
};

// Oldest first. Groups are numbered by the commits before them.
class AsyncQueue {
 public:
  void Clear();
  void Add(AsyncRequest request);
  void Commit() { ++num_commits_; }
  // The oldest request if it is in a group older than the last `groups_left`, else null. Valid until the next call.
  const AsyncRequest* TakeOlderThan(uint32_t groups_left);

  size_t size() const { return requests_.size() - first_; }
  const AsyncRequest& oldest() const { return requests_[first_]; }

 private:
  std::vector<AsyncRequest> requests_;
  size_t first_ = 0;
  uint32_t num_commits_ = 0;
};

void CheckCopiesAtExit(const Thread& thread);

}  // namespace cuda_emulator
