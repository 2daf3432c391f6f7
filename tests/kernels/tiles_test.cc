// Products on tiles, bit for bit against the contract: the loops with a unit that is written out, with the machine's
// vectors, and with the machine's tile unit, where it has them.
#include "kernels/cpu/tiles.h"

#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/thread_pool.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/pack_row_tile.h"
#include "kernels/cpu/packed_matrix.h"
#include "tests/kernels/emulated_product.h"
#include "tests/kernels/emulated_tiles.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/kernels/vbmi_product.h"
#include "tests/reference/contract16.h"
#include "tests/support/each_target.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

using cpu::Orientation;
using cpu::PackedMatrix;
using cpu::RowSlice;

constexpr float kUntouched = 12345.0f;
constexpr uint16_t kNan = 0xFFFF;

struct Machine {
  std::string name;
  void (*product)(const cpu::TilePanel&, const cpu::TileRows&, float*);
};

std::vector<Machine> Machines() {
  std::vector<Machine> machines = {{"emulated tiles", EmulatedPanelProduct}};
  if (HasVbmi()) machines.push_back({"emulated tiles, vectors of this machine", VbmiPanelProduct});
  if (cpu::HasTiles()) machines.push_back({"tiles of this machine", cpu::TilePanelProduct});
  return machines;
}

class PackedRows {
 public:
  PackedRows(const std::vector<std::vector<float>>& values, int num_rows)
      : num_rows_(num_rows), tile_rows_(std::min(num_rows, cpu::kTileRows)) {
    std::vector<const float*> rows;
    for (int r = 0; r < num_rows; ++r) rows.push_back(values[static_cast<size_t>(r)].data());
    const auto inputs = static_cast<int>(values[0].size());
    tiles_.resize(cpu::TileRowValues(num_rows, inputs), kNan);  // must not spread from rows that are none
    uint16_t* to = tiles_.data();
    for (int first = 0; first < num_rows; first += 16, to += cpu::RowTileValues(tile_rows_, inputs))
      cpu::PackRowTile(rows.data() + first, std::min(16, num_rows - first), tile_rows_, inputs, to);
  }
  cpu::TileRows rows(const float* const* scales) const {
    return {.tiles = tiles_.data(), .tile_rows = tile_rows_, .scales = scales, .num_rows = num_rows_};
  }
  const std::vector<uint16_t>& values() const { return tiles_; }

 private:
  const int num_rows_;
  const int tile_rows_;
  std::vector<uint16_t> tiles_;
};

class Products {
 public:
  Products(const StoredMatrix& stored, RowSlice slice)
      : packed_(*PackedMatrix::Pack(device_, pool_, stored.Source(), slice)),
        contract_(slice.orientation == Orientation::kAsStored ? stored.ContractRows(slice.first, slice.count)
                                                              : stored.ContractColumns(slice.first, slice.count)) {}
  Products(const StoredMatrix& stored) : Products(stored, {0, stored.Source().outputs, Orientation::kAsStored}) {}

  const PackedMatrix& packed() const { return packed_; }

  void ExpectContract(const std::vector<std::vector<float>>& x, std::initializer_list<int> row_counts) const {
    std::vector<std::vector<float>> want;
    for (const std::vector<float>& row : x) want.push_back(contract::Linear16(contract_, row.data()));
    for (const int num_rows : row_counts) Expect(want, PackedRows(x, num_rows).rows(nullptr));
  }

  // The products of the last `num_rows` rows, where they follow one tile of others.
  void ExpectLast(int num_rows, const std::vector<std::vector<float>>& x) const {
    std::vector<std::vector<float>> want;
    for (size_t r = 16; r < x.size(); ++r) want.push_back(contract::Linear16(contract_, x[r].data()));
    const PackedRows packed(x, static_cast<int>(x.size()));
    cpu::TileRows rows = packed.rows(nullptr);
    rows.tiles += cpu::RowTileValues(rows.tile_rows, packed_.inputs);
    rows.num_rows = num_rows;
    Expect(want, rows);
  }

  void ExpectContract(const std::vector<contract::CodedRow>& x, std::initializer_list<int> row_counts) const {
    std::vector<std::vector<float>> want, values;
    std::vector<const float*> scales;
    for (const contract::CodedRow& row : x) {
      want.push_back(contract::LinearCoded(contract_, row));
      values.emplace_back();
      for (int k = 0; k < packed_.inputs; ++k) values.back().push_back(DecodeE4M3(row.codes[static_cast<size_t>(k)]));
      scales.push_back(row.scales.data());
    }
    for (const int num_rows : row_counts) Expect(want, PackedRows(values, num_rows).rows(scales.data()));
  }

