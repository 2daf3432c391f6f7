#include "engine/load/model_name.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

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
