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

float ReadAll(const float* from, size_t count) {
  constexpr int kStreams = 4, kLine = 16;
  const size_t stream = count / kStreams;
  Vec sums[kStreams] = {Set(0.0f), Set(0.0f), Set(0.0f), Set(0.0f)};
  for (size_t i = 0; i < stream; i += kLine) {
    for (size_t s = 0; s < kStreams; ++s) {
      const float* line = from + s * stream + i;
      hwy::Prefetch(line + 256);
      for (int p = 0; p < kLine; p += kLanes) sums[s] = hn::Max(sums[s], hn::Load(kF32, line + p));
    }
  }
  return hn::GetLane(hn::Max(hn::Max(sums[0], sums[1]), hn::Max(sums[2], sums[3])));
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "kernels/cpu/cpu_device.h"

namespace latentd {
namespace {

HWY_EXPORT(MultiplyAdds);
HWY_EXPORT(FlopsOf);
HWY_EXPORT(ReadAll);

std::atomic<bool> unlikely_result{false};

// The best of a few: a ceiling is a maximum.
template <class Body>
double FewestSeconds(const Body& body) {
  double best = 1e30;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace

double MeasureFmaPeak(int num_threads) {
  constexpr int kSteps = 200'000;
  const int num_items = 8 * num_threads;
  ThreadPool pool(num_threads);
  const double seconds = FewestSeconds([&] {
    pool.ForEach(num_items, [](int item, int) {
      if (HWY_DYNAMIC_DISPATCH(MultiplyAdds)(kSteps, static_cast<float>(item + 1)) == 12345.0f) unlikely_result = true;
    });
  });
  return HWY_DYNAMIC_DISPATCH(FlopsOf)(kSteps) * num_items / seconds;
}

double MeasureReadBandwidth(int num_threads) {
  constexpr size_t kMostBytes = size_t{1} << 30, kItemFloats = size_t{1} << 18;
  cpu::CpuDevice device;
  const size_t num_items = std::min(kMostBytes, device.AvailableBytes() / 4) / (kItemFloats * sizeof(float));
  const absl::StatusOr<DeviceBuffer> buffer = device.Allocate(num_items * kItemFloats * sizeof(float));
  if (num_items == 0 || !buffer.ok()) return 0.0;
  const auto* values = buffer->As<float>();
  std::fill_n(buffer->As<float>(), num_items * kItemFloats, 1.0f);  // untouched pages would all be the same zero page
  ThreadPool pool(num_threads);
  const double seconds = FewestSeconds([&] {
    pool.ForEach(static_cast<int>(num_items), [&](int item, int) {
      if (HWY_DYNAMIC_DISPATCH(ReadAll)(values + static_cast<size_t>(item) * kItemFloats, kItemFloats) == 12345.0f)
        unlikely_result = true;
    });
  });
  return static_cast<double>(buffer->bytes()) / seconds;
}

}  // namespace latentd
#endif  // HWY_ONCE
