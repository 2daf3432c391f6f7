#include "tests/cuda_emulator/cudart/streams.h"

#include <algorithm>
#include <utility>

#include "tests/cuda_emulator/runtime/host_api.h"
#include "tests/cuda_emulator/runtime/schedule.h"

namespace cuda_emulator {

Streams& Streams::Get() {
  static auto* streams = new Streams;  // outlives static destructors that still free memory
  return *streams;
}

cudaStream_t Streams::Create(bool blocking, unsigned flags, int priority) {
  auto stream = std::make_unique<CUstream_st>();
  stream->blocking = blocking;
  stream->flags = flags;
  stream->priority = priority;
  return streams_.emplace_back(std::move(stream)).get();
}

void Streams::Destroy(cudaStream_t stream) {
  stream->destroyed = true;
  std::erase_if(streams_, [](const auto& each) { return each->destroyed && each->queue.empty(); });
}

bool Streams::Check(cudaStream_t stream, const char* call) const {
  if (stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread) {
    Fail(CUDA_EMULATOR_HERE, "default-stream", "%s on a default stream: everything runs on a stream of its own", call);
  }
  return std::any_of(streams_.begin(), streams_.end(),
                     [&](const auto& each) { return each.get() == stream && !each->destroyed; });
}

cudaEvent_t Streams::CreateEvent(unsigned flags) {
  cudaEvent_t event = events_.emplace_back(std::make_unique<CUevent_st>()).get();
  event->flags = flags;
  return event;
}

void Streams::DestroyEvent(cudaEvent_t event) {
  const auto at = std::find_if(events_.begin(), events_.end(), [&](const auto& each) { return each.get() == event; });
  destroyed_events_.push_back(std::move(*at));
  events_.erase(at);
}

bool Streams::CheckEvent(cudaEvent_t event) const {
  return std::any_of(events_.begin(), events_.end(), [&](const auto& each) { return each.get() == event; });
}

void Streams::Enqueue(cudaStream_t stream, std::function<void()> run, std::function<bool()> ready) {
  auto step = [run = std::move(run)] {
    run();
    return true;
  };
  EnqueueSteps(stream, std::move(step), std::move(ready));
}

void Streams::EnqueueSteps(cudaStream_t stream, std::function<bool()> step, std::function<bool()> ready) {
  stream->queue.push_back({.ready = std::move(ready), .step = std::move(step), .number = ++issued_});
}

bool Streams::IsReady(const CUstream_st& stream) const {
  if (stream.queue.empty()) return false;
  const Operation& first = stream.queue.front();
  auto has_earlier = [&](const CUstream_st& other) {
    return !other.queue.empty() && other.queue.front().number < first.number;
  };
  if (stream.blocking && has_earlier(legacy_)) return false;
  if (&stream == &legacy_) {
    for (const auto& other : streams_) {
      if (other->blocking && has_earlier(*other)) return false;
    }
  }
  return first.ready == nullptr || first.ready();
}

cudaStream_t Streams::Choose() {
  std::vector<cudaStream_t> ready;
  for (const auto& stream : streams_) {
    if (IsReady(*stream)) ready.push_back(stream.get());
  }
  if (IsReady(legacy_)) ready.push_back(&legacy_);
  if (ready.empty()) return nullptr;
  const ScheduleKind kind = CurrentSchedule().kind;
  if (IsRandom(kind)) return ready[Random() % ready.size()];
  auto issued_before = [](cudaStream_t a, cudaStream_t b) { return a->queue.front().number < b->queue.front().number; };
  return kind == ScheduleKind::kReverse ? *std::max_element(ready.begin(), ready.end(), issued_before)
                                        : *std::min_element(ready.begin(), ready.end(), issued_before);
}

bool Streams::RunOne() {
  cudaStream_t stream = Choose();
  if (stream == nullptr) return false;
  // A copy: what runs may look at the queue, where it must still be first.
  const std::function<bool()> step = stream->queue.front().step;
  if (step()) stream->queue.pop_front();
  if (stream->destroyed) Destroy(stream);
  return true;
}

void Streams::RunUntil(const std::function<bool()>& done) {
  while (!done()) {
    if (!RunOne()) Fail(CUDA_EMULATOR_HERE, "deadlock", "no stream can go on");
  }
}

void Streams::Drain(cudaStream_t stream) {
  RunUntil([&] { return stream->queue.empty(); });
}

void Streams::DrainAll() {
  RunUntil([&] {
    return legacy_.queue.empty() &&
           std::all_of(streams_.begin(), streams_.end(), [](const auto& each) { return each->queue.empty(); });
  });
}

void Streams::Progress() {
  if (IsRandom(CurrentSchedule().kind) && Random() % 2 == 0) return;
  RunOne();
}

}  // namespace cuda_emulator
