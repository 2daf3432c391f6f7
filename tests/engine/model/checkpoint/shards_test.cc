#include "engine/model/checkpoint/shards.h"

#include <filesystem>
#include <string>

#include <absl/strings/str_format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "engine/model/config/model_config.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;

// Two shards of one tensor each: "a" in one.safetensors, "b" in two.safetensors.
class ShardsTest : public ::testing::Test {
 protected:
  ShardsTest() {
    WriteFile(path() / "one.safetensors", SafetensorsBytes({{"a", "U8", {1}, "x"}}));
    WriteFile(path() / "two.safetensors", SafetensorsBytes({{"b", "U8", {2}, "yz"}}));
  }
  const std::filesystem::path& path() const { return directory_.path(); }
  absl::StatusOr<Shards> OpenWith(std::string_view index) const {
    WriteFile(path() / "model.safetensors.index.json", index);
    return OpenShards(path());
  }
  absl::StatusOr<Shards> OpenWithFileOfA(std::string_view file) const {
    return OpenWith(absl::StrFormat(R"({"weight_map": {"a": %s, "b": "two.safetensors"}})", file));
  }
  void ExpectRefusal(const absl::StatusOr<Shards>& shards, const std::string& message) const {
    ASSERT_FALSE(shards.ok()) << message;
    const std::string text(shards.status().message());
    EXPECT_THAT(text, HasSubstr(message));
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }

  TemporaryDirectory directory_;
};

TEST_F(ShardsTest, OpensWhatTheIndexNames) {
  const absl::StatusOr<Shards> shards =
      OpenWith(R"({"metadata": {"total_size": 3}, "weight_map": {"b": "two.safetensors", "a": "one.safetensors"}})");
  ASSERT_TRUE(shards.ok()) << shards.status();
  EXPECT_EQ(shards->files.size(), 2u);
  EXPECT_TRUE(shards->warnings.empty());
}

TEST_F(ShardsTest, StaleTotalSizeIsOnlyAWarning) {
  const absl::StatusOr<Shards> shards =
      OpenWith(R"({"metadata": {"total_size": 99}, "weight_map": {"b": "two.safetensors", "a": "one.safetensors"}})");
  ASSERT_TRUE(shards.ok()) << shards.status();
  EXPECT_THAT(shards->warnings, ::testing::ElementsAre(HasSubstr("total_size = 99, the files hold 3 bytes")));
}

std::string NamesIn(const Shards& shards) {
  std::string names;
  shards.ForEach([&](const SafetensorsFile&, const SafetensorsEntry& entry) { names += entry.name; });
  return names;
}

TEST_F(ShardsTest, WhatTheIndexDoesNotSayIsUsedWithAWarning) {
  for (const char* index :
       {R"({"weight_map": {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}})",
        R"({"weight_map": {"a": "two.safetensors", "b": "one.safetensors"}})"}) {
    SCOPED_TRACE(index);
    const absl::StatusOr<Shards> shards = OpenWith(index);
    ASSERT_TRUE(shards.ok()) << shards.status();
    EXPECT_EQ(NamesIn(*shards), "ab");
    ASSERT_EQ(shards->warnings.size(), 1u);
    EXPECT_THAT(shards->warnings[0], HasSubstr("the index does not say of"));
  }
}

TEST_F(ShardsTest, WhatIsNotThereIsToldByTheOneWhoNeedsIt) {
  absl::StatusOr<Shards> shards =
      OpenWith(R"({"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}})");
  ASSERT_TRUE(shards.ok()) << shards.status();
  EXPECT_THAT(shards->absent, ::testing::ElementsAre(::testing::Pair("c", "two.safetensors")));
  shards = OpenWithFileOfA(R"("absent.safetensors")");
  ASSERT_TRUE(shards.ok()) << shards.status();
  EXPECT_THAT(shards->absent, ::testing::ElementsAre(::testing::Pair("a", "absent.safetensors")));
  EXPECT_EQ(NamesIn(*shards), "b");
}

