#include <functional>
#include <thread>

#include "tests/cuda_emulator/cudart/tests/arrays.h"
#include "tests/cuda_emulator/cudart/tests/kernels.h"

namespace cuda_emulator {
namespace {

class Graph {
 public:
  Graph(cudaStream_t stream, const std::function<void()>& body) {
    EXPECT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    body();
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    EXPECT_EQ(cudaGraphGetNodes(graph, nullptr, &num_nodes_), cudaSuccess);
    EXPECT_EQ(cudaGraphInstantiate(&exec_, graph, 0), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  }
  ~Graph() { cudaGraphExecDestroy(exec_); }
  Graph(const Graph&) = delete;
  void Launch(cudaStream_t stream) const { EXPECT_EQ(cudaGraphLaunch(exec_, stream), cudaSuccess); }
  size_t num_nodes() const { return num_nodes_; }
  cudaGraphExec_t exec() const { return exec_; }

 private:
  cudaGraphExec_t exec_ = nullptr;
  size_t num_nodes_ = 0;
};

// A capture in which `call` is made: its error, and then that of the end.
struct CaptureErrors {
  cudaError_t call, end;
};
CaptureErrors InCapture(cudaStream_t stream, cudaStreamCaptureMode mode, const std::function<cudaError_t()>& call) {
  EXPECT_EQ(cudaStreamBeginCapture(stream, mode), cudaSuccess);
  CaptureErrors errors;
  errors.call = call();
  cudaGraph_t graph = nullptr;
  errors.end = cudaStreamEndCapture(stream, &graph);
  EXPECT_EQ(graph == nullptr, errors.end != cudaSuccess);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();
  return errors;
}

cudaError_t Allocate() {
  void* address = nullptr;
  const cudaError_t error = cudaMalloc(&address, 64);
  if (address != nullptr) cudaFree(address);
  return error;
}

TEST(Graphs, ReplayRepeatsWhatWasCapturedByValue) {
  Stream stream;
  DeviceArray values, in_memory, by_value;
  float step = 1;
  PinnedArray device_step_source(1);
  DeviceArray device_step;
  LaunchFill(stream, values, kCount, 10);
  const Graph graph(stream, [&] {
    cudaMemcpyAsync(device_step, device_step_source, kBytes, cudaMemcpyHostToDevice, stream);
    LaunchAddFromMemory(stream, in_memory, values, kCount, device_step);
    LaunchAdd(stream, by_value, values, kCount, step);
  });
  EXPECT_EQ(graph.num_nodes(), 3u);
  for (step = 2; step < 5; ++step) {
    device_step_source.Fill(step);
    graph.Launch(stream);
    EXPECT_EQ(in_memory.Get(stream), All(10 + step));  // read anew
    EXPECT_EQ(by_value.Get(stream), All(11));          // baked in
  }
}

TEST(Graphs, CaptureRunsNothing) {
  Stream stream;
  DeviceArray values;
  LaunchFill(stream, values, kCount, 1);
  const Graph graph(stream, [&] { LaunchFill(stream, values, kCount, 2); });
  EXPECT_EQ(values.Get(stream), All(1));
  graph.Launch(stream);
  EXPECT_EQ(values.Get(stream), All(2));
}

TEST(Graphs, StalePointerIsFound) {
  Stream stream;
  float* values = nullptr;
  PinnedArray host(0);
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&values), kBytes), cudaSuccess);
  const Graph graph(stream, [&] { cudaMemcpyAsync(values, host, kBytes, cudaMemcpyHostToDevice, stream); });
  ASSERT_EQ(cudaFree(values), cudaSuccess);
  EXPECT_EXIT(
      {
        graph.Launch(stream);
        cudaStreamSynchronize(stream);
      },
      testing::ExitedWithCode(99), "cuda emulator: freed: .*the destination");
}

