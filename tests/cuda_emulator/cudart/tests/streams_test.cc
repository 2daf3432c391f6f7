#include "tests/cuda_emulator/cudart/tests/arrays.h"
#include "tests/cuda_emulator/cudart/tests/kernels.h"

namespace cuda_emulator {
namespace {

// What a consumer on another stream sees, with or without an event between.
enum class Order { kByEvent, kMissing };
std::vector<float> ReadOnAnotherStream(const Schedule& schedule, Order order) {
  SetSchedule(schedule);
  Stream producer, consumer;
  Event event;
  DeviceArray in, out;
  LaunchFill(producer, in, kCount, 1);
  producer.Synchronize();
  LaunchFill(producer, in, kCount, 3);
  EXPECT_EQ(cudaEventRecord(event, producer), cudaSuccess);
  if (order == Order::kByEvent) {
    EXPECT_EQ(cudaStreamWaitEvent(consumer, event, 0), cudaSuccess);
  }
  LaunchAdd(consumer, out, in, kCount, 1);
  return out.Get(consumer);
}

class EverySchedule : public testing::Test {
 protected:
  ~EverySchedule() override { SetSchedule({}); }
};

TEST_F(EverySchedule, WorkOfAStreamRunsInItsOrder) {
  for (const Schedule& schedule : SomeSchedules()) {
    SetSchedule(schedule);
    Stream stream;
    DeviceArray values;
    LaunchFill(stream, values, kCount, 1);
    for (int i = 0; i < 5; ++i) LaunchAdd(stream, values, values, kCount, static_cast<float>(i));
    EXPECT_EQ(values.Get(stream), All(11));
  }
}

TEST_F(EverySchedule, EventOrdersTwoStreams) {
  for (const Schedule& schedule : SomeSchedules()) {
    EXPECT_EQ(ReadOnAnotherStream(schedule, Order::kByEvent), All(4));
  }
}

TEST_F(EverySchedule, MissingEventIsFound) {
  EXPECT_EQ(ReadOnAnotherStream({.kind = ScheduleKind::kReverse}, Order::kMissing), All(2));
  int wrong = 0;
  for (const Schedule& schedule : SomeSchedules()) {
    if (ReadOnAnotherStream(schedule, Order::kMissing) != All(4)) ++wrong;
  }
  EXPECT_GE(wrong, 4);
}

TEST_F(EverySchedule, WaitIsForTheVersionThatWasRecorded) {
  bool saw_before_second = false, saw_after_second = false;
  for (const Schedule& schedule : SomeSchedules()) {
    SetSchedule(schedule);
    Stream producer, consumer;
    Event event;
    DeviceArray in, out;
    LaunchFill(producer, in, kCount, 1);
    ASSERT_EQ(cudaEventRecord(event, producer), cudaSuccess);
    ASSERT_EQ(cudaStreamWaitEvent(consumer, event, 0), cudaSuccess);
    LaunchFill(producer, in, kCount, 2);
    ASSERT_EQ(cudaEventRecord(event, producer), cudaSuccess);
    LaunchAdd(consumer, out, in, kCount, 0);
    const std::vector<float> seen = out.Get(consumer);
    saw_before_second |= seen == All(1);
    saw_after_second |= seen == All(2);
    EXPECT_TRUE(seen == All(1) || seen == All(2));
  }
  EXPECT_TRUE(saw_before_second);
  EXPECT_TRUE(saw_after_second);
}

TEST_F(EverySchedule, MemsetOfTheLegacyStreamIsNotOrderedWithNonBlockingStreams) {
  int early = 0;
  for (const Schedule& schedule : SomeSchedules()) {
    SetSchedule(schedule);
    Stream stream;
    DeviceArray values;
    LaunchFill(stream, values, kCount, 7);
    stream.Synchronize();
    ASSERT_EQ(cudaMemset(values, 0, kBytes), cudaSuccess);
    if (values.Get(stream) != All(0)) ++early;
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  }
  EXPECT_GE(early, 4);
}

TEST_F(EverySchedule, MemsetOfTheLegacyStreamIsOrderedWithBlockingStreams) {
  for (const Schedule& schedule : SomeSchedules()) {
    SetSchedule(schedule);
    Stream stream(cudaStreamDefault);
    DeviceArray values;
    LaunchFill(stream, values, kCount, 7);
    ASSERT_EQ(cudaMemset(values, 0, kBytes), cudaSuccess);
    LaunchAdd(stream, values, values, kCount, 2);
    EXPECT_EQ(values.Get(stream), All(2));
  }
}

TEST(Streams, NothingRunsBeforeSomethingWaits) {
  Stream stream;
  DeviceArray values;
  PinnedArray host(5);
  LaunchFill(stream, values, kCount, 3);
  ASSERT_EQ(cudaMemcpyAsync(host, values, kBytes, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_EQ(host.Get(), All(5));
  stream.Synchronize();
  EXPECT_EQ(host.Get(), All(3));
}

TEST(Streams, QueryIsNotReadyAtFirstAndDoneInTheEnd) {
  Stream stream;
  DeviceArray values;
  for (int i = 0; i < 5; ++i) LaunchFill(stream, values, kCount, 3);
  EXPECT_EQ(cudaStreamQuery(stream), cudaErrorNotReady);
  EXPECT_EQ(cudaGetLastError(), cudaErrorNotReady);
  int queries = 0;
  while (cudaStreamQuery(stream) == cudaErrorNotReady) ASSERT_LT(++queries, 1000);
  cudaGetLastError();
}

TEST(Streams, DestroyedStreamFinishesItsWork) {
  DeviceArray values;
  Stream other;
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  LaunchFill(stream, values, kCount, 3);
  ASSERT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidResourceHandle);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(values.Get(other), All(3));
}

TEST(Streams, FreeWaitsForQueuedWork) {
  Stream stream;
  PinnedArray host(5);
  float* values = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&values), kBytes), cudaSuccess);
  LaunchFill(stream, values, kCount, 3);
  ASSERT_EQ(cudaMemcpyAsync(host, values, kBytes, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  ASSERT_EQ(cudaFree(values), cudaSuccess);
  EXPECT_EQ(host.Get(), All(3));
}

TEST(Streams, DefaultStreamIsRefused) {
  DeviceArray values;
  EXPECT_EXIT(LaunchFill(nullptr, values, kCount, 1), testing::ExitedWithCode(99), "cuda emulator: default-stream: ");
  EXPECT_EXIT(cudaMemsetAsync(values, 0, kBytes, nullptr), testing::ExitedWithCode(99), "cudaMemsetAsync on a default");
  EXPECT_EXIT(cudaStreamSynchronize(cudaStreamPerThread), testing::ExitedWithCode(99), "on a default stream");
}

TEST(Events, NeverRecordedIsDone) {
  Event event;
  Stream stream;
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(event), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(stream, event, 0), cudaSuccess);
  stream.Synchronize();
}

TEST(Events, SynchronizeWaitsForTheRecordOnly) {
  Stream stream;
  Event event;
  DeviceArray values;
  PinnedArray first(5), second(5);
  LaunchFill(stream, values, kCount, 1);
  ASSERT_EQ(cudaMemcpyAsync(first, values, kBytes, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event, stream), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(second, values, kBytes, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorNotReady);
  ASSERT_EQ(cudaEventSynchronize(event), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
  EXPECT_EQ(first.Get(), All(1));
  EXPECT_EQ(second.Get(), All(5));
  cudaGetLastError();
}

TEST(Events, ElapsedTimeIsNotSupported) {
  cudaEvent_t timed = nullptr;
  ASSERT_EQ(cudaEventCreate(&timed), cudaSuccess);
  float milliseconds = 0;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, timed, timed), cudaErrorNotSupported);
  Event untimed;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, untimed, timed), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventDestroy(timed), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(timed), cudaErrorInvalidResourceHandle);
  cudaGetLastError();
}

}  // namespace
}  // namespace cuda_emulator