 private:
  void Expect(const std::vector<std::vector<float>>& want, const cpu::TileRows& rows) const {
    for (const Machine& machine : Machines()) {
      for (int panel = 0; panel < packed_.num_panels(); ++panel) {
        SCOPED_TRACE(testing::Message() << machine.name << ", " << rows.num_rows << " rows, panel " << panel);
        const auto count = static_cast<size_t>(rows.num_rows) * cpu::kPanelOutputs;
        std::vector<float> totals(count + cpu::kPanelOutputs, kUntouched);
        machine.product(cpu::TilePanelOf(packed_, panel), rows, totals.data());
        for (int r = 0; r < rows.num_rows; ++r) {
          const float* lanes = totals.data() + r * cpu::kPanelOutputs + packed_.FirstLane(panel);
          const float* outputs = want[static_cast<size_t>(r)].data() + packed_.FirstOutput(panel);
          const auto width = static_cast<size_t>(packed_.EndLane(panel) - packed_.FirstLane(panel));
          ASSERT_TRUE(SameBytes(std::span(lanes, width), std::span(outputs, width))) << "row " << r;
        }
        const std::vector<float> behind(totals.begin() + static_cast<std::ptrdiff_t>(count), totals.end());
        ASSERT_EQ(behind, std::vector<float>(cpu::kPanelOutputs, kUntouched));
      }
    }
  }

  cpu::CpuDevice device_;
  ThreadPool pool_{1};
  PackedMatrix packed_;
  contract::Matrix contract_;
};

std::vector<std::vector<float>> RandomRows(int rows, int inputs, std::mt19937& random, float scale = 1.0f) {
  std::vector<std::vector<float>> values;
  for (int r = 0; r < rows; ++r) {
    values.push_back(RandomValues(static_cast<size_t>(inputs), random));
    for (float& value : values.back()) value *= scale;
  }
  return values;
}

TEST(Tiles, AreThoseOfThisMachine) {
  if (cpu::HasTiles()) {
    EXPECT_EQ(cpu::DescribeTiles(), "AMX-BF16");
    return;
  }
  const std::string why = cpu::DescribeTiles().empty() ? "this CPU has no tile unit" : cpu::DescribeTiles();
  std::printf("SKIPPED: %s, so only emulated tiles are compared with the contract\n", why.c_str());
  GTEST_SKIP();
}

TEST(Tiles, HaveVectorsBesideThem) {
  if (!HasVbmi()) {
    std::puts("SKIPPED: no AVX-512 with VBMI here, so only the loops are compared, not the vectors beside the tiles");
    GTEST_SKIP();
  }
  for (int first = 0; first < 256; first += 64) {  // each code in each of the four groups
    alignas(64) std::byte line[256];
    for (int i = 0; i < 256; ++i) {
      const auto code = static_cast<uint8_t>(first + i);
      line[i] = static_cast<std::byte>(IsNanE4M3(code) ? 0 : code);
    }
    alignas(64) uint16_t want[256], got[256];
    WrittenOutVectors::DecodeLine(line, want, 64);
    VbmiDecodeLine(line, got, 64);
    EXPECT_EQ(std::vector<uint16_t>(got, got + 256), std::vector<uint16_t>(want, want + 256));
  }
}

TEST(TilePanelProduct, EqualsTheContractBitForBit) {
  std::mt19937 random(31);
  // Whole blocks, the last short by groups and by inputs, less than a group, less than a panel.
  const std::pair<int, int> shapes[] = {{128, 256}, {65, 416}, {70, 300}, {17, 129}, {64, 7}, {1, 1}};
  for (const DType dtype : {DType::kE4M3, DType::kBf16}) {
    for (const auto& [outputs, inputs] : shapes) {
      SCOPED_TRACE(testing::Message() << "dtype " << static_cast<int>(dtype) << ", " << outputs << " x " << inputs);
      const Products products(StoredMatrix::Random(dtype, outputs, inputs, random));
      ASSERT_TRUE(cpu::FitsTiles(products.packed()));
      products.ExpectContract(RandomRows(40, inputs, random), {1, 5, 16, 17, 32, 40});
    }
  }
}

TEST(TilePanelProduct, TakesManyRows) {
  std::mt19937 random(32);
  for (const DType dtype : {DType::kE4M3, DType::kBf16}) {
    const Products products(StoredMatrix::Random(dtype, 64, 416, random));
    products.ExpectContract(RandomRows(192, 416, random), {47, 48, 112, 192});
  }
}

TEST(TilePanelProduct, MultipliesBothScales) {
  std::mt19937 random(33);
  for (const int inputs : {256, 300}) {
    const Products products(StoredMatrix::Random(DType::kE4M3, 70, inputs, random));
    std::vector<contract::CodedRow> x;
    for (const std::vector<float>& row : RandomRows(50, inputs, random))
      x.push_back(contract::CodesOf(row, ScaleFormat::kF32));
    products.ExpectContract(x, {1, 16, 50});
  }
}

