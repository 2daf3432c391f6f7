#include "server/process/profile_file.h"

#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include <absl/strings/str_format.h>
#include <spdlog/spdlog.h>

#include "base/quoting.h"

namespace latentd {
namespace {

bool WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  return file.good();
}

// An earlier trace, or an empty file; not a link, a pipe or what somebody else wrote.
bool MayBeReplaced(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(std::filesystem::symlink_status(path, error))) return false;
  std::string start(kTraceStart.size(), '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  return file.gcount() == 0 || start == kTraceStart;
}

}  // namespace

absl::Status ProfileFile::Prepare(const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  std::error_code error;
  const bool is_new = std::filesystem::symlink_status(path, error).type() == std::filesystem::file_type::not_found;
  if (!is_new && !MayBeReplaced(path)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "profile: expected a path where nothing is, or an earlier trace, found %s; choose another", QuoteForLog(path)));
  }
  if (std::ofstream(path, std::ios::binary | std::ios::app).good()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("profile: expected a file that can be written, found %s", QuoteForLog(path)));
}

ProfileFile::ProfileFile(std::string path, ProfiledOps* ops) : path_(std::move(path)) {
  if (path_.empty()) return;
  if (ops == nullptr) {
    spdlog::warn("profile: not taken on a GPU, where calls only launch; use the GPU's own profiler");
    return;
  }
  profile_ = std::make_unique<StepProfile>(*ops, kSteps);
}

void ProfileFile::Tick() {
  if (profile_ == nullptr) return;
  const std::optional<std::string> trace = profile_->Trace();
  if (trace) Write(*trace, kSteps);
}

void ProfileFile::Finish() {
  if (profile_ == nullptr) return;
  const std::span<const ProfiledStep> steps = profile_->steps();
  Write(ChromeTrace(steps), steps.size());
}

void ProfileFile::Write(const std::string& trace, size_t num_steps) {
  profile_ = nullptr;
  if (WriteText(path_, trace)) {
    spdlog::info("profile: {} steps written to {}", num_steps, QuoteForLog(path_));
  } else {
    spdlog::warn("profile: expected a file that can be written, found {}", QuoteForLog(path_));
  }
}

}  // namespace latentd