TEST(Graphs, ForkAndJoinByEventsIsOrdered) {
  for (const Schedule& schedule : SomeSchedules()) {
    SetSchedule(schedule);
    Stream stream, side;
    Event fork, join;
    DeviceArray left, right, sum;
    const Graph graph(stream, [&] {
      LaunchFill(stream, left, kCount, 1);
      cudaEventRecord(fork, stream);
      cudaStreamWaitEvent(side, fork, 0);
      LaunchAdd(side, right, left, kCount, 10);
      cudaEventRecord(join, side);
      LaunchAdd(stream, sum, left, kCount, 100);
      cudaStreamWaitEvent(stream, join, 0);
      LaunchAdd(stream, left, right, kCount, 1000);
    });
    EXPECT_EQ(graph.num_nodes(), 4u);
    graph.Launch(stream);
    EXPECT_EQ(left.Get(stream), All(1011));
    EXPECT_EQ(sum.Get(stream), All(101));
  }
  SetSchedule({});
}

TEST(Graphs, ForkWithoutJoinIsAnError) {
  Stream stream, side;
  Event fork;
  DeviceArray values;
  const CaptureErrors errors = InCapture(stream, cudaStreamCaptureModeThreadLocal, [&] {
    LaunchFill(stream, values, kCount, 1);
    cudaEventRecord(fork, stream);
    cudaStreamWaitEvent(side, fork, 0);
    LaunchFill(side, values, kCount, 1);
    cudaGraph_t graph = nullptr;
    return cudaStreamEndCapture(side, &graph);
  });
  EXPECT_EQ(errors.call, cudaErrorStreamCaptureUnmatched);
  EXPECT_EQ(errors.end, cudaErrorStreamCaptureUnjoined);
  side.Synchronize();
}

TEST(Graphs, EventFromOutsideTheCaptureIsAnError) {
  Stream stream, other;
  Event event;
  ASSERT_EQ(cudaEventRecord(event, other), cudaSuccess);
  const CaptureErrors errors =
      InCapture(stream, cudaStreamCaptureModeThreadLocal, [&] { return cudaStreamWaitEvent(stream, event, 0); });
  EXPECT_EQ(errors.call, cudaErrorStreamCaptureIsolation);
  EXPECT_EQ(errors.end, cudaErrorStreamCaptureInvalidated);
}

TEST(Graphs, CapturedEventCannotBeWaitedForByTheHost) {
  Stream stream;
  Event event;
  const Graph graph(stream, [&] { cudaEventRecord(event, stream); });
  EXPECT_EQ(cudaEventSynchronize(event), cudaErrorCapturedEvent);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorCapturedEvent);
  cudaGetLastError();
}

TEST(Graphs, AllocationWhileCapturingLosesTheCapture) {
  Stream stream;
  for (const auto mode : {cudaStreamCaptureModeThreadLocal, cudaStreamCaptureModeGlobal}) {
    const CaptureErrors errors = InCapture(stream, mode, Allocate);
    EXPECT_EQ(errors.call, cudaErrorStreamCaptureUnsupported);
    EXPECT_EQ(errors.end, cudaErrorStreamCaptureInvalidated);
  }
  EXPECT_EQ(Allocate(), cudaSuccess);
}

TEST(Graphs, RelaxedCaptureAllowsAllocation) {
  Stream stream;
  const CaptureErrors errors = InCapture(stream, cudaStreamCaptureModeRelaxed, Allocate);
  EXPECT_EQ(errors.call, cudaSuccess);
  EXPECT_EQ(errors.end, cudaSuccess);
}

TEST(Graphs, OtherThreadsMayAllocateDuringAThreadLocalCapture) {
  auto on_another_thread = [] {
    cudaError_t error = cudaErrorUnknown;
    std::thread([&] { error = Allocate(); }).join();
    return error;
  };
  Stream stream;
  EXPECT_EQ(InCapture(stream, cudaStreamCaptureModeThreadLocal, on_another_thread).call, cudaSuccess);
  EXPECT_EQ(InCapture(stream, cudaStreamCaptureModeGlobal, on_another_thread).call, cudaErrorStreamCaptureUnsupported);
}

