#include "tests/bench/machine_roofs.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/machine_roofs.cc"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>

#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target

#include "base/thread_pool.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

constexpr int kSums = 12;  // enough to hide the latency, few enough for 16 registers

// Returns something that depends on every product, so that none is optimised away.
float MultiplyAdds(int num_steps, float added) {
  const Vec a = Set(0.999f), b = Set(added);
  Vec sums[kSums];
  for (int s = 0; s < kSums; ++s) sums[s] = Set(static_cast<float>(s));
  for (int i = 0; i < num_steps; ++i) {
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) sums[s] = Fma(sums[s], a, b);
  }
  for (int s = 1; s < kSums; ++s) sums[0] = hn::Add(sums[0], sums[s]);
  return hn::GetLane(sums[0]);
}

double FlopsOf(int num_steps) { return 2.0 * kLanes * kSums * num_steps; }

// `count` values, a multiple of 1024, as several streams at once; kAhead: values from which each is prefetched.
template <int kStreams, int kAhead>
float ReadStreams(const float* from, size_t count) {
  constexpr int kLine = 16;
  const size_t stream = count / kStreams;
  Vec sums[kStreams];
  for (Vec& sum : sums) sum = Set(0.0f);
  for (size_t i = 0; i < stream; i += kLine) {
    for (size_t s = 0; s < kStreams; ++s) {
      const float* line = from + s * stream + i;
      if constexpr (kAhead > 0) hwy::Prefetch(line + kAhead);
      for (int p = 0; p < kLine; p += kLanes) sums[s] = hn::Max(sums[s], hn::Load(kF32, line + p));
    }
  }
  Vec most = sums[0];
  for (const Vec& sum : sums) most = hn::Max(most, sum);
  return hn::GetLane(most);
}

float ReadAll(const float* from, size_t count, int way) {
  switch (way) {
    case 0:
      return ReadStreams<1, 0>(from, count);
    case 1:
      return ReadStreams<1, 512>(from, count);
    case 2:
      return ReadStreams<2, 512>(from, count);
    case 3:
      return ReadStreams<4, 0>(from, count);
    case 4:
      return ReadStreams<4, 512>(from, count);
    case 5:
      return ReadStreams<8, 0>(from, count);
    default:
      return ReadStreams<8, 512>(from, count);
  }
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "base/now.h"
#include "kernels/cpu/cpu_device.h"
#include "tests/bench/tile_roof.h"

namespace latentd {
namespace {

HWY_EXPORT(MultiplyAdds);
HWY_EXPORT(FlopsOf);
HWY_EXPORT(ReadAll);

constexpr int kStreamsOfWay[] = {1, 1, 2, 4, 4, 8, 8};  // as ReadAll has them

std::atomic<bool> unlikely_result{false};

// The best of several, over some tenths of a second: a ceiling is a maximum, and other work lowers it.
template <class Body>
double FewestSeconds(int tries, const Body& body) {
  double best = 1e30;
  for (int i = 0; i < tries; ++i) {
    const TimePoint start = Now();
    body();
    best = std::min(best, Seconds(Now() - start));
  }
  return best;
}

double FmaPeak(ThreadPool& pool) {
  constexpr int kSteps = 200'000;
  const int num_items = 8 * pool.num_threads();
  const double seconds = FewestSeconds(40, [&] {
    pool.ForEach(num_items, [](int item, int) {
      if (HWY_DYNAMIC_DISPATCH(MultiplyAdds)(kSteps, static_cast<float>(item + 1)) == 12345.0f) unlikely_result = true;
    });
  });
  return HWY_DYNAMIC_DISPATCH(FlopsOf)(kSteps) * num_items / seconds;
}

// Each thread reads stretches of 16 MiB, in the fastest of several ways.
void ReadBandwidth(ThreadPool& pool, Roofs& roofs) {
  constexpr size_t kMostBytes = size_t{1} << 30, kItemFloats = size_t{1} << 22;
  cpu::CpuDevice device;
  const size_t num_items = std::min(kMostBytes, device.AvailableBytes() / 4) / (kItemFloats * sizeof(float));
  const absl::StatusOr<DeviceBuffer> buffer = device.Allocate(num_items * kItemFloats * sizeof(float));
  if (num_items == 0 || !buffer.ok()) return;
  auto* values = buffer->As<float>();
  const auto for_each_item = [&](const auto& body) {
    pool.ForEach(static_cast<int>(num_items),
                 [&](int item, int) { body(values + static_cast<size_t>(item) * kItemFloats); });
  };
  // Untouched pages would all be the same zero page.
  for_each_item([](float* item) { std::fill_n(item, kItemFloats, 1.0f); });
  for (int way = 0; way < static_cast<int>(std::size(kStreamsOfWay)); ++way) {
    const double seconds = FewestSeconds(4, [&] {
      for_each_item([way](const float* item) {
        if (HWY_DYNAMIC_DISPATCH(ReadAll)(item, kItemFloats, way) == 12345.0f) unlikely_result = true;
      });
    });
    const double rate = static_cast<double>(buffer->bytes()) / seconds;
    if (rate <= roofs.read) continue;
    roofs.read = rate;
    roofs.streams = kStreamsOfWay[way];
  }
}

}  // namespace

Roofs MeasureRoofs(int num_threads) {
  const double tiles = MeasureTilePeak(num_threads);  // first: it asks for tiles, before the threads below start
  ThreadPool pool(num_threads);
  Roofs roofs{.threads = num_threads, .fma = FmaPeak(pool), .tiles = tiles};
  ReadBandwidth(pool, roofs);
  return roofs;
}

std::vector<int> ThreadCounts(int max_threads) {
  std::vector<int> counts;
  for (int count = 1; count < max_threads; count *= 2) counts.push_back(count);
  counts.push_back(max_threads);
  return counts;
}

}  // namespace latentd
#endif  // HWY_ONCE
