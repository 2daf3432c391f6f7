// One safetensors file, mapped and its header checked as docs/spec/deepseek.md 2.2 and 2.3 ask: every byte of the
// buffer belongs to exactly one tensor. Immutable; the tensors' bytes live as long as the file, in any alignment.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "base/mapped_file.h"

namespace latentd {

struct SafetensorsEntry {
  std::string name;
  std::string_view dtype;  // the format's own word, such as "BF16"; static storage
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // of its bytes within the buffer behind the header
  uint64_t end = 0;
};

// "[576, 7168]"
std::string ShapeText(std::span<const int64_t> shape);

// The entries of a header, by rising place in a buffer of `buffer_bytes`.
absl::StatusOr<std::vector<SafetensorsEntry>> ParseSafetensorsHeader(std::string_view json, uint64_t buffer_bytes);

class SafetensorsFile {
 public:
  static absl::StatusOr<SafetensorsFile> Open(const std::filesystem::path& path);

  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  std::span<const std::byte> BytesOf(const SafetensorsEntry& entry) const {
    return buffer_.subspan(entry.begin, entry.end - entry.begin);
  }
  const MappedFile& file() const { return file_; }
  uint64_t buffer_bytes() const { return buffer_.size(); }

 private:
  SafetensorsFile(MappedFile file, std::vector<SafetensorsEntry> entries, std::span<const std::byte> buffer)
      : file_(std::move(file)), entries_(std::move(entries)), buffer_(buffer) {}

  MappedFile file_;
  std::vector<SafetensorsEntry> entries_;
  std::span<const std::byte> buffer_;
};

}  // namespace latentd
