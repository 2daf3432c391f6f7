#include "tools/convert/checkpoint_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <span>
#include <system_error>

#include <absl/strings/str_format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "base/check.h"
#include "base/quoting.h"
#include "engine/model/checkpoint/packed_file.h"
#include "tools/convert/output_directory.h"

namespace latentd {
namespace {

namespace fs = std::filesystem;

absl::Status Unwritable(const fs::path& path) {
  return absl::UnavailableError(
      absl::StrFormat("%s: write: %s", Quoted(path.filename().string()), std::strerror(errno)));
}

// One line on a terminal, rewritten at each percent.
class Progress {
 public:
  explicit Progress(uint64_t total) : total_(total), shown_(isatty(STDERR_FILENO) != 0) {}
  ~Progress() {
    if (shown_) std::cerr << "\r\x1b[K" << std::flush;
  }

  void Add(uint64_t num_bytes) {
    done_ += num_bytes;
    const uint64_t percent = total_ == 0 ? 100 : done_ * 100 / total_;
    if (!shown_ || percent == percent_) return;
    percent_ = percent;
    std::cerr << absl::StrFormat("\r%3d %% of %.2f GB", percent, static_cast<double>(total_) / 1e9) << std::flush;
  }

 private:
  const uint64_t total_;
  const bool shown_;
  uint64_t done_ = 0;
  uint64_t percent_ = 0;
};

// The length and the JSON, padded so that the buffer begins at a multiple of 8.
std::string Header(std::span<const PlannedTensor> tensors) {
  nlohmann::json json = {{"__metadata__", {{"format", "pt"}}}};
  uint64_t begin = 0;
  for (const PlannedTensor& tensor : tensors) {
    json[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, begin + tensor.num_bytes}}};
    begin += tensor.num_bytes;
  }
  std::string text = json.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string length;
  for (size_t i = 0; i < 8; ++i) length.push_back(static_cast<char>(text.size() >> (8 * i)));
  return length + text;
}

// Bytes that the kernel could not read for us lie in a mapped file that was cut. Reading them here ends the program
// with the line that says so.
void ReadAll(std::span<const std::byte> bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    const volatile std::byte* at = &bytes[i];
    [[maybe_unused]] const std::byte byte = *at;
  }
}

absl::Status WriteFile(const fs::path& path, std::span<const PlannedTensor> tensors, Progress& progress) {
  std::ofstream file(path, std::ios::binary);
  file << Header(tensors);
  for (const PlannedTensor& tensor : tensors) {
    uint64_t written = 0;
    const absl::Status status = tensor.write([&](std::span<const std::byte> bytes) {
      errno = 0;
      file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
      if (!file && errno == EFAULT) ReadAll(bytes);
      if (!file) return Unwritable(path);
      written += bytes.size();
      progress.Add(bytes.size());
      return CheckInterrupt();
    });
    if (!status.ok()) return status;
    CHECK_EQ(written, tensor.num_bytes);
  }
  file.close();
  return file ? absl::OkStatus() : Unwritable(path);
}

// Runs of consecutive tensors, each within the limit or a single tensor.
std::vector<std::span<const PlannedTensor>> Cut(std::span<const PlannedTensor> tensors, uint64_t max_shard_bytes) {
  std::vector<std::span<const PlannedTensor>> shards;
  size_t begin = 0;
  uint64_t num_bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (i > begin && tensors[i].num_bytes > max_shard_bytes - std::min(max_shard_bytes, num_bytes)) {
      shards.push_back(tensors.subspan(begin, i - begin));
      begin = i;
      num_bytes = 0;
    }
    num_bytes += tensors[i].num_bytes;
  }
  shards.push_back(tensors.subspan(begin));
  return shards;
}

}  // namespace

absl::Status WriteText(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  return file ? absl::OkStatus() : Unwritable(path);
}

absl::Status WriteTensors(const fs::path& directory, const std::vector<PlannedTensor>& tensors,
                          uint64_t max_shard_bytes) {
  uint64_t total = 0;
  for (const PlannedTensor& tensor : tensors) total += tensor.num_bytes;
  Progress progress(total);
  const auto shards = Cut(tensors, max_shard_bytes);
  if (shards.size() == 1) return WriteFile(directory / "model.safetensors", tensors, progress);

  nlohmann::json weight_map = nlohmann::json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, shards.size());
    if (absl::Status status = WriteFile(directory / name, shards[i], progress); !status.ok()) return status;
    for (const PlannedTensor& tensor : shards[i]) weight_map[tensor.name] = name;
  }
  const nlohmann::json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  return WriteText(directory / "model.safetensors.index.json", index.dump(2));
}

absl::Status CopyOtherFiles(const fs::path& from, const fs::path& to) {
  std::error_code error;
  std::error_code ignored;  // of a link that leads nowhere
  for (const fs::directory_entry& entry : fs::directory_iterator(from, error)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file(ignored) || name == kPackedFileName || name.ends_with(".safetensors") ||
        name.ends_with(".safetensors.index.json")) {
      continue;
    }
    fs::copy_file(entry.path(), to / name, error);
    if (error) return absl::UnavailableError(absl::StrFormat("%s: copy: %s", Quoted(name), error.message()));
  }
  return error ? absl::UnavailableError(absl::StrFormat("%s: %s", Quoted(from.string()), error.message()))
               : absl::OkStatus();
}

}  // namespace latentd
