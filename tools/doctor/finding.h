// One line of what latentctl doctor says. Values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>

namespace latentd {

enum class Severity : uint8_t { kOk, kWarning, kError };

struct Finding {
  std::string check;
  Severity severity = Severity::kOk;
  std::string found;
  std::string advice = {};  // what to do; empty where nothing has to be done
};
using Findings = std::vector<Finding>;

// Our messages end with what to do, behind their last semicolon.
Finding FindingOf(std::string_view check, Severity severity, std::string_view message);
inline Finding Wrong(std::string_view check, const absl::Status& status) {
  return FindingOf(check, Severity::kError, std::string(status.message()));
}
inline Finding Fine(std::string_view check, std::string found) {
  return {.check = std::string(check), .severity = Severity::kOk, .found = std::move(found)};
}
void AddWarnings(std::string_view check, const std::vector<std::string>& messages, Findings& findings);

}  // namespace latentd