TEST_F(ShardsTest, OfTwoCopiesTheIndexedOneCounts) {
  WriteFile(path() / "two.safetensors", SafetensorsBytes({{"b", "U8", {2}, "yz"}, {"a", "U8", {1}, "z"}}));
  const absl::StatusOr<Shards> shards = OpenWithFileOfA(R"("one.safetensors")");
  ASSERT_TRUE(shards.ok()) << shards.status();
  EXPECT_EQ(NamesIn(*shards), "ab");
  shards->ForEach([](const SafetensorsFile& file, const SafetensorsEntry& entry) {
    EXPECT_EQ(static_cast<char>(file.BytesOf(entry)[0]), entry.name == "a" ? 'x' : 'y');
  });
  ExpectRefusal(OpenWith(R"({"weight_map": {"b": "two.safetensors", "c": "one.safetensors"}})"),
                "tensor 'a' is in 'one.safetensors' and in 'two.safetensors': expected the index to say which counts");
}

TEST_F(ShardsTest, OnlyPlainFileNames) {
  for (const char* name : {R"("../one.safetensors")", R"("/etc/passwd")", R"("sub/one.safetensors")", R"("..")",
                           R"(".")", R"("")", R"("one.safetensors\u0000x")", R"("a\\b")", "7", "null", "[]", "{}"}) {
    SCOPED_TRACE(name);
    ExpectRefusal(OpenWithFileOfA(name), "tensor 'a': expected the plain name of a file in this directory");
  }
}

TEST_F(ShardsTest, AbsentAndUnfitFilesAreNamed) {
  std::filesystem::create_symlink("nowhere", path() / "link.safetensors");
  ExpectRefusal(OpenWithFileOfA(R"("link.safetensors")"), "found a symbolic link to 'nowhere', which is not there");
  ASSERT_EQ(mkfifo((path() / "fifo.safetensors").c_str(), 0600), 0);
  ExpectRefusal(OpenWithFileOfA(R"("fifo.safetensors")"), "fifo.safetensors': expected a regular file, found a FIFO");
  ExpectRefusal(OpenWithFileOfA(R"("model.safetensors.index.json")"),
                "model.safetensors.index.json': expected a header");
}

TEST_F(ShardsTest, BrokenIndexes) {
  ExpectRefusal(OpenWith(""), "model.safetensors.index.json': expected a file with content");
  ExpectRefusal(OpenWith("{"), "expected valid JSON");
  ExpectRefusal(OpenWith("[]"), "expected tensors in weight_map, found none");
  ExpectRefusal(OpenWith("{}"), "expected tensors in weight_map, found none");
  ExpectRefusal(OpenWith(R"({"weight_map": {}})"), "expected tensors in weight_map, found none");
  ExpectRefusal(OpenWith(R"({"weight_map": 1})"), "weight_map: expected an object of file names by tensor, found 1");
  ExpectRefusal(OpenWith(R"({"weight_map": {"a": "one.safetensors", "a": "two.safetensors"}})"), "found 'a' twice");
  std::filesystem::remove(path() / "model.safetensors.index.json");
  std::filesystem::create_directory(path() / "model.safetensors.index.json");
  ExpectRefusal(OpenShards(path()), "model.safetensors.index.json': expected a regular file, found a directory");
}

TEST_F(ShardsTest, SingleFileNeedsNoIndex) {
  WriteFile(path() / "model.safetensors", SafetensorsBytes({{"c", "U8", {1}, "x"}}));
  const absl::StatusOr<Shards> shards = OpenShards(path());
  ASSERT_TRUE(shards.ok()) << shards.status();
  EXPECT_EQ(NamesIn(*shards), "c");
  EXPECT_THAT(shards->warnings, ::testing::IsEmpty());
}

