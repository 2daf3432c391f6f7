// A regular file mapped read-only into memory. Immutable; movable; any thread may read. A file that is cut while it is
// mapped ends the process: see file_faults.h.
#pragma once

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <absl/status/statusor.h>

namespace latentd {

class MappedFile {
 public:
  // One-line errors for whatever is not a readable, regular, non-empty file. Never waits for a FIFO's other end.
  // NOT_FOUND where there is nothing of that name; a link that leads nowhere is an error of its own.
  static absl::StatusOr<MappedFile> Open(const std::filesystem::path& path);

  std::span<const std::byte> bytes() const;
  std::string_view text() const { return {reinterpret_cast<const char*>(bytes().data()), bytes().size()}; }

  // That the file still has the bytes that it had when it was opened. A cut within the last page raises no fault: what
  // is gone reads as zeros.
  absl::Status CheckUncut() const;

  // Lets the disk bring these bytes, and the next kAheadBytes behind them, while others are worked on.
  void ReadAhead(std::span<const std::byte> part) const;
  // Gives back the memory in which these bytes are; a later read brings them back. For a private read-only
  // mapping that is only advice: it may take back what another thread is reading.
  void Release(std::span<const std::byte> part) const;

  // Brings these bytes into memory and maps them, on huge pages where the file system has them, and returns when that
  // is done: later reads meet no fault.
  void BringIn(std::span<const std::byte> part) const;

  static constexpr size_t kAheadBytes = size_t{32} << 20;

 private:
  struct Mapping;
  struct Unmap {
    void operator()(Mapping* mapping) const;
  };

  explicit MappedFile(std::unique_ptr<Mapping, Unmap> mapping);

  std::unique_ptr<Mapping, Unmap> mapping_;
};

}  // namespace latentd
