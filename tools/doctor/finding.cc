#include "tools/doctor/finding.h"

namespace latentd {

Finding FindingOf(std::string_view check, Severity severity, std::string_view message) {
  const size_t end = message.rfind("; ");
  Finding finding{.check = std::string(check), .severity = severity, .found = std::string(message.substr(0, end))};
  if (end != std::string_view::npos) finding.advice = message.substr(end + 2);
  return finding;
}

void AddWarnings(std::string_view check, const std::vector<std::string>& messages, Findings& findings) {
  for (const std::string& message : messages) findings.push_back(FindingOf(check, Severity::kWarning, message));
}

}  // namespace latentd
