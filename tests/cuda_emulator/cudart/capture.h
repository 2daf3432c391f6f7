// Captures of streams and the graphs they become. Guarded by the API mutex.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "tests/cuda_emulator/cudart/streams.h"

namespace cuda_emulator {

// An operation with everything it was given, by value: launches of the graph repeat it.
struct GraphNode {
  std::function<void()> run;
  std::vector<size_t> after;
};

using GraphNodes = std::vector<GraphNode>;

cudaGraph_t MakeGraph(GraphNodes nodes);

struct Capture {
  cudaStream_t origin = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;
  bool invalidated = false;
  GraphNodes nodes;
};

// Puts work into the stream, or into the graph that is being captured from it.
cudaError_t Submit(cudaStream_t stream, std::function<void()> run);

// For calls that may not happen while a stream is captured (allocation, whole-device synchronisation): cudaSuccess, or
// the error after which that capture is lost.
cudaError_t CheckNoCapture();
// For calls that wait for this stream.
cudaError_t CheckNotCapturing(cudaStream_t stream);

cudaError_t RecordEvent(cudaEvent_t event, cudaStream_t stream);
cudaError_t WaitForEvent(cudaStream_t stream, cudaEvent_t event);

}  // namespace cuda_emulator