TEST(Graphs, WaitingWhileCapturingLosesTheCapture) {
  Stream stream;
  const std::vector<std::function<cudaError_t()>> waits = {[&] { return cudaStreamSynchronize(stream); },
                                                           [&] { return cudaStreamQuery(stream); },
                                                           [] { return cudaDeviceSynchronize(); }};
  for (const auto& wait : waits) {
    const CaptureErrors errors = InCapture(stream, cudaStreamCaptureModeThreadLocal, wait);
    EXPECT_EQ(errors.call, cudaErrorStreamCaptureUnsupported);
    EXPECT_EQ(errors.end, cudaErrorStreamCaptureInvalidated);
  }
}

TEST(Graphs, LegacyStreamWhileCapturingABlockingStreamIsImplicit) {
  Stream stream(cudaStreamDefault);
  DeviceArray values;
  const CaptureErrors errors =
      InCapture(stream, cudaStreamCaptureModeThreadLocal, [&] { return cudaMemset(values, 0, kBytes); });
  EXPECT_EQ(errors.call, cudaErrorStreamCaptureImplicit);
  EXPECT_EQ(errors.end, cudaErrorStreamCaptureInvalidated);
}

TEST(Graphs, LaunchAfterTheCaptureIsLostIsRefused) {
  Stream stream;
  DeviceArray values;
  const CaptureErrors errors = InCapture(stream, cudaStreamCaptureModeThreadLocal, [&] {
    cudaStreamSynchronize(stream);
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    EXPECT_EQ(cudaStreamIsCapturing(stream, &status), cudaSuccess);
    EXPECT_EQ(status, cudaStreamCaptureStatusInvalidated);
    cudaGetLastError();
    LaunchFill(stream, values, kCount, 1);
    return cudaGetLastError();
  });
  EXPECT_EQ(errors.call, cudaErrorStreamCaptureInvalidated);
}

TEST(Graphs, BeginAndEndMustPair) {
  Stream stream;
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorIllegalState);
  const CaptureErrors errors = InCapture(stream, cudaStreamCaptureModeThreadLocal, [&] {
    return cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  });
  EXPECT_EQ(errors.call, cudaErrorIllegalState);
  EXPECT_EQ(errors.end, cudaSuccess);
}

TEST(Graphs, LaunchesOfOneGraphOnTwoStreamsDoNotOverlap) {
  for (const Schedule& schedule : SomeSchedules()) {
    SetSchedule(schedule);
    Stream first, second;
    DeviceArray values;
    LaunchFill(first, values, kCount, 0);
    first.Synchronize();
    const Graph graph(first, [&] {
      for (int i = 0; i < 4; ++i) LaunchAdd(first, values, values, kCount, 1);
    });
    graph.Launch(first);
    graph.Launch(second);
    second.Synchronize();
    EXPECT_EQ(values.Get(first), All(8));
  }
  SetSchedule({});
}

TEST(Graphs, DestroyedInstanceFinishesItsLaunch) {
  Stream stream;
  DeviceArray values;
  {
    const Graph graph(stream, [&] { LaunchFill(stream, values, kCount, 6); });
    graph.Launch(stream);
  }
  EXPECT_EQ(values.Get(stream), All(6));
}

TEST(Graphs, UnknownGraphsAreRefused) {
  Stream stream;
  cudaGraphExec_t gone = nullptr;
  {
    const Graph graph(stream, [] {});
    gone = graph.exec();
  }
  EXPECT_EQ(cudaGraphLaunch(gone, stream), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGraphExecDestroy(gone), cudaErrorInvalidValue);
  cudaGetLastError();
}

}  // namespace
}  // namespace cuda_emulator
