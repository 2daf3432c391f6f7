// Streams, events and the order in which the work of streams runs: nothing runs before something waits for it, and then
// in any order that streams and events allow. Guarded by the API mutex.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include <cuda_runtime_api.h>

namespace cuda_emulator {

struct Capture;

struct Operation {
  std::function<bool()> ready;  // null: when it is first in its stream
  std::function<bool()> step;   // runs a part; true: that was the last
  uint64_t number = 0;          // in the order of issue, over all streams
};

}  // namespace cuda_emulator

struct CUstream_st {
  bool blocking = false;  // ordered with the legacy stream
  bool destroyed = false;
  unsigned flags = 0;
  int priority = 0;
  std::deque<cuda_emulator::Operation> queue;
  std::shared_ptr<cuda_emulator::Capture> capture;  // null: not capturing
  std::vector<size_t> capture_tail;                 // nodes that the next one comes after
};

struct CUevent_st {
  unsigned flags = 0;
  uint64_t recorded = 0;  // version: how often recorded, and the last that ran
  uint64_t completed = 0;
  std::shared_ptr<cuda_emulator::Capture> capture;  // last recorded in this capture
  std::vector<size_t> capture_nodes;
};

namespace cuda_emulator {

class Streams {
 public:
  static Streams& Get();

  cudaStream_t Create(bool blocking, unsigned flags, int priority);
  void Destroy(cudaStream_t stream);  // what is queued still runs
  // False: not a live stream. The default streams end the run: no work of ours belongs there.
  bool Check(cudaStream_t stream, const char* call) const;
  const std::vector<std::unique_ptr<CUstream_st>>& all() const { return streams_; }
  // Where cudaMemcpy and cudaMemset put their work: waits for blocking streams, which wait for it.
  cudaStream_t legacy() { return &legacy_; }

  cudaEvent_t CreateEvent(unsigned flags);
  void DestroyEvent(cudaEvent_t event);
  bool CheckEvent(cudaEvent_t event) const;

  void Enqueue(cudaStream_t stream, std::function<void()> run, std::function<bool()> ready = nullptr);
  void EnqueueSteps(cudaStream_t stream, std::function<bool()> step, std::function<bool()> ready);

  // Run operations until it is done; others may run on the way.
  void RunUntil(const std::function<bool()>& done);
  void Drain(cudaStream_t stream);
  void DrainAll();
  // What may have happened by the time of a query: one operation, or under random schedules perhaps none.
  void Progress();

 private:
  bool IsReady(const CUstream_st& stream) const;
  cudaStream_t Choose();
  bool RunOne();  // false: none is ready

  std::vector<std::unique_ptr<CUstream_st>> streams_;
  std::vector<std::unique_ptr<CUevent_st>> events_;
  // Destroyed ones stay for the operations that name them.
  std::vector<std::unique_ptr<CUevent_st>> destroyed_events_;
  CUstream_st legacy_;
  uint64_t issued_ = 0;
};

}  // namespace cuda_emulator
