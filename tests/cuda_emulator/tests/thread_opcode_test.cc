// Control flow, barriers, warp operations, asynchronous copies and tensor cores, against models of a whole block.
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>

#include <gtest/gtest.h>

#include "tests/cuda_emulator/tests/number_model.h"
#include "tests/cuda_emulator/tests/opcode_cases.h"

namespace cuda_emulator {
namespace {

using Words = std::array<uint32_t, 16>;
using Block = std::array<Words, 64>;  // words of each thread

uint32_t Ones(uint32_t value) { return static_cast<uint32_t>(std::popcount(value)); }
uint32_t FirstOfWarp(uint32_t thread) { return thread / 32 * 32; }

void Statement(const OpcodeCase& one, const Block& in, Block& out) {
  for (uint32_t t = 0; t < 64; ++t) {
    out[t][0] = in[one.opcode == "bar.warp.sync" ? t ^ 1 : t][0];
    if (!one.opcode.starts_with("cp.async")) continue;
    out[t] = in[t];
    std::copy_n(in[t].begin() + 8, 4, out[t].begin());
  }
}

void AsyncCopies(const OpcodeCase& one, const Block& in, Block& out) {
  for (uint32_t t = 0; t < 64; ++t) {
    out[t] = in[t];
    std::copy_n(in[t].begin() + 8, 4, out[t].begin() + 4);
    std::copy_n(in[t].begin(), 2, out[t].begin() + 8);
    out[t][10] = out[t][11] = 0;
    if (one.opcode.find(".ca.") == std::string::npos) continue;
    out[t][0] = in[t][12];
    std::copy_n(in[t].begin() + 10, 2, out[t].begin() + 2);
    out[t][14] = 0;
  }
}

void Barriers(const OpcodeCase&, const Block& in, Block& out) {
  for (uint32_t t = 0; t < 64; ++t) {
    out[t][0] = in[t ^ 32][0];
    out[t][1] = in[t][0];
  }
}

// The loop of the ISA's text.
uint32_t SourceLane(const std::string& mode, uint32_t lane, uint32_t b, uint32_t c, bool* is_in_range) {
  const uint32_t bval = b & 31, cval = c & 31, segments = c >> 8 & 31;
  const auto last = static_cast<int>((lane & segments) | (cval & ~segments));
  const auto own = static_cast<int>(lane);
  int from = static_cast<int>((lane & segments) | (bval & ~segments));
  if (mode == "up") from = own - static_cast<int>(bval);
  if (mode == "down") from = own + static_cast<int>(bval);
  if (mode == "bfly") from = own ^ static_cast<int>(bval);
  *is_in_range = mode == "up" ? from >= last : from <= last;
  return *is_in_range ? static_cast<uint32_t>(from) : lane;
}
void Shuffles(const OpcodeCase& one, const Block& in, Block& out) {
  const std::string mode = model::Opcode(one.opcode).part(2);
  for (uint32_t t = 0; t < 64; ++t) {
    bool is_in_range = false;
    const uint32_t warp = FirstOfWarp(t);
    out[t][0] = in[warp + SourceLane(mode, t % 32, in[t][1], mode == "up" ? 0 : 31, &is_in_range)][0];
    out[t][1] = is_in_range;
    out[t][2] = in[warp + SourceLane(mode, t % 32, in[t][1], mode == "up" ? 0x1800 : 0x181f, &is_in_range)][0];
  }
}

bool IsAmongSome(uint32_t thread) { return thread % 32 >= 8 && thread % 32 < 24; }

void Votes(const OpcodeCase& one, const Block& in, Block& out) {
  const bool is_all = one.opcode.find(".all.") != std::string::npos,
             is_any = one.opcode.find(".any.") != std::string::npos;
  for (uint32_t t = 0; t < 64; ++t) {
    uint32_t votes = 0;
    for (uint32_t lane = 0; lane < 32; ++lane) votes |= (in[FirstOfWarp(t) + lane][0] & 1) << lane;
    if (one.opcode.find("ballot") != std::string::npos) {
      out[t][0] = votes;
      out[t][1] = ~0u;
      out[t][2] = IsAmongSome(t) ? ~votes & 0x00ffff00 : 0;
      continue;
    }
    const bool none = votes == 0, every = votes == ~0u;
    out[t][0] = is_all ? every : is_any ? !none : none || every;
    out[t][1] = 1;                                             // all vote yes
    out[t][2] = IsAmongSome(t) && !is_all && !is_any ? 1 : 0;  // some lanes, all of which vote no
  }
}

void Reductions(const OpcodeCase& one, const Block& in, Block& out) {
  const model::Opcode opcode(one.opcode);
  const std::string& name = opcode.part(2);
  const auto reduce = [&](uint32_t first, uint32_t from, uint32_t to) {
    const model::Type type = model::ParseType(opcode.last());
    uint64_t value = in[first + from][0];
    for (uint32_t lane = from + 1; lane < to; ++lane) {
      const uint64_t other = in[first + lane][0];
      if (name == "and") value &= other;
      if (name == "or") value |= other;
      if (name == "xor") value ^= other;
      if (name == "add") value += other;
      const bool is_less = model::DecodeInteger(type, other) < model::DecodeInteger(type, value & 0xffffffff);
      if ((name == "min" && is_less) || (name == "max" && !is_less)) value = other;
    }
    return static_cast<uint32_t>(value);
  };
  for (uint32_t t = 0; t < 64; ++t) {
    out[t][0] = reduce(FirstOfWarp(t), 0, 32);
    out[t][1] = IsAmongSome(t) ? reduce(FirstOfWarp(t), 8, 24) : 0;
  }
}

// Matrix i has its row r at the address of lane 8 i + r; a thread gets elements 2 (t % 4) and the next of row t / 4.
void Matrices(const OpcodeCase& one, const Block& in, Block& out) {
  const bool is_transposed = one.opcode.find(".trans.") != std::string::npos;
  for (uint32_t t = 0; t < 64; ++t) {
    const auto element = [&](uint32_t matrix, uint32_t row, uint32_t column) {
      const uint32_t lane = 8 * matrix + row;
      const uint32_t word = in[FirstOfWarp(t) + 5 * lane % 32][4 * (lane % 4) + column / 2];
      return column % 2 == 0 ? word & 0xffff : word >> 16;
    };
    const uint32_t major = t % 32 / 4, minor = 2 * (t % 4);
    for (uint32_t i = 0; i < std::stoul(one.constants[0]); ++i) {
      const uint32_t low = is_transposed ? element(i, minor, major) : element(i, major, minor);
      const uint32_t high = is_transposed ? element(i, minor + 1, major) : element(i, major, minor + 1);
      out[t][i] = high << 16 | low;
    }
  }
}

// D = A B + C by a double loop over the fragments, as the ISA's tables lay them out. k is 16 of two bytes or 32 of one.
void Products(const OpcodeCase& one, const Block& in, Block& out) {
  const bool is_byte = one.opcode.find("k32") != std::string::npos;
  const model::Type type = model::ParseType(is_byte                                        ? "e4m3"
                                            : one.opcode.find("bf16") != std::string::npos ? "bf16"
                                                                                           : "f16");
  const uint32_t per_word = is_byte ? 4 : 2, num_k = is_byte ? 32 : 16, mask = is_byte ? 0xff : 0xffff;
  for (uint32_t first : {0u, 32u}) {
    double a[16][32] = {}, b[32][8] = {}, c[16][8] = {};
    for (uint32_t lane = 0; lane < 32; ++lane) {
      const uint32_t group = lane / 4, in_group = lane % 4;
      const auto value = [&](uint32_t word, uint32_t i) {
        return static_cast<double>(
            model::Decode(type, in[first + lane][word] >> (static_cast<uint32_t>(type.bits) * i) & mask));
      };
      for (uint32_t i = 0; i < per_word; ++i) {
        const uint32_t k = in_group * per_word + i, half = num_k / 2;
        for (uint32_t word = 0; word < 4; ++word) a[group + 8 * (word % 2)][k + half * (word / 2)] = value(word, i);
        for (uint32_t word = 0; word < 2; ++word) b[k + half * word][group] = value(4 + word, i);
      }
      for (uint32_t i = 0; i < 4; ++i) {
        c[group + 8 * (i / 2)][2 * in_group + i % 2] = std::bit_cast<float>(in[first + lane][6 + i]);
      }
    }
    for (uint32_t lane = 0; lane < 32; ++lane) {
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
        double sum = c[row][column];
        for (uint32_t k = 0; k < num_k; ++k) sum += a[row][k] * b[k][column];
        out[first + lane][i] = std::bit_cast<uint32_t>(static_cast<float>(sum));
      }
    }
  }
}

void Control(const OpcodeCase& one, const Block& in, Block& out) {
  for (uint32_t t = 0; t < 64; ++t) {
    if (one.result == "branch") out[t][0] = Ones(in[t][0] & 255);
    if (one.result == "indexed_branch") out[t][0] = (in[t][0] & 1) != 0 ? 200 : 100;
    if (one.result == "call") out[t][0] = 2 * in[t][0] + in[t][1];
    if ((one.result == "return_" || one.result == "exit") && t % 2 == 0) out[t][0] = in[t][0];
    if (one.result == "nothing") out[t][0] = in[t][0];
  }
}

// Words that are numbers of moderate size in the format, for the tensor cores; else any.
Block Operands(const OpcodeCase& one) {
  std::mt19937 random(5);
  Block in;
  for (Words& words : in) {
    for (uint32_t& word : words) word = static_cast<uint32_t>(random());
    if (one.result == "shuffle" && random() % 4 == 0) words[1] = 33;
    if (one.result != "matrix_multiply") continue;
    const bool is_half = one.opcode.find("f32.f16.f16") != std::string::npos;
    for (uint32_t i = 0; i < 6; ++i) {  // exponents around one: no NaN
      if (one.opcode.find("e4m3") != std::string::npos)
        words[i] &= 0xbfbfbfbf;
      else
        words[i] = (words[i] & 0x80ff80ff) | (is_half ? 0x38003800 : 0x3f003f00);
    }
    for (uint32_t i = 6; i < 10; ++i) words[i] = (words[i] & 0x80ffffff) | 0x40000000;
  }
  return in;
}

bool Agrees(const OpcodeCase& one, uint32_t expected, uint32_t found) {
  if (one.result != "matrix_multiply" || expected == 0xa5a5a5a5) return expected == found;
  const auto a = std::bit_cast<float>(expected), b = std::bit_cast<float>(found);
  return std::fabs(a - b) <= 1e-5f * std::fabs(a) + 1e-4f;
}

TEST(ThreadOpcodes, AgreeWithTheirModels) {
  using Model = void (*)(const OpcodeCase&, const Block&, Block&);
  const std::map<std::string, Model> models = {
      {"statement", Statement}, {"async_copy", AsyncCopies}, {"barrier", Barriers},     {"shuffle", Shuffles},
      {"vote", Votes},          {"reduction", Reductions},   {"load_matrix", Matrices}, {"matrix_multiply", Products},
      {"branch", Control},      {"indexed_branch", Control}, {"call", Control},         {"return_", Control},
      {"exit", Control},        {"nothing", Control}};
  const auto cases = CasesOf("thread_");
  ASSERT_GT(cases.size(), 60u);
  for (const OpcodeCase& one : cases) {
    if (one.opcode == "trap") continue;  // below
    ASSERT_TRUE(models.contains(one.result)) << one.opcode;
    const Block in = Operands(one);
    Block expected, found;
    std::memset(&expected, 0xa5, sizeof expected);
    models.at(one.result)(one, in, expected);
    std::vector<uint8_t> bytes(sizeof in);
    std::memcpy(bytes.data(), &in, sizeof in);
    const auto results = RunShape(one.kernel, {}, {64, 1, 1}, bytes, sizeof found);
    std::memcpy(&found, results.data(), sizeof found);
    for (uint32_t t = 0; t < 64; ++t) {
      for (uint32_t i = 0; i < 16; ++i) {
        ASSERT_TRUE(Agrees(one, expected[t][i], found[t][i]))
            << one.opcode << " word " << i << " of thread " << t << std::hex << ": expected " << expected[t][i]
            << ", found " << found[t][i];
      }
    }
  }
}

TEST(ThreadOpcodes, TrapEndsTheProcessAtItsLine) {
  for (const OpcodeCase& one : CasesOf("thread_")) {
    if (one.opcode != "trap") continue;
    const std::vector<uint8_t> bytes(sizeof(Block));
    EXPECT_EXIT(RunShape(one.kernel, {}, {64, 1, 1}, bytes, sizeof(Block)), testing::ExitedWithCode(99),
                "cuda emulator: trap: opcodes.cu:1: ");
    return;
  }
  FAIL() << "no case of trap";
}

}  // namespace
}  // namespace cuda_emulator