// As vLLM and SGLang, which read every safetensors file that they find.
TEST_F(ShardsTest, FilesWithoutAnIndexAreReadTogether) {
  WriteFile(path() / "consolidated.safetensors", SafetensorsBytes({{"a", "U8", {1}, "other"}}).substr(0, 3));
  WriteFile(path() / "adapter_model.safetensors", "");
  const absl::StatusOr<Shards> shards = OpenShards(path());
  ASSERT_TRUE(shards.ok()) << shards.status();
  EXPECT_EQ(NamesIn(*shards), "ab");
  EXPECT_THAT(shards->warnings, ::testing::ElementsAre(HasSubstr("all 2 files are read that end in .safetensors")));
  std::filesystem::rename(path() / "one.safetensors", path() / "model-00001-of-00003.safetensors");
  std::filesystem::rename(path() / "two.safetensors", path() / "model-00003-of-00003.safetensors");
  ExpectRefusal(OpenShards(path()), "expected 'model-00002-of-00003.safetensors' beside 'model-00001-of-00003");
}

TEST_F(ShardsTest, CopiesThatDifferWithoutAnIndexAreRefused) {
  WriteFile(path() / "two.safetensors", SafetensorsBytes({{"a", "U8", {1}, "y"}}));
  ExpectRefusal(OpenShards(path()), "expected the index to say which");
}

TEST_F(ShardsTest, WhatIsThereInsteadIsNamed) {
  std::filesystem::remove(path() / "one.safetensors");
  std::filesystem::remove(path() / "two.safetensors");
  ExpectRefusal(OpenShards(path()), "expected model.safetensors or model.safetensors.index.json, found neither");
  const auto expect = [this](const char* name, const char* says) {
    WriteFile(path() / name, "x");
    ExpectRefusal(OpenShards(path()), says);
    std::filesystem::remove(path() / name);
  };
  expect("pytorch_model.bin", "found 'pytorch_model.bin', which is PyTorch's: load it with transformers and save");
  expect("pytorch_model-00001-of-00002.bin", "which is PyTorch's");
  expect("model.gguf", "found 'model.gguf', which is llama.cpp's: fetch the safetensors files");
  expect("consolidated.safetensors", "found 'consolidated.safetensors', whose tensors have another program's names");
  expect("adapter_model.safetensors", "an adapter: merge it into its base model");
  expect("model.safetensors.incomplete", "found 'model.safetensors.incomplete', a download that did not end");
  std::filesystem::create_directories(path() / ".cache/huggingface/download");
  WriteFile(path() / ".cache/huggingface/download/abc.incomplete", "x");
  ExpectRefusal(OpenShards(path()), "a download that did not end; fetch it again");
}

TEST(FileKind, IsSaidOfEveryFileOfAModel) {
  const std::string kPointer =
      "version https://git-lfs.github.com/spec/v1\n"
      "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
      "size 9755696\n";
  const TemporaryDirectory directory;
  const auto expect_pointer = [](const absl::Status& status, const char* file) {
    ASSERT_FALSE(status.ok()) << file;
    EXPECT_THAT(std::string(status.message()), HasSubstr(file));
    EXPECT_THAT(std::string(status.message()), HasSubstr("found a git-lfs pointer in place of the file of 9,755,696"));
  };
  for (const char* name : {"config.json", "model.safetensors", "model.safetensors.index.json"}) {
    WriteFile(directory.path() / name, kPointer);
  }
  expect_pointer(LoadModelConfig(directory.path()).status(), "config.json");
  expect_pointer(OpenShards(directory.path()).status(), "model.safetensors.index.json");
  std::filesystem::remove(directory.path() / "model.safetensors.index.json");
  expect_pointer(OpenShards(directory.path()).status(), "model.safetensors");
  WriteFile(directory.path() / "model.safetensors.index.json", R"({"weight_map": {"a": "model-1.safetensors"}})");
  WriteFile(directory.path() / "model-1.safetensors", kPointer);
  expect_pointer(OpenShards(directory.path()).status(), "model-1.safetensors");
}

}  // namespace
}  // namespace latentd
