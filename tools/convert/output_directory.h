// A directory that appears under its name whole or not at all: filled under a temporary name beside it, renamed at the
// end, removed where that does not come. The code that fills it has to watch for Ctrl-C and SIGTERM.
#pragma once

#include <cstdint>
#include <filesystem>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace latentd {

enum class Existing : uint8_t { kRefuse, kReplace };

class OutputDirectory {
 public:
  // Replaces nothing but a checkpoint or an empty directory, and never one that `input` lies in.
  static absl::StatusOr<OutputDirectory> Create(const std::filesystem::path& target, Existing existing,
                                                const std::filesystem::path& input);
  OutputDirectory(OutputDirectory&& other) noexcept;
  OutputDirectory& operator=(OutputDirectory&&) = delete;
  ~OutputDirectory();

  const std::filesystem::path& path() const { return temporary_; }
  absl::Status Commit();

 private:
  OutputDirectory(std::filesystem::path target, std::filesystem::path temporary);

  std::filesystem::path target_;
  std::filesystem::path temporary_;  // empty: nothing left to remove
};

// From here on SIGINT and SIGTERM end no process; CheckInterrupt reports them as CANCELLED.
void CatchInterrupts();
absl::Status CheckInterrupt();

}  // namespace latentd
