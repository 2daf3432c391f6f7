// A packed file as it is written (docs/converting.md): one tensor after the other, the index, and the header last.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "engine/model/checkpoint/packed_index.h"

namespace latentd {

class PackedWriter {
 public:
  static absl::StatusOr<PackedWriter> Create(const std::filesystem::path& path);
  PackedWriter(PackedWriter&& other) noexcept;
  PackedWriter& operator=(PackedWriter&&) = delete;
  ~PackedWriter();

  // `facts` needs name, dtype and shape; the buffers are what its Pack verb allocated, in that order.
  absl::Status Add(PackedTensor facts, std::span<const std::span<const std::byte>> buffers,
                   std::span<const float> scales);
  // Down to the disk. `index` needs all but its tensors. Returns the file's bytes.
  absl::StatusOr<uint64_t> Finish(PackedIndex index) &&;

 private:
  PackedWriter(std::filesystem::path path, int descriptor);

  absl::Status Append(std::span<const std::byte> bytes);
  absl::Status Align();
  absl::Status Flush();
  absl::Status WriteAt(uint64_t place, std::span<const std::byte> bytes) const;
  uint64_t place() const { return flushed_ + used_; }

  std::filesystem::path path_;
  int descriptor_;
  struct Free {
    void operator()(std::byte* bytes) const;
  };
  std::unique_ptr<std::byte[], Free> chunk_;  // goes to `flushed_` of the file
  size_t used_ = 0;
  uint64_t flushed_ = 0;
  std::vector<PackedTensor> tensors_;
};

}  // namespace latentd
