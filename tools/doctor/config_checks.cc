#include "tools/doctor/config_checks.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include <absl/strings/str_format.h>
#include <unistd.h>

#include "base/quoting.h"
#include "server/config/tenants_file.h"
#include "server/process/flight_dumps.h"

namespace latentd {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kConfig = "config";
constexpr std::string_view kFiles = "files";

void CheckFolderOf(std::string_view knob, const std::string& path, Findings& findings) {
  if (path.empty()) return;
  const fs::path folder = fs::absolute(path).parent_path();
  if (access(folder.c_str(), W_OK | X_OK) == 0) {
    findings.push_back(Fine(kFiles, absl::StrFormat("%s: %s can be written", knob, Quoted(path))));
    return;
  }
  findings.push_back(Wrong(kFiles, absl::PermissionDeniedError(absl::StrFormat(
                                       "%s: expected a folder that can be written, found %s: %s; choose another path",
                                       knob, Quoted(folder.string()), std::generic_category().message(errno)))));
}

}  // namespace

std::optional<ParsedConfig> CheckConfig(const std::vector<std::string>& flags, const Environment& environment,
                                        Findings& findings) {
  std::vector<const char*> line = {"latentd"};
  for (const std::string& flag : flags) line.push_back(flag.c_str());
  absl::StatusOr<ParsedConfig> parsed = ParseConfig(static_cast<int>(line.size()), line.data(), environment);
  if (!parsed.ok()) {
    findings.push_back(Wrong(kConfig, parsed.status()));
    return std::nullopt;
  }
  AddWarnings(kConfig, parsed->warnings, findings);
  const absl::StatusOr<TenantRules> tenants = ReadTenantsFile(parsed->config.tenants);
  if (!tenants.ok()) {
    const std::string error = WithOrigin("tenants: " + std::string(tenants.status().message()), *parsed);
    findings.push_back(FindingOf(kConfig, Severity::kError, error));
    return std::nullopt;
  }
  const auto is_set = [](const KnobValue& knob) { return knob.source != KnobSource::kDefault; };
  const auto num_set = std::count_if(parsed->knobs.begin(), parsed->knobs.end(), is_set);
  std::string found = absl::StrFormat("%d of %d knobs are set, all can be read", num_set, parsed->knobs.size());
  if (!parsed->config.tenants.empty()) absl::StrAppendFormat(&found, "; %d tenants", tenants->listed.size());
  findings.push_back(Fine(kConfig, std::move(found)));
  return *std::move(parsed);
}

void CheckWrittenFiles(const Config& config, Findings& findings) {
  CheckFolderOf("port-file", config.port_file, findings);
  CheckFolderOf("profile", config.profile, findings);
  if (config.recorder_dir.empty()) return;
  const absl::Status status = CheckRecorderDirectory(config.recorder_dir);
  findings.push_back(status.ok() ? Fine(kFiles, "recorder-dir: can be written") : Wrong(kFiles, status));
}

}  // namespace latentd
