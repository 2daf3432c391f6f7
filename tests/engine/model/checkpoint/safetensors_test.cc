#include "engine/model/checkpoint/safetensors.h"

#include <cstring>
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

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<SafetensorsFile> Open(const TemporaryDirectory& directory, std::string_view bytes) {
  WriteFile(directory.path() / "x.safetensors", bytes);
  return SafetensorsFile::Open(directory.path() / "x.safetensors");
}

void ExpectOneLine(const absl::Status& status, std::string_view message) {
  ASSERT_FALSE(status.ok()) << message;
  const std::string text(status.message());
  EXPECT_THAT(text, HasSubstr(std::string(message)));
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
}

TEST(Safetensors, GivesBackWhatWasWritten) {
  const TemporaryDirectory directory;
  const absl::StatusOr<SafetensorsFile> file =
      Open(directory,
           SafetensorsBytes({{"a", "F32", {2, 1}, "01234567"}, {"none", "BF16", {0, 4}, ""}, {"b", "U8", {}, "x"}}));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->entries().size(), 3u);
  const SafetensorsEntry& a = file->entries()[0];
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.dtype, "F32");
  EXPECT_THAT(a.shape, ElementsAre(2, 1));
  EXPECT_EQ(std::memcmp(file->BytesOf(a).data(), "01234567", 8), 0);
  EXPECT_EQ(file->entries()[1].name, "none");
  EXPECT_TRUE(file->entries()[2].shape.empty());
  EXPECT_EQ(static_cast<char>(file->BytesOf(file->entries()[2])[0]), 'x');
  EXPECT_EQ(file->buffer_bytes(), 9u);
}

TEST(Safetensors, OrderInTheHeaderIsFree) {
  const auto entries = ParseSafetensorsHeader(R"({"late":{"data_offsets":[4,6],"dtype":"F16","shape":[1]},)"
                                              R"("early":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}})",
                                              6);
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_EQ((*entries)[0].name, "early");
  EXPECT_EQ((*entries)[1].name, "late");
}

struct WrongHeader {
  const char* header;
  const char* message;
};
const WrongHeader kWrongHeaders[] = {
    {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"t":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
     "found 't' twice"},
    {R"({"t":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "found 'dtype' twice"},
    {R"({"t":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})", "tensor 't': expected a dtype such as BF16"},
    {R"({"t":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", "tensor 't': expected a dtype"},
    {R"({"t":{"shape":[2],"data_offsets":[0,8]}})", "tensor 't': expected a dtype, found none"},
    {R"({"t":{"dtype":"F32","data_offsets":[0,8]}})", "tensor 't': expected a shape, found none"},
    {R"({"t":{"dtype":"F32","shape":[2]}})", "tensor 't': expected two data_offsets, found 0"},
    {R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", "tensor 't': expected two data_offsets, found 1"},
    {R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})",
     "tensor 't': expected two data_offsets, found more"},
    {R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", "tensor 't': expected dtype, shape"},
    {R"({"t":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", "tensor 't': shape: expected a list, found 2"},
    {R"({"t":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}})", "tensor 't': shape: expected integers"},
    {R"({"t":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", "tensor 't': shape: expected integers"},
    {R"({"t":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", "tensor 't': shape: expected integers"},
    {R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,1e300]}})", "tensor 't': data_offsets: expected integers"},
    {R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "found [8, 0]"},
    {R"({"t":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}})", "within the 8 bytes of the file's buffer"},
    {R"({"t":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "tensor 't': expected 12 bytes for F32 [3], found 8"},
    {R"({"t":{"dtype":"F32","shape":[4611686018427387906,1],"data_offsets":[0,8]}})", "expected more than 2^64 bytes"},
    {R"({"t":{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,8]}})", "tensor 't': expected"},
    {R"({"t":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,8],"data_offsets":[0,8]}})", "expected at most 8 dimensions"},
    {R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"t":{"dtype":"U8","shape":[5],"data_offsets":[3,8]}})",
     "tensor 't': expected to begin at byte 5, found 3: it overlaps"},
    {R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"t":{"dtype":"U8","shape":[3],"data_offsets":[5,8]}})",
     "tensor 't': expected to begin at byte 3, found 5: it leaves a gap"},
    {R"({"t":{"dtype":"U8","shape":[7],"data_offsets":[0,7]}})", "found 7 of 8 bytes used"},
    {R"({})", "found 0 of 8 bytes used"},
    {R"({"t":[]})", "tensor 't': expected an object, found a list"},
    {R"({"t":{"dtype":"U8","shape":[[8]],"data_offsets":[0,8]}})", "nested at most 3 deep"},
    {R"({"__metadata__":{"format":1}})", "tensor '__metadata__': 'format': expected a string, found 1"},
    {R"({"__metadata__":"pt"})", "tensor '__metadata__': expected an object"},
    {R"({"a\nb":[]})", "tensor 'a\\nb': expected an object"},
    {R"([])", "header: expected an object"},
    {R"({"t":)", "header: expected valid JSON"},
    {R"({} {})", "header: expected valid JSON"},
};

TEST(Safetensors, RefusesEachWrongHeader) {
  for (const auto& [header, message] : kWrongHeaders) {
    SCOPED_TRACE(header);
    ExpectOneLine(ParseSafetensorsHeader(header, 8).status(), message);
  }
}

TEST(Safetensors, RefusesWrongLengths) {
  const TemporaryDirectory directory;
  const auto with_length = [](uint64_t length, std::string_view rest) {
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, 8);
    return bytes.append(rest);
  };
  const std::string kName = "x.safetensors': ";
  ExpectOneLine(Open(directory, "{}").status(), kName + "expected a safetensors file, found only 2 bytes");
  ExpectOneLine(Open(directory, with_length(101'000'000, "{}")).status(), "a header of at most 100000000 bytes");
  ExpectOneLine(Open(directory, with_length(~uint64_t{0}, "{}")).status(), "a header of at most 100000000 bytes");
  ExpectOneLine(Open(directory, with_length(99'000'000, "{}")).status(), "a header of 99000000 bytes, found 2");
  ExpectOneLine(Open(directory, with_length(3, "{}")).status(), "a header of 3 bytes, found 2: the file is cut");
  ExpectOneLine(Open(directory, with_length(0, "{}")).status(), "header: expected JSON that begins with '{'");
  ExpectOneLine(Open(directory, with_length(3, " {}")).status(), "header: expected JSON that begins with '{'");
  EXPECT_TRUE(Open(directory, with_length(8, "{}      ")).ok());
}

TEST(Safetensors, RefusesWhatIsNoRegularFileWithoutWaiting) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "model.safetensors";
  ExpectOneLine(SafetensorsFile::Open(path).status(), "expected a readable file: No such file");
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  ExpectOneLine(SafetensorsFile::Open(path).status(), "model.safetensors': expected a regular file, found a FIFO");
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  ExpectOneLine(SafetensorsFile::Open(path).status(), "expected a regular file, found a directory");
  std::filesystem::remove(path);
  std::filesystem::create_symlink("/dev/zero", path);
  ExpectOneLine(SafetensorsFile::Open(path).status(), "expected a regular file, found a device");
  std::filesystem::remove(path);
  std::filesystem::create_symlink(path, path);
  ExpectOneLine(SafetensorsFile::Open(path).status(), "expected a readable file");
  std::filesystem::remove(path);
  WriteFile(path, "");
  ExpectOneLine(SafetensorsFile::Open(path).status(), "found an empty one");
}

}  // namespace
}  // namespace latentd
