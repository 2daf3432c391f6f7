// The lines of a panel against the place that packed_matrix.h gives each code, one code at a time.
#include "kernels/cpu/pack_lines.h"

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/stored_value.h"

namespace latentd::cpu {
namespace {

// Where a code lies in its stretch, in codes.
size_t PlaceOf(DType dtype, int lane, int k) {
  const int inputs = LineInputs(dtype);
  const int line = k / inputs, within = k % inputs;
  int place = lane * inputs + within;
  if (dtype == DType::kE4M3) place = lane / 4 * 16 + within / 2 * 8 + lane % 4 * 2 + within % 2;
  return static_cast<size_t>(line) * kLineBytes / SizeOf(dtype) + static_cast<size_t>(place);
}

std::vector<std::byte> RandomBytes(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() % 256);
  return bytes;
}

enum class Rows : uint8_t { kOutputs, kInputs };

struct Case {
  DType dtype;
  Rows rows;
  int first_lane;
  int end_lane;
  int num_inputs;
};

std::vector<std::byte> OneByOne(const Case& c, const LineCopy& copy) {
  const size_t code = SizeOf(c.dtype);
  std::vector<std::byte> lines(LinesBytes(c.dtype, c.num_inputs));
  for (int lane = c.first_lane; lane < c.end_lane; ++lane) {
    for (int k = 0; k < c.num_inputs; ++k) {
      const size_t from =
          static_cast<size_t>(lane - c.first_lane) * copy.output_step + static_cast<size_t>(k) * copy.input_step;
      std::memcpy(&lines[PlaceOf(c.dtype, lane, k) * code], copy.from + from * code, code);
    }
  }
  return lines;
}

void ExpectEveryCodeInItsPlace(const Case& c) {
  constexpr int kBeyond = 5;  // a slice of a wider source, at an odd address
  const bool as_stored = c.rows == Rows::kOutputs;
  const int num_outputs = c.end_lane - c.first_lane;
  const auto row = static_cast<size_t>((as_stored ? c.num_inputs : num_outputs) + kBeyond);
  const auto num_rows = static_cast<size_t>(as_stored ? num_outputs : c.num_inputs);
  const std::vector<std::byte> source = RandomBytes(row * num_rows * SizeOf(c.dtype) + 3, 7);
  const LineCopy copy = {.from = source.data() + 3,
                         .output_step = as_stored ? row : 1,
                         .input_step = as_stored ? 1 : row,
                         .first_lane = c.first_lane,
                         .end_lane = c.end_lane,
                         .num_inputs = c.num_inputs};
  std::vector<std::byte> lines(LinesBytes(c.dtype, c.num_inputs), std::byte{0xAA});
  PackLines(c.dtype, copy, lines.data());
  EXPECT_EQ(lines, OneByOne(c, copy)) << "dtype " << static_cast<int>(c.dtype) << ", lanes " << c.first_lane << " to "
                                      << c.end_lane << ", " << c.num_inputs << " inputs, as stored: " << as_stored;
}

TEST(PackLines, EveryCodeGetsItsPlaceAndTheRestIsZero) {
  for (const DType dtype : {DType::kE4M3, DType::kBf16, DType::kF32}) {
    for (const Rows rows : {Rows::kOutputs, Rows::kInputs}) {
      for (const int num_inputs : {1, 3, 16, 31, 32, 33, 64, 100, 128, 200}) {
        ExpectEveryCodeInItsPlace({dtype, rows, 0, 64, num_inputs});
        ExpectEveryCodeInItsPlace({dtype, rows, 0, 17, num_inputs});
        ExpectEveryCodeInItsPlace({dtype, rows, 40, 64, num_inputs});
        ExpectEveryCodeInItsPlace({dtype, rows, 3, 4, num_inputs});
      }
    }
  }
}

// An output's word of a line is the checkpoint's; what is not there, or means nothing, is the nibble of zero.
TEST(PackLines, Int4WordsGetTheirPlaceAndTheRestStandsForZero) {
  for (const int num_inputs : {1, 7, 8, 31, 32, 33, 44, 64, 96, 100, 1000}) {
    for (const int num_outputs : {1, 17, 63, 64}) {
      const size_t row_bytes = RowBytes(DType::kInt4, num_inputs);
      const std::vector<std::byte> source = RandomBytes(row_bytes * static_cast<size_t>(num_outputs) + 3, 8);
      std::vector<std::byte> lines(LinesBytes(DType::kInt4, num_inputs), std::byte{0xAA});
      PackLines(DType::kInt4,
                {.from = source.data() + 3,
                 .output_step = 2 * row_bytes,
                 .input_step = 1,
                 .first_lane = 0,
                 .end_lane = num_outputs,
                 .num_inputs = num_inputs},
                lines.data());
      ASSERT_EQ(lines.size() % (4 * kLineBytes), 0u);
      for (int lane = 0; lane < 64; ++lane) {
        for (int k = 0; k < static_cast<int>(lines.size() / 32); ++k) {
          const std::byte* const word = lines.data() + static_cast<size_t>(k / 8) * kLineBytes + lane * 4;
          const bool is_there = lane < num_outputs && k < num_inputs;
          const int want = is_there ? CodeInt4(source.data() + 3 + static_cast<size_t>(lane) * row_bytes, k) : 0;
          ASSERT_EQ(CodeInt4(word, k % 8), want) << num_outputs << " x " << num_inputs << ": " << lane << ", " << k;
        }
      }
    }
  }
}

}  // namespace
}  // namespace latentd::cpu
