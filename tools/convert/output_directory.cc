#include "tools/convert/output_directory.h"

#include <csignal>
#include <string>
#include <system_error>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <unistd.h>

#include "base/quoting.h"

namespace latentd {
namespace {

namespace fs = std::filesystem;

volatile std::sig_atomic_t interrupted = 0;

absl::Status Refuse(const fs::path& path, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrFormat("%s: %s", Quoted(path.string()), what));
}

bool Contains(const fs::path& outer, const fs::path& inner) {
  const fs::path relative = inner.lexically_relative(outer);
  return !relative.empty() && *relative.begin() != "..";
}

absl::Status CheckReplaceable(const fs::path& target, Existing existing, const fs::path& input) {
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(target, ignored))) return absl::OkStatus();
  if (existing == Existing::kRefuse) {
    return Refuse(target, "expected no such directory, found one; name another or give --force");
  }
  if (!fs::is_directory(fs::symlink_status(target, ignored)) ||
      (!fs::is_empty(target, ignored) && !fs::exists(target / "config.json", ignored))) {
    return Refuse(target, "expected a checkpoint to replace, found something else; name another directory");
  }
  if (!input.empty() && Contains(target, fs::weakly_canonical(input, ignored))) {
    return Refuse(target, "expected another directory than the input's; name another");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<OutputDirectory> OutputDirectory::Create(const fs::path& target, Existing existing,
                                                        const fs::path& input) {
  std::error_code error;
  fs::path whole = fs::weakly_canonical(fs::absolute(target), error);
  if (error) return Refuse(target, error.message());
  if (!whole.has_filename()) whole = whole.parent_path();
  if (absl::Status status = CheckReplaceable(whole, existing, input); !status.ok()) return status;
  const fs::path temporary = whole.parent_path() / absl::StrCat(".", whole.filename().string(), ".", getpid());
  if (!fs::create_directory(temporary, error)) {
    const std::string found = error ? error.message() : Quoted(temporary.string());
    return Refuse(target, absl::StrCat("expected room for a directory beside it, found: ", found));
  }
  return OutputDirectory(std::move(whole), temporary);
}

OutputDirectory::OutputDirectory(fs::path target, fs::path temporary)
    : target_(std::move(target)), temporary_(std::move(temporary)) {}

OutputDirectory::OutputDirectory(OutputDirectory&& other) noexcept
    : target_(std::move(other.target_)), temporary_(std::exchange(other.temporary_, {})) {}

OutputDirectory::~OutputDirectory() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

absl::Status OutputDirectory::Commit() {
  if (absl::Status status = CheckInterrupt(); !status.ok()) return status;
  const fs::path replaced = temporary_.string() + ".replaced";
  std::error_code error;
  const bool replaces = fs::exists(target_, error);
  if (replaces) fs::rename(target_, replaced, error);
  if (!error) fs::rename(temporary_, target_, error);
  if (error) {
    std::error_code ignored;
    if (replaces && !fs::exists(target_, ignored)) fs::rename(replaced, target_, ignored);
    return Refuse(target_, absl::StrCat("rename into place: ", error.message()));
  }
  temporary_.clear();
  if (replaces) fs::remove_all(replaced, error);
  return absl::OkStatus();
}

void CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

absl::Status CheckInterrupt() {
  return interrupted ? absl::CancelledError("interrupted; nothing was written") : absl::OkStatus();
}

}  // namespace latentd
