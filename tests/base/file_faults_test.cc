// A mapped file that is cut: one line and exit code 1 on whatever thread, and nothing else changes what SIGBUS does.
#include "base/file_faults.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mapped_file.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/weights.h"
#include "kernels/backend.h"
#include "tests/support/or_die.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_checkpoint.h"

namespace latentd {
namespace {

using ::testing::ExitedWithCode;
using ::testing::HasSubstr;
using ::testing::KilledBySignal;

constexpr size_t kPages = 8;

size_t PageBytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

class FileFaults : public ::testing::Test {
 protected:
  FileFaults() : path_(directory_.path() / "some \"file\"") {
    WriteFile(path_, std::string(kPages * PageBytes(), 'x'));
  }
  void Cut(size_t num_bytes) const { std::filesystem::resize_file(path_, num_bytes); }

  TemporaryDirectory directory_;
  std::filesystem::path path_;
};
using FileFaultsDeathTest = FileFaults;

// What a read of that page of the file does to the process.
void Touch(const MappedFile& file, size_t page) {
  const volatile char byte = file.text()[page * PageBytes()];
  static_cast<void>(byte);
}

TEST_F(FileFaultsDeathTest, CutFileIsOneLineThatNamesIt) {
  EXPECT_EXIT(
      {
        EndOnFileFaults("program", FaultLine::kText);
        const MappedFile first = OrDie(MappedFile::Open(path_));
        const MappedFile file = OrDie(MappedFile::Open(path_));
        Cut(3);
        Touch(file, 5);
      },
      ExitedWithCode(1),
      "^program: '[^\n]*/some \\\\\"file\\\\\"': expected [0-9]+ bytes as when it was opened, found 3: the file was "
      "cut "
      "while it was read; fetch it again\n$");
}

TEST_F(FileFaultsDeathTest, AnyThreadMayMeetIt) {
  EXPECT_EXIT(
      {
        EndOnFileFaults("program", FaultLine::kText);
        const MappedFile file = OrDie(MappedFile::Open(path_));
        Cut(0);
        std::thread([&] { Touch(file, 0); }).join();
      },
      ExitedWithCode(1), "^program: [^\n]* found 0: the file was cut while it was read; fetch it again\n$");
}

TEST_F(FileFaultsDeathTest, JsonLineIsAnObject) {
  EXPECT_EXIT(
      {
        EndOnFileFaults("program", FaultLine::kJson);
        const MappedFile file = OrDie(MappedFile::Open(path_));
        Cut(0);
        Touch(file, 0);
      },
      ExitedWithCode(1),
      "^[{]\"level\":\"critical\",\"message\":\"'[^\n]*/some "
      R"(\\\\\\"file\\\\\\"': expected [^"]*"})"
      "\n$");
}

TEST_F(FileFaultsDeathTest, SentSignalKeepsItsDefault) {
  EXPECT_EXIT(
      {
        EndOnFileFaults("program", FaultLine::kText);
        const MappedFile file = OrDie(MappedFile::Open(path_));
        raise(SIGBUS);
      },
      KilledBySignal(SIGBUS), "^$");
}

TEST_F(FileFaultsDeathTest, OtherMappingsKeepTheirDefault) {
  EXPECT_EXIT(
      {
        EndOnFileFaults("program", FaultLine::kText);
        { const MappedFile closed = OrDie(MappedFile::Open(path_)); }
        const int other = open(path_.c_str(), O_RDONLY);
        const auto* bytes =
            static_cast<const char*>(mmap(nullptr, kPages * PageBytes(), PROT_READ, MAP_PRIVATE, other, 0));
        Cut(0);
        const volatile char byte = bytes[0];
        static_cast<void>(byte);
      },
      KilledBySignal(SIGBUS), "^$");
}

TEST_F(FileFaultsDeathTest, CutDuringTheLoadEndsWithItsLine) {
  WriteTinyCheckpoint({}, directory_.path());
  const std::filesystem::path weights = directory_.path() / "model.safetensors";
  EXPECT_EXIT(
      {
        EndOnFileFaults("program", FaultLine::kText);
        const ModelConfig config = OrDie(LoadModelConfig(directory_.path()));
        std::atomic<bool> is_cut = false;
        const auto cut_once = [&](uint64_t read_bytes, uint64_t total_bytes) {
          if (read_bytes < total_bytes / 2 || is_cut.exchange(true)) return;
          std::filesystem::resize_file(weights, 4096);
        };
        const Checkpoint checkpoint = OrDie(Checkpoint::Open(directory_.path(), config, cut_once));
        const Backend backend = OrDie(MakeCpuBackend(2));
        // Where the cut falls between two layers, nothing faults, and the status says the same.
        const absl::Status status =
            LoadWeights(checkpoint, config, MtpUse::kNone, *backend.device, *backend.ops).status();
        std::cerr << "program: " << status.message();
        std::exit(1);
      },
      ExitedWithCode(1),
      "^program: '[^\n]*model.safetensors': expected [0-9]+ bytes as when it was opened, found 4096: the file [^\n]* "
      "while it was read; fetch it again\n?$");
}

// What is gone of a page that is still there reads as zeros, and raises nothing.
TEST_F(FileFaults, CutWithinAPageIsFoundAtTheEnd) {
  const MappedFile file = OrDie(MappedFile::Open(path_));
  EXPECT_TRUE(file.CheckUncut().ok());
  Cut(kPages * PageBytes() - 1);
  const std::string message(file.CheckUncut().message());
  EXPECT_THAT(message, HasSubstr("some \\\"file\\\"': expected "));
  EXPECT_THAT(message, HasSubstr("the file changed while it was read; fetch it again"));
}

TEST_F(FileFaults, CutCheckpointIsRefused) {
  WriteTinyCheckpoint({}, directory_.path());
  const std::filesystem::path weights = directory_.path() / "model.safetensors";
  const ModelConfig config = OrDie(LoadModelConfig(directory_.path()));
  const Checkpoint checkpoint = OrDie(Checkpoint::Open(directory_.path(), config));
  std::filesystem::resize_file(weights, std::filesystem::file_size(weights) - 1);
  EXPECT_THAT(std::string(checkpoint.CheckUnread(2).message()), HasSubstr("the file changed while it was read"));
}

TEST_F(FileFaults, LinkThatLeadsNowhereIsNamed) {
  const std::filesystem::path link = directory_.path() / "config.json";
  std::filesystem::create_symlink("../../blobs/0123", link);
  const absl::Status status = MappedFile::Open(link).status();
  EXPECT_FALSE(absl::IsNotFound(status)) << "an optional file that is a broken link is not absent";
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("config.json': expected a readable file, found a symbolic link to '../../blobs/0123', which is "
                        "not there; fetch it again"));
}

TEST_F(FileFaults, AdviceLeavesTheContentAlone) {
  const MappedFile file = OrDie(MappedFile::Open(path_));
  const std::span<const std::byte> part = file.bytes().subspan(PageBytes() + 1, 2 * PageBytes());
  file.ReadAhead(part);
  file.ReadAhead(file.bytes().last(1));
  file.ReadAhead(part);
  file.Release(part);
  file.Release(file.bytes());
  EXPECT_EQ(file.text(), std::string(kPages * PageBytes(), 'x'));
}

}  // namespace
}  // namespace latentd
