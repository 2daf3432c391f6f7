// Remains of a failed download in place of a file.
#include "base/file.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/safetensors_writer.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;

const std::string kPointer =
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    "size 9755696\n";

TEST(FileKind, PointersTellTheSizeOfTheFile) {
  EXPECT_THAT(NotTheFile(kPointer), HasSubstr("a git-lfs pointer in place of the file of 9,755,696 bytes; fetch"));
  EXPECT_THAT(NotTheFile(kPointer.substr(0, 45)), HasSubstr("a git-lfs pointer in place of the file; fetch"));
}

TEST(FileKind, PagesAndAnswersOfServers) {
  EXPECT_THAT(NotTheFile("<!DOCTYPE html>\n<html><head>"), HasSubstr("an HTML page"));
  EXPECT_THAT(NotTheFile("\r\n  <HTML lang=en>"), HasSubstr("an HTML page"));
  EXPECT_THAT(NotTheFile("<?xml version=\"1.0\"?><Error><Code>AccessDenied"), HasSubstr("an XML page"));
  EXPECT_THAT(NotTheFile("Entry not found"), HasSubstr("a server's answer"));
  EXPECT_THAT(NotTheFile("Invalid username or password."), HasSubstr("a server's answer"));
  EXPECT_THAT(NotTheFile("{\"error\":\"Repository not found\"}"), HasSubstr("a server's answer"));
}

TEST(FileKind, OtherContainers) {
  EXPECT_THAT(NotTheFile("GGUF\x03"), HasSubstr("a GGUF file"));
  EXPECT_THAT(NotTheFile(std::string("PK\x03\x04\x00", 5)), HasSubstr("a zip archive"));
  EXPECT_THAT(NotTheFile("\x89HDF\r\n"), HasSubstr("an HDF5 file"));
}

TEST(FileKind, CompressedFilesAndArchives) {
  EXPECT_THAT(NotTheFile(std::string("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03{", 11)),
              HasSubstr("a gzip file; unpack it"));
  EXPECT_THAT(NotTheFile(std::string("\xfd"
                                     "7zXZ\x00",
                                     6)),
              HasSubstr("an xz file"));
  EXPECT_THAT(NotTheFile("\x28\xb5\x2f\xfd"), HasSubstr("a zstd file"));
  for (const char level : std::string("123456789")) {
    EXPECT_THAT(NotTheFile(std::string("BZh") + level + "1AY&SY"), HasSubstr("a bzip2 file"));
  }
  for (const char* other : {"BZh", "BZh9", "BZh01AY&SY", "BZh91AY&S"}) EXPECT_EQ(NotTheFile(other), "") << other;
  EXPECT_THAT(NotTheFile("7z\xbc\xaf\x27\x1c"), HasSubstr("a 7z archive"));
  EXPECT_THAT(NotTheFile("Rar!\x1a\x07"), HasSubstr("a RAR archive"));
  // A header of 559,903 bytes has the same length.
  EXPECT_EQ(NotTheFile(std::string("\x1f\x8b\x08\x00\x00\x00\x00\x00{\"", 10)), "");
}

TEST(FileKind, FilesThatAreTheFile) {
  for (const std::string& content : {std::string(), std::string("{}"), std::string("{% for m in messages %}"),
                                     SafetensorsBytes({{"a", "U8", {1}, "x"}}), std::string("version 2"),
                                     "Entry not found, and so on for long" + std::string(2000, '.')}) {
    EXPECT_EQ(NotTheFile(content), "") << content;
  }
}

}  // namespace
}  // namespace latentd