TEST(TilePanelProduct, ReadsAndWritesSubnormalNumbersAsZero) {
  std::mt19937 random(34);
  for (const DType dtype : {DType::kE4M3, DType::kBf16}) {
    const Products products(StoredMatrix::Random(dtype, 64, 160, random));
    for (const float scale : {0x1p-118f, 0x1p-122f, 0x1p-126f, 0x1p-130f})
      products.ExpectContract(RandomRows(3, 160, random, scale), {3});
  }
}

// Two slices of kv_b: one starts in the middle of a scale block, but at a whole group; the other does not.
TEST(TilePanelProduct, TakesSlicesThatStartAtWholeGroups) {
  std::mt19937 random(35);
  const StoredMatrix stored = StoredMatrix::Random(DType::kE4M3, 300, 150, random);
  const Products products(stored, {32, 200, Orientation::kTransposed});
  ASSERT_TRUE(cpu::FitsTiles(products.packed()));
  products.ExpectContract(RandomRows(33, 200, random), {1, 33});
  EXPECT_TRUE(cpu::FitsTiles(Products(stored, {40, 80, Orientation::kTransposed}).packed()));  // in one block
  EXPECT_FALSE(cpu::FitsTiles(Products(stored, {40, 200, Orientation::kTransposed}).packed()));
  EXPECT_FALSE(cpu::FitsTiles(Products(StoredMatrix::Random(DType::kF32, 8, 8, random)).packed()));
}

// 2^-126 - n 2^-152 in one chain: rounded to 24 bits it is tiny from n = 3 on (contract16_test.cc).
TEST(TilePanelProduct, FlushesWhatIsTinyAfterRounding) {
  std::vector<std::vector<float>> x(3, std::vector<float>(32, 0.0f));
  for (size_t r = 0; r < x.size(); ++r) {
    x[r][0] = 0x1p-63f;
    x[r][2] = -static_cast<float>(r + 1) * 0x1p-76f;
  }
  std::vector<float> weights(32, 0.0f);
  weights[0] = 0x1p-63f;
  weights[2] = 0x1p-76f;
  std::vector<uint16_t> bits;
  for (const float weight : weights) bits.push_back(EncodeBf16(weight));
  alignas(64) std::byte lines[16 * cpu::kLineBytes] = {};
  for (size_t k = 0; k < 32; ++k) std::memcpy(lines + k / 2 * cpu::kLineBytes + k % 2 * 2, &bits[k], 2);
  const PackedRows rows(x, 3);
  for (const Machine& machine : Machines()) {
    SCOPED_TRACE(machine.name);
    std::vector<float> totals(3 * cpu::kPanelOutputs);
    machine.product({.lines = lines, .num_groups = 1}, rows.rows(nullptr), totals.data());
    const std::vector<float> got = {totals[0], totals[cpu::kPanelOutputs], totals[2 * cpu::kPanelOutputs]};
    EXPECT_TRUE(SameBytes(got, std::vector{0x1p-126f, 0x1p-126f, 0.0f}));
  }
}

// The last rows of many, whose tiles have room for 16.
TEST(TilePanelProduct, TakesFewRowsOfMany) {
  std::mt19937 random(37);
  const StoredMatrix stored = StoredMatrix::Random(DType::kE4M3, 64, 160, random);
  const Products products(stored);
  const auto x = RandomRows(19, 160, random);
  products.ExpectLast(3, x);
}

TEST(PackRowTile, RoundsAndFillsUpWithZeros) {
  std::mt19937 random(36);
  auto values = RandomRows(18, 70, random);
  values[0][0] = std::nanf("");
  values[1][1] = 0x1.FFFFFEp-127f;  // rounds to the smallest normal number
  ForEachTarget([&] {
    const PackedRows packed(values, 18), few(values, 3);
    ASSERT_EQ(packed.values().size(), size_t{2 * 3 * 16 * 32});
    for (size_t i = 0; i < packed.values().size(); ++i) {
      const size_t row = i / (3 * 512) * 16 + i / 32 % 16, k = i / 512 % 3 * 32 + i % 32;
      const uint16_t want = row >= 18 ? kNan : k < 70 ? EncodeBf16(values[row][k]) : 0;
      ASSERT_EQ(packed.values()[i], want) << "row " << row << ", input " << k;
    }
    ASSERT_EQ(few.values().size(), size_t{3 * 3 * 32});
    for (size_t i = 0; i < few.values().size(); ++i) {
      const size_t row = i / 32 % 3, k = i / 96 * 32 + i % 32;
      ASSERT_EQ(few.values()[i], k < 70 ? EncodeBf16(values[row][k]) : 0) << "row " << row << ", input " << k;
    }
  });
}

}  // namespace
}  // namespace latentd
