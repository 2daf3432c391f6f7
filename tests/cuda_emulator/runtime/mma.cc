// Tensor cores and the loads that feed them. Fragment layouts are those of the PTX manual's figures for m16n8k16 and
// m16n8k32.
#include <cstring>

#include "tests/cuda_emulator/runtime/failure.h"
#include "tests/cuda_emulator/runtime/number_formats.h"
#include "tests/cuda_emulator/runtime/warp.h"

namespace cuda_emulator {
namespace {

constexpr uint32_t kRows = 16;      // of A and C
constexpr uint32_t kColumns = 8;    // of B and C
constexpr uint32_t kMaxDepth = 32;  // columns of A, rows of B

struct MmaOperands {
  uint32_t a[kWarpSize][4];
  uint32_t b[kWarpSize][2];
  float c[kWarpSize][4];  // and then the result
};
static_assert(sizeof(MmaOperands) <= sizeof(Meeting::room));

using Columns = float __attribute__((vector_size(kColumns * sizeof(float))));

// Widens one register of a fragment: two 16-bit numbers or four 8-bit ones, lowest first.
struct WidenBf16 {
  static constexpr uint32_t kPerRegister = 2;
  static float At(uint32_t word, uint32_t i) { return FloatFromBf16(static_cast<uint16_t>(word >> 16 * i)); }
};
struct WidenF16 {
  static constexpr uint32_t kPerRegister = 2;
  static float At(uint32_t word, uint32_t i) { return FloatFromF16(static_cast<uint16_t>(word >> 16 * i)); }
};
struct WidenE4m3 {
  static constexpr uint32_t kPerRegister = 4;
  static float At(uint32_t word, uint32_t i) { return FloatFromE4m3(static_cast<uint8_t>(word >> 8 * i)); }
};

// Register r of lane 4g+t holds, of A, row g + 8 (r odd) and the t-th group of numbers of the half r / 2 of the depth;
// of B, column g and the t-th group of the half r.
template <typename Widen>
void Unpack(const MmaOperands& operands, float (*a)[kMaxDepth], Columns* b) {
  constexpr uint32_t kGroup = Widen::kPerRegister;
  for (uint32_t lane = 0; lane < kWarpSize; ++lane) {
    const uint32_t g = lane / 4;
    const uint32_t first = lane % 4 * kGroup;
    for (uint32_t r = 0; r < 4; ++r) {
      float* row = a[g + 8 * (r & 1)] + first + r / 2 * 4 * kGroup;
      for (uint32_t i = 0; i < kGroup; ++i) row[i] = Widen::At(operands.a[lane][r], i);
    }
    for (uint32_t r = 0; r < 2; ++r) {
      for (uint32_t i = 0; i < kGroup; ++i) b[first + r * 4 * kGroup + i][g] = Widen::At(operands.b[lane][r], i);
    }
  }
}

__attribute__((target_clones("avx2", "default"))) void MultiplyAdd(const float (*a)[kMaxDepth], const Columns* b,
                                                                   uint32_t depth, Columns* c) {
  for (uint32_t row = 0; row < kRows; row += 8) {
    Columns sums[8];
    for (uint32_t i = 0; i < 8; ++i) sums[i] = c[row + i];
    for (uint32_t k = 0; k < depth; ++k) {
      for (uint32_t i = 0; i < 8; ++i) sums[i] += a[row + i][k] * b[k];
    }
    for (uint32_t i = 0; i < 8; ++i) c[row + i] = sums[i];
  }
}

// Register r of lane 4g+t holds row g + 8 (r / 2) and column 2t + r % 2.
float& ElementOfC(Columns* c, uint32_t lane, uint32_t r) {
  return reinterpret_cast<float*>(&c[lane / 4 + 8 * (r / 2)])[lane % 4 * 2 + r % 2];
}

template <typename Widen>
void Compute(MmaOperands& operands) {
  float a[kRows][kMaxDepth];
  Columns b[kMaxDepth];
  Columns c[kRows];
  Unpack<Widen>(operands, a, b);
  for (uint32_t lane = 0; lane < kWarpSize; ++lane) {
    for (uint32_t r = 0; r < 4; ++r) ElementOfC(c, lane, r) = operands.c[lane][r];
  }
  MultiplyAdd(a, b, 8 * Widen::kPerRegister, c);
  for (uint32_t lane = 0; lane < kWarpSize; ++lane) {
    for (uint32_t r = 0; r < 4; ++r) operands.c[lane][r] = ElementOfC(c, lane, r);
  }
}

void ComputeShape(MmaShape shape, MmaOperands& operands) {
  switch (shape) {
    case MmaShape::kM16N8K16Bf16:
      return Compute<WidenBf16>(operands);
    case MmaShape::kM16N8K16F16:
      return Compute<WidenF16>(operands);
    case MmaShape::kM16N8K32E4m3:
      return Compute<WidenE4m3>(operands);
  }
}

constexpr uint32_t kMatrixRows = 8;  // of 16 bytes
struct MatrixRow {
  uint16_t elements[8];
};

// Replaces the row addresses, which lane 8i+r gives for row r of matrix i, with the lanes' results.
void Gather(int count, bool transposed, Meeting& meeting) {
  uint32_t addresses[kWarpSize];
  std::memcpy(addresses, meeting.room, sizeof addresses);
  auto* results = reinterpret_cast<uint32_t(*)[4]>(meeting.room);
  for (int i = 0; i < count; ++i) {
    MatrixRow rows[kMatrixRows];
    for (uint32_t r = 0; r < kMatrixRows; ++r) {
      std::memcpy(&rows[r], SharedPointer(addresses[static_cast<uint32_t>(i) * kMatrixRows + r]), sizeof rows[r]);
    }
    for (uint32_t lane = 0; lane < kWarpSize; ++lane) {
      const uint32_t line = lane / 4;
      const uint32_t pair = lane % 4 * 2;
      const uint32_t low = transposed ? rows[pair].elements[line] : rows[line].elements[pair];
      const uint32_t high = transposed ? rows[pair + 1].elements[line] : rows[line].elements[pair + 1];
      results[lane][i] = high << 16 | low;
    }
  }
}

}  // namespace

void Mma(MmaShape shape, const uint32_t* a, const uint32_t* b, const float* c, float* d, const void* site,
         Where where) {
  Meeting& meeting = Join(WarpOperation::kMma, ~0u, site, where);
  auto& operands = *reinterpret_cast<MmaOperands*>(meeting.room);
  const uint32_t lane = running->state.lane;
  std::memcpy(operands.a[lane], a, sizeof operands.a[lane]);
  std::memcpy(operands.b[lane], b, sizeof operands.b[lane]);
  std::memcpy(operands.c[lane], c, sizeof operands.c[lane]);
  if (IsLast(meeting)) ComputeShape(shape, operands);
  Meet(meeting, where);
  std::memcpy(d, operands.c[lane], sizeof operands.c[lane]);
  Leave(meeting);
}

void LoadMatrix(int count, bool transposed, uint32_t address, uint32_t* out, const void* site, Where where) {
  const uint32_t lane = running->state.lane;
  const bool gives_row = lane < static_cast<uint32_t>(count) * kMatrixRows;
  if (gives_row) {
    CheckAlignment(address, sizeof(MatrixRow), where);
    if (!IsSharedAddress(SharedPointer(address))) {
      Fail(where, "out-of-bounds", "ldmatrix of %#x, which is not in shared memory", address);
    }
    if (running_kernel->shadow) CheckLoad(SharedPointer(address), sizeof(MatrixRow), where);
  }
  Meeting& meeting = Join(WarpOperation::kLoadMatrix, ~0u, site, where);
  std::memcpy(meeting.room + lane * sizeof address, &address, sizeof address);
  if (IsLast(meeting)) Gather(count, transposed, meeting);
  Meet(meeting, where);
  std::memcpy(out, meeting.room + lane * 4 * sizeof *out, static_cast<size_t>(count) * sizeof *out);
  Leave(meeting);
}

}  // namespace cuda_emulator
