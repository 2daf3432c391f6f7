// The bench's account of a run: which ceiling binds, and how two files compare.
#include "tests/bench/report.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/model/config/model_config.h"
#include "tests/bench/random_model.h"
#include "tests/bench/tile_roof.h"
#include "tests/support/or_die.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr Roofs kRoofs = {.threads = 2, .read = 100.0, .streams = 4, .fma = 1000.0, .tiles = 8000.0};

TEST(BindingOf, TakesTheCeilingThatLeavesTheLeastRoom) {
  const Figure figure{.seconds = 2.0, .cost = {.bytes = 100.0, .flops = 1500.0}};
  EXPECT_EQ(BindingOf(figure, kRoofs).roof, "fma");
  EXPECT_DOUBLE_EQ(BindingOf(figure, kRoofs).fraction, 0.75);
  Figure with_tiles = figure;
  with_tiles.tile_flops = 1500.0;
  EXPECT_EQ(BindingOf(with_tiles, kRoofs).roof, "read");
  EXPECT_DOUBLE_EQ(BindingOf(with_tiles, kRoofs).fraction, 0.5);
}

TEST(TileFlops, AreOfWeightsThatMeetRoundedInputs) {
  const OpCost cost{.flops = 111.0, .bf16_flops = 10.0, .e4m3_flops = 1.0};  // 100 of INT4, or of no weight
  EXPECT_EQ(TileFlops("Linear", cost, ActivationFormat::kF32), 0.0);
  EXPECT_EQ(TileFlops("Linear", cost, ActivationFormat::kBf16), 11.0);
  EXPECT_EQ(TileFlops("Linear", cost, ActivationFormat::kE4M3), 1.0);
  EXPECT_EQ(TileFlops("AttendLatent", cost, ActivationFormat::kBf16), 11.0);
  EXPECT_EQ(TileFlops("AttendLatent", cost, ActivationFormat::kE4M3), 0.0);
}

TEST(BindingOf, WithoutTilesTheirCeilingIsThatOfMultiplyAdds) {
  Roofs roofs = kRoofs;
  roofs.tiles = 0.0;
  const Figure figure{.seconds = 2.0, .cost = {.bytes = 1.0, .flops = 1000.0}, .tile_flops = 1000.0};
  EXPECT_EQ(BindingOf(figure, roofs).roof, "fma");
  EXPECT_DOUBLE_EQ(BindingOf(figure, roofs).fraction, 0.5);
}

TEST(BindingOf, TakesBothKindsOfProductsOneAfterTheOther) {
  const Figure figure{.seconds = 2.0, .cost = {.bytes = 1.0, .flops = 8500.0}, .tile_flops = 8000.0};
  EXPECT_EQ(BindingOf(figure, kRoofs).roof, "tiles");
  EXPECT_DOUBLE_EQ(BindingOf(figure, kRoofs).fraction, 0.75);
}

TEST(BindingOf, NothingBindsAVerbWithoutProducts) {
  EXPECT_EQ(BindingOf({.seconds = 1.0, .cost = {.bytes = 1e9, .flops = 0.0}}, kRoofs).roof, "none");
}

std::string Written(const std::filesystem::path& path, const std::string& figures) {
  WriteFile(path, R"({"machine": {"cpu": "Some CPU", "processors": 2, "instruction_set": "AVX2"}, "commit": null,
                      "figures": [)" +
                      figures + "]}");
  return path.string();
}

TEST(CompareReports, TellsTheChangeOfEachFigureAndWhatOnlyOneHas) {
  const TemporaryDirectory folder;
  const std::string before =
      Written(folder.path() / "before",
              R"({"name": "Linear", "threads": 2, "seconds": 2e-3, "fraction": 0.25, "roof": "read"},
                 {"name": "gone", "threads": 2, "seconds": 1, "fraction": 0.5, "roof": "fma"})");
  const std::string after =
      Written(folder.path() / "after",
              R"({"name": "Linear", "threads": 2, "seconds": 1e-3, "fraction": 0.5, "roof": "read"},
                 {"name": "Linear", "threads": 4, "seconds": 1e-3, "fraction": 0.5, "roof": "read"})");
  const std::string table = OrDie(CompareReports(before, after));
  EXPECT_THAT(table, HasSubstr("Linear, 2 threads"));
  EXPECT_THAT(table, HasSubstr("2000.0      1000.0  +100.0 %    25.0 ->  50.0 % of read"));
  EXPECT_THAT(table,
              AllOf(HasSubstr("only in before: gone, 2 threads"), HasSubstr("only in after: Linear, 4 threads")));
}

TEST(CompareReports, RefusesAFileThatIsNoReport) {
  const TemporaryDirectory folder;
  const std::string good = Written(folder.path() / "good", "");
  const std::string bad = (folder.path() / "bad").string();
  for (const char* content : {"", "[]", "{}", R"({"machine": 1})"}) {
    WriteFile(bad, content);
    EXPECT_THAT(std::string(CompareReports(good, bad).status().message()), HasSubstr("expected a report of the bench"));
  }
}

TEST(RandomModel, HasTheShapeThatWasAskedFor) {
  const TemporaryDirectory folder;
  ASSERT_TRUE(WriteRandomModel(TinyShape(), folder.path() / "model").ok());
  const ModelConfig config = OrDie(LoadModelConfig(folder.path() / "model"));
  EXPECT_EQ(config.hidden_size, TinyShape().hidden_size);
  EXPECT_EQ(config.shared_expert_width, TinyShape().shared_width());
  EXPECT_TRUE(config.quantization.declared_fp8);
}

}  // namespace
}  // namespace latentd
