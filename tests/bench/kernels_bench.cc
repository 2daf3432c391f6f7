// Linear beside the machine's ceilings. Few rows are bound by reading the weights, many by multiplying.
//   kernels_bench [max_threads]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/linear.h"
#include "kernels/fp8.h"
#include "tests/bench/machine_roofs.h"

namespace latentd {
namespace {

constexpr int kOutputs = 2048, kInputs = 2048;
constexpr size_t kWeightBytes = size_t{1} << 30;  // of all copies, so that no cache holds them between calls

struct Roofs {
  double flops = 0.0;
  double bytes = 0.0;
};

double MedianSeconds(int calls, const auto& call) {
  std::vector<double> seconds;
  for (int i = 0; i < calls; ++i) {
    const auto start = std::chrono::steady_clock::now();
    call(i);
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + calls / 2, seconds.end());
  return seconds[static_cast<size_t>(calls / 2)];
}

// Bytes of a plausible trained weight: normal values, in FP8 up to about ±448.
std::vector<std::byte> RandomBytes(DType dtype, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<std::byte> bytes;
  for (int i = 0; i < kOutputs * kInputs; ++i) {
    if (dtype == DType::kE4M3) {
      bytes.push_back(static_cast<std::byte>(EncodeE4M3(100.0f * normal(random))));
    } else {
      const uint16_t code = EncodeBf16(0.02f * normal(random));
      bytes.push_back(static_cast<std::byte>(code & 0xFF));
      bytes.push_back(static_cast<std::byte>(code >> 8));
    }
  }
  return bytes;
}

void BenchLinear(const char* name, DType dtype, cpu::Arithmetic arithmetic, const std::vector<Roofs>& roofs) {
  std::mt19937 random(1);
  cpu::CpuDevice device;
  ThreadPool packers(static_cast<int>(roofs.size()));
  const std::vector<std::byte> bytes = RandomBytes(dtype, random);
  const std::vector<float> scales(dtype == DType::kE4M3 ? kOutputs / 128 * (kInputs / 128) : 0, 1e-3f);
  const MatrixSource source{dtype, kOutputs, kInputs, bytes.data(), scales};
  std::vector<cpu::PackedMatrix> copies;
  for (size_t i = 0; i < kWeightBytes / bytes.size(); ++i) {
    auto packed = cpu::PackedMatrix::Pack(device, packers, source, {0, kOutputs, cpu::Orientation::kAsStored});
    if (!packed.ok()) break;
    copies.push_back(*std::move(packed));
  }
  if (copies.empty()) return;
  std::normal_distribution<float> normal(0.0f, 1.0f);
  constexpr int kMostRows = 512, kStride = kInputs + 16;
  std::vector<float> values(static_cast<size_t>(kMostRows) * kStride), out(values.size());
  for (float& value : values) value = DecodeBf16(EncodeBf16(normal(random)));
  std::vector<const float*> addresses;
  for (int row = 0; row < kMostRows; ++row) addresses.push_back(values.data() + static_cast<size_t>(row) * kStride);
  const cpu::ProductRows x{.arithmetic = arithmetic, .values = addresses.data()};
  for (size_t threads = 1; threads <= roofs.size(); ++threads) {
    ThreadPool pool(static_cast<int>(threads));
    for (const int rows : {1, 2, 4, 8, 16, 32, 128, 512}) {
      const Tensor y{out.data(), rows, kOutputs, kStride};
      const int calls = std::clamp(2000 / rows, 9, 2 * static_cast<int>(copies.size()));
      const double seconds =
          MedianSeconds(calls, [&](int i) { cpu::Linear(pool, x, copies[static_cast<size_t>(i) % copies.size()], y); });
      const double flops = 2.0 * rows * kOutputs * kInputs / seconds,
                   read = static_cast<double>(bytes.size()) / seconds;
      const Roofs& roof = roofs[threads - 1];
      std::printf(
          "linear %-8s %d x %d  threads %zu  rows %3d  %9.1f us  %6.1f GB/s = %3.0f %%  %6.1f GFLOP/s = %3.0f %%\n",
          name, kOutputs, kInputs, threads, rows, seconds * 1e6, read / 1e9, 100.0 * read / roof.bytes, flops / 1e9,
          100.0 * flops / roof.flops);
    }
  }
}

}  // namespace
}  // namespace latentd

int main(int argc, char** argv) {
  using namespace latentd;
  const int available = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const int max_threads = argc > 1 ? std::clamp(std::atoi(argv[1]), 1, available) : available;
  std::vector<Roofs> roofs;
  for (int threads = 1; threads <= max_threads; ++threads) {
    roofs.push_back({MeasureFmaPeak(threads), MeasureReadBandwidth(threads)});
    std::printf("ceilings with %d threads: read %.1f GB/s, multiply-add %.1f GFLOP/s\n", threads,
                roofs.back().bytes / 1e9, roofs.back().flops / 1e9);
  }
  using cpu::Arithmetic;
  BenchLinear("fp8 a32", DType::kE4M3, Arithmetic::kA32, roofs);
  BenchLinear("fp8 a16", DType::kE4M3, Arithmetic::kA16, roofs);
  BenchLinear("bf16 a32", DType::kBf16, Arithmetic::kA32, roofs);
  BenchLinear("bf16 a16", DType::kBf16, Arithmetic::kA16, roofs);
  return 0;
}
