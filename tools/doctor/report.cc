#include "tools/doctor/report.h"

#include <algorithm>
#include <string_view>

#include <absl/strings/str_format.h>

#include "base/quoting.h"

namespace latentd {
namespace {

std::string_view NameOf(Severity severity) {
  if (severity == Severity::kError) return "error";
  return severity == Severity::kWarning ? "warning" : "ok";
}

auto Count(const Findings& findings, Severity severity) {
  return std::count_if(findings.begin(), findings.end(),
                       [severity](const Finding& finding) { return finding.severity == severity; });
}

}  // namespace

std::string TextReport(const Findings& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    const std::string advice = finding.advice.empty() ? "" : "; " + finding.advice;
    absl::StrAppendFormat(&text, "%-8s %-14s %s\n", NameOf(finding.severity), finding.check,
                          OnOneLine(finding.found + advice));
  }
  const auto errors = Count(findings, Severity::kError), warnings = Count(findings, Severity::kWarning);
  absl::StrAppendFormat(&text, "%d error%s, %d warning%s\n", errors, errors == 1 ? "" : "s", warnings,
                        warnings == 1 ? "" : "s");
  return text;
}

std::string JsonReport(const Findings& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    absl::StrAppendFormat(&text, "{\"check\": \"%s\", \"severity\": \"%s\", \"found\": %s, \"advice\": %s}\n",
                          finding.check, NameOf(finding.severity), QuoteForLog(finding.found),
                          QuoteForLog(finding.advice));
  }
  return text;
}

int ExitCodeOf(const Findings& findings) { return Count(findings, Severity::kError) == 0 ? 0 : 1; }

}  // namespace latentd
