// Packed files hold the bytes that the Pack verbs write: other bytes are another layout.
#include <cstdint>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/fingerprint.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/packed_bytes.h"
#include "tests/support/or_die.h"

namespace latentd::cpu {
namespace {

constexpr int kOutputs = 150, kInputs = 300;  // neither whole panels nor whole blocks

std::vector<std::byte> SomeBytes(size_t count) {
  std::vector<std::byte> bytes(count);
  uint64_t state = 1;
  for (std::byte& byte : bytes) {
    state = state * 6364136223846793005 + 1442695040888963407;
    byte = static_cast<std::byte>(state >> 56);
  }
  return bytes;
}

uint64_t DigestOf(DType dtype, RowSlice slice, uint64_t seed) {
  const std::vector<std::byte> bytes = SomeBytes(kOutputs * RowBytes(dtype, kInputs));
  const std::vector<float> scales(dtype == DType::kE4M3 ? 2 * 3 : 0, 1.0f);
  const std::vector<std::byte> group_scales = SomeBytes(kOutputs * 10 * sizeof(uint16_t));
  CpuDevice device;
  ThreadPool pool(1);
  const PackedMatrix packed = OrDie(PackedMatrix::Pack(device, pool,
                                                       {.dtype = dtype,
                                                        .outputs = kOutputs,
                                                        .inputs = kInputs,
                                                        .bytes = bytes.data(),
                                                        .scales = scales,
                                                        .group_scales = group_scales.data()},
                                                       slice));
  const auto num_bytes = static_cast<size_t>(packed.num_panels()) * packed.panel_bytes();
  return Fingerprint({reinterpret_cast<const char*>(packed.Panel(0)), num_bytes}, seed);
}

TEST(PackedLayout, ChangesWithItsVersion) {
  uint64_t digest = kFingerprintSeed;
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kE4M3}) {
    digest = DigestOf(dtype, {0, kOutputs, Orientation::kAsStored}, digest);
    digest = DigestOf(dtype, {40, 100, Orientation::kAsStored}, digest);
    digest = DigestOf(dtype, {40, 100, Orientation::kTransposed}, digest);
  }
  digest = DigestOf(DType::kInt4, {0, kOutputs, Orientation::kAsStored}, digest);
  EXPECT_EQ(std::pair(kPackedLayout, digest), std::pair(2u, uint64_t{1117913426077255381u}))
      << "the bytes of packed weights are others: raise kPackedLayout, and note the new digest here";
}

}  // namespace
}  // namespace latentd::cpu
