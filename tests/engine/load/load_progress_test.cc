#include "engine/load/load_progress.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "engine/load/model_name.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

TEST(LoadProgress, TextSaysBytesRateAndTimeLeft) {
  EXPECT_EQ(ProgressText({.read = 1'500'000'000, .total = 6'000'000'000, .seconds = 0.5}),
            "weights: 1.50 of 6.00 GB (25 %), 3.00 GB/s, 2 s left");
  EXPECT_EQ(ProgressText({.read = 5'999'999'999, .total = 6'000'000'000, .seconds = 2.0}),
            "weights: 6.00 of 6.00 GB (99 %), 3.00 GB/s, 1 s left");
  EXPECT_EQ(ProgressText({}), "weights: 0.00 of 0.00 GB (100 %), 0.00 GB/s, 0 s left");
  EXPECT_EQ(SummaryText({.read = 2'040'000'000, .total = 2'040'000'000, .seconds = 1.25}),
            "weights: 2.04 GB in 1.25 s (1.63 GB/s)");
}

TEST(LoadProgress, MetricsNeverGoBackwards) {
  Metrics metrics;
  const SteadyClock clock;
  LoadProgress progress(metrics, clock);
  progress.OnRead(20, 100);
  progress.OnRead(10, 100);
  EXPECT_EQ(metrics.Snapshot().model_bytes_loaded, 20u);
  EXPECT_EQ(metrics.Snapshot().model_bytes_total, 100u);
}

TEST(ModelName, IsTheDirectorysOrTheRepositorys) {
  EXPECT_EQ(ModelName("/models/tiny-tales"), "tiny-tales");
  EXPECT_EQ(ModelName("/models/tiny-tales/"), "tiny-tales");
  EXPECT_EQ(ModelName("/cache/hub/models--deepseek-ai--DeepSeek-V2-Lite/snapshots/604d5664dddd"),
            "deepseek-ai/DeepSeek-V2-Lite");
  EXPECT_EQ(ModelName("/cache/hub/models--gpt2/snapshots/604d5664dddd"), "gpt2");
  EXPECT_EQ(ModelName("/data/snapshots/604d5664dddd"), "604d5664dddd");
  EXPECT_EQ(ModelName("/data/models--a--b/604d5664dddd"), "604d5664dddd");
}

TEST(ModelName, LinkToASnapshotIsCalledByItsRepository) {
  const TemporaryDirectory directory;
  const std::filesystem::path snapshot = directory.path() / "models--org--name/snapshots/0123";
  std::filesystem::create_directories(snapshot);
  std::filesystem::create_directory_symlink(snapshot, directory.path() / "current");
  EXPECT_EQ(ModelName(directory.path() / "current"), "org/name");
}

TEST(ModelName, LinkToAnotherFolderNamesTheModel) {
  const TemporaryDirectory directory;
  std::filesystem::create_directories(directory.path() / "rev-123/inner");
  std::filesystem::create_directory_symlink("rev-123", directory.path() / "prod");
  for (const char* ending : {"", "/", "//", "/.", "/./"}) {
    EXPECT_EQ(ModelName(directory.path().string() + "/prod" + ending), "prod") << ending;
  }
  EXPECT_EQ(ModelName(directory.path() / "prod/inner"), "inner");
  EXPECT_EQ(ModelName(directory.path() / "prod/inner/.."), "rev-123") << "a path without a name at its end";
}

}  // namespace
}  // namespace latentd
