// Findings as text: for people a line each and a summary, for programs a JSON object each. Pure functions.
#pragma once

#include <string>

#include "tools/doctor/finding.h"

namespace latentd {

std::string TextReport(const Findings& findings);
// {"check": …, "severity": "ok", "warning" or "error", "found": …, "advice": …}, one a line.
std::string JsonReport(const Findings& findings);
// 1 where a daemon would not start, or not serve as it was asked to.
int ExitCodeOf(const Findings& findings);

}  // namespace latentd
