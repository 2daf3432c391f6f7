#include "kernels/cpu/pack_lines.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "base/check.h"

namespace latentd::cpu {
namespace {

constexpr int kOutputs = kPanelOutputs;
constexpr int kQuad = 4;     // outputs whose codes of a line lie side by side
constexpr size_t kWord = 4;  // bytes of an output in a line
constexpr size_t kVector = 16;

// Vectors of 16 bytes, which every machine has: the copy waits for memory, wider ones gain nothing.
template <class Lane>
struct VectorOf;
template <>
struct VectorOf<uint8_t> {
  using Type = uint8_t __attribute__((vector_size(kVector)));
};
template <>
struct VectorOf<uint16_t> {
  using Type = uint16_t __attribute__((vector_size(kVector)));
};
template <>
struct VectorOf<uint32_t> {
  using Type = uint32_t __attribute__((vector_size(kVector)));
};
template <>
struct VectorOf<uint64_t> {
  using Type = uint64_t __attribute__((vector_size(kVector)));
};
template <class Lane>
using Vector = typename VectorOf<Lane>::Type;

template <class Lane>
Vector<Lane> Load(const std::byte* from) {
  Vector<Lane> vector;
  std::memcpy(&vector, from, kVector);
  return vector;
}

template <class Lane>
void Store(Vector<Lane> vector, std::byte* to) {
  std::memcpy(to, &vector, kVector);
}

// a0 b0 a1 b1 …, of the lower halves and of the upper ones.
Vector<uint8_t> InterleaveLower(Vector<uint8_t> a, Vector<uint8_t> b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
Vector<uint8_t> InterleaveUpper(Vector<uint8_t> a, Vector<uint8_t> b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
Vector<uint16_t> InterleaveLower(Vector<uint16_t> a, Vector<uint16_t> b) {
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}
Vector<uint16_t> InterleaveUpper(Vector<uint16_t> a, Vector<uint16_t> b) {
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}
Vector<uint32_t> InterleaveLower(Vector<uint32_t> a, Vector<uint32_t> b) {
  return __builtin_shufflevector(a, b, 0, 4, 1, 5);
}
Vector<uint32_t> InterleaveUpper(Vector<uint32_t> a, Vector<uint32_t> b) {
  return __builtin_shufflevector(a, b, 2, 6, 3, 7);
}

// 16 bytes of four outputs go to four lines. Words that stay whole (fp32, a pair of bf16) are transposed; of E4M3 it is
// the pairs of k, since a quad of a line has its first pair for all four outputs before its second.
template <class Lane>
void PackQuad(const std::array<const std::byte*, kQuad>& outputs, std::byte* to) {
  const Vector<Lane> a = Load<Lane>(outputs[0]), b = Load<Lane>(outputs[1]);
  const Vector<Lane> c = Load<Lane>(outputs[2]), d = Load<Lane>(outputs[3]);
  const Vector<Lane> ac_lower = InterleaveLower(a, c), ac_upper = InterleaveUpper(a, c);
  const Vector<Lane> bd_lower = InterleaveLower(b, d), bd_upper = InterleaveUpper(b, d);
  Store<Lane>(InterleaveLower(ac_lower, bd_lower), to);
  Store<Lane>(InterleaveUpper(ac_lower, bd_lower), to + kLineBytes);
  Store<Lane>(InterleaveLower(ac_upper, bd_upper), to + 2 * kLineBytes);
  Store<Lane>(InterleaveUpper(ac_upper, bd_upper), to + 3 * kLineBytes);
}

// Rows of 64 outputs, `step` bytes apart, of whole vectors. A stretch of 64 bytes at a time: each line of the source is
// read while it is in L1, and the 16 lines that it goes to, 4 KiB, stay there.
template <class Lane>
void PackRows(const std::byte* from, size_t step, size_t num_bytes, std::byte* to) {
  constexpr size_t kStretch = 4 * kVector;
  for (size_t begin = 0; begin < num_bytes; begin += kStretch) {
    const size_t end = std::min(begin + kStretch, num_bytes);
    for (size_t quad = 0; quad < kOutputs / kQuad; ++quad) {
      const std::byte* first = from + quad * kQuad * step;
      for (size_t at = begin; at < end; at += kVector) {
        PackQuad<Lane>({first + at, first + step + at, first + 2 * step + at, first + 3 * step + at},
                       to + at / kWord * kLineBytes + quad * kVector);
      }
    }
  }
}

// Sizes of the rows of a stretch in bytes.
struct RowSizes {
  size_t step = 0;  // of two outputs
  size_t row = 0;
  size_t group = 0;  // of kGroupInputs
};

template <class Lane>
void PackStored(const LineCopy& copy, const RowSizes& bytes, std::byte* to) {
  const size_t step = bytes.step, row_bytes = bytes.row;
  const bool is_full = copy.first_lane == 0 && copy.end_lane == kOutputs;
  const size_t whole = is_full ? row_bytes / kVector * kVector : 0;
  PackRows<Lane>(copy.from, step, whole, to);
  // What is left goes through a buffer with zeros around it: unused lanes, and k up to a whole group.
  constexpr size_t kPiece = kGroupInputs * sizeof(float);  // the most that a group takes of a row
  const size_t end = (row_bytes + bytes.group - 1) / bytes.group * bytes.group;
  for (size_t begin = whole; begin < end; begin += kPiece) {
    alignas(64) std::byte rows[kOutputs][kPiece] = {};
    const size_t there = std::min(row_bytes, begin + kPiece) - std::min(row_bytes, begin);
    for (int lane = copy.first_lane; lane < copy.end_lane && there > 0; ++lane) {
      std::memcpy(rows[lane], copy.from + static_cast<size_t>(lane - copy.first_lane) * step + begin, there);
    }
    PackRows<Lane>(rows[0], kPiece, std::min(kPiece, end - begin), to + begin / kWord * kLineBytes);
  }
}

// A word of an output is a word of a line. Zero is the nibble 8: what means nothing in the last word, k up to a whole
// group and unused lanes become so.
void PackInt4(const LineCopy& copy, std::byte* to) {
  constexpr uint32_t kZeros = 0x88888888;
  constexpr int kNibbles = 8;
  PackStored<uint32_t>(
      copy, {.step = copy.output_step / 2, .row = RowBytes(DType::kInt4, copy.num_inputs), .group = kGroupInputs / 2},
      to);
  const int num_lines = static_cast<int>(LinesBytes(DType::kInt4, copy.num_inputs) / kLineBytes);
  const bool is_full = copy.first_lane == 0 && copy.end_lane == kOutputs;
  for (int line = is_full ? copy.num_inputs / kNibbles : 0; line < num_lines; ++line) {
    const int there = std::clamp(copy.num_inputs - line * kNibbles, 0, kNibbles);
    const auto used = static_cast<uint32_t>((uint64_t{1} << (4 * there)) - 1);
    for (int lane = 0; lane < kOutputs; ++lane) {
      const uint32_t mask = lane >= copy.first_lane && lane < copy.end_lane ? used : 0;
      std::byte* const at = to + static_cast<size_t>(line) * kLineBytes + static_cast<size_t>(lane) * kWord;
      uint32_t word;
      std::memcpy(&word, at, sizeof(word));
      word = (word & mask) | (kZeros & ~mask);
      std::memcpy(at, &word, sizeof(word));
    }
  }
}

// One line of the transposed orientation, from so many rows of 64 codes as a line has inputs.
void PackLine(DType dtype, const std::byte* rows, size_t row_bytes, std::byte* to) {
  if (dtype == DType::kF32) {
    std::memcpy(to, rows, kLineBytes);
    return;
  }
  if (dtype == DType::kBf16) {
    for (size_t at = 0; at < row_bytes; at += kVector) {
      const Vector<uint16_t> a = Load<uint16_t>(rows + at), b = Load<uint16_t>(rows + row_bytes + at);
      Store<uint16_t>(InterleaveLower(a, b), to + 2 * at);
      Store<uint16_t>(InterleaveUpper(a, b), to + 2 * at + kVector);
    }
    return;
  }
  for (size_t at = 0; at < row_bytes; at += kVector) {
    const Vector<uint8_t> a = Load<uint8_t>(rows + at), b = Load<uint8_t>(rows + row_bytes + at);
    const Vector<uint8_t> c = Load<uint8_t>(rows + 2 * row_bytes + at), d = Load<uint8_t>(rows + 3 * row_bytes + at);
    const Vector<uint8_t> pairs[4] = {InterleaveLower(a, b), InterleaveLower(c, d), InterleaveUpper(a, b),
                                      InterleaveUpper(c, d)};  // of outputs 0 to 7, then 8 to 15
    for (size_t half = 0; half < 2; ++half) {
      Vector<uint64_t> first, second;
      std::memcpy(&first, &pairs[2 * half], kVector);
      std::memcpy(&second, &pairs[2 * half + 1], kVector);
      std::byte* quads = to + 4 * at + 2 * half * kVector;
      Store<uint64_t>(__builtin_shufflevector(first, second, 0, 2), quads);
      Store<uint64_t>(__builtin_shufflevector(first, second, 1, 3), quads + kVector);
    }
  }
}

void PackTransposed(DType dtype, const LineCopy& copy, size_t code_bytes, std::byte* to) {
  const int line_inputs = LineInputs(dtype);
  const size_t row_bytes = kOutputs * code_bytes, begin_bytes = static_cast<size_t>(copy.first_lane) * code_bytes;
  const size_t used_bytes = static_cast<size_t>(copy.end_lane - copy.first_lane) * code_bytes;
  const int num_lines = static_cast<int>(LinesBytes(dtype, copy.num_inputs) / kLineBytes);
  for (int line = 0; line < num_lines; ++line) {
    alignas(64) std::byte rows[kLineBytes] = {};
    for (int i = 0; i < line_inputs && line * line_inputs + i < copy.num_inputs; ++i) {
      const size_t input = static_cast<size_t>(line * line_inputs + i);
      std::memcpy(rows + static_cast<size_t>(i) * row_bytes + begin_bytes,
                  copy.from + input * copy.input_step * code_bytes, used_bytes);
    }
    PackLine(dtype, rows, row_bytes, to + static_cast<size_t>(line) * kLineBytes);
  }
}

}  // namespace

void PackLines(DType dtype, const LineCopy& copy, std::byte* to) {
  CHECK(dtype == DType::kF32 || dtype == DType::kBf16 || dtype == DType::kE4M3 || dtype == DType::kInt4);
  CHECK(copy.first_lane >= 0 && copy.end_lane <= kOutputs);
  CHECK(copy.output_step == 1 || copy.input_step == 1);
  if (dtype == DType::kInt4) {
    CHECK_EQ(copy.input_step, size_t{1});
    return PackInt4(copy, to);
  }
  const size_t code_bytes = SizeOf(dtype);
  if (copy.input_step != 1) return PackTransposed(dtype, copy, code_bytes, to);
  const RowSizes bytes = {.step = copy.output_step * code_bytes,
                          .row = static_cast<size_t>(copy.num_inputs) * code_bytes,
                          .group = kGroupInputs * code_bytes};
  if (dtype == DType::kE4M3) return PackStored<uint16_t>(copy, bytes, to);
  PackStored<uint32_t>(copy, bytes, to);
}

}  // namespace latentd::cpu
