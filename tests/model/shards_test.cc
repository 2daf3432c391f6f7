#include "engine/model/shards.h"

#include <filesystem>
#include <string>

#include <absl/strings/str_format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

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

TEST_F(ShardsTest, IndexAndFilesAgreeBothWays) {
  ExpectRefusal(OpenWith(R"({"weight_map": {"a": "one.safetensors", "b": "one.safetensors"}})"),
                "tensor 'b': expected in 'one.safetensors', found it not there");
  ExpectRefusal(OpenWith(R"({"weight_map": {"a": "one.safetensors", "c": "two.safetensors"}})"),
                "tensor 'b' is in 'two.safetensors': expected the index to say so, found no file");
  ExpectRefusal(OpenWith(R"({"weight_map": {"a": "two.safetensors", "b": "two.safetensors", "c": "one.safetensors"}})"),
                "tensor 'a' is in 'one.safetensors': expected the index to say so, found 'two.safetensors'");
  // The same tensor in two files.
  WriteFile(path() / "two.safetensors", SafetensorsBytes({{"b", "U8", {2}, "yz"}, {"a", "U8", {1}, "x"}}));
  ExpectRefusal(OpenWithFileOfA(R"("one.safetensors")"), "tensor 'a' is in 'two.safetensors': expected the index");
}

TEST_F(ShardsTest, OnlyPlainFileNames) {
  for (const char* name : {R"("../one.safetensors")", R"("/etc/passwd")", R"("sub/one.safetensors")", R"("..")",
                           R"(".")", R"("")", R"("one.safetensors\u0000x")", R"("a\\b")", "7", "null", "[]", "{}"}) {
    SCOPED_TRACE(name);
    ExpectRefusal(OpenWithFileOfA(name), "tensor 'a': expected the plain name of a file in this directory");
  }
}

TEST_F(ShardsTest, AbsentAndUnfitFilesAreNamed) {
  ExpectRefusal(OpenWithFileOfA(R"("absent.safetensors")"), "absent.safetensors': expected a readable file");
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
  ExpectRefusal(OpenShards(path()), "expected model.safetensors or model.safetensors.index.json, found neither");
  std::filesystem::rename(path() / "one.safetensors", path() / "model.safetensors");
  const absl::StatusOr<Shards> shards = OpenShards(path());
  ASSERT_TRUE(shards.ok()) << shards.status();
  EXPECT_EQ(shards->files.size(), 1u);
}

}  // namespace
}  // namespace latentd
