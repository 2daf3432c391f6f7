#include <absl/strings/str_replace.h>

#include "tools/load/report.h"
#include "tools/load/report_page.h"

namespace latentd {

std::string MakeHtml(const std::string& json) {
  // Inside a script element "</" could end it; in JSON "<\/" is the same string.
  const std::string inlined = absl::StrReplaceAll(json, {{"</", "<\\/"}, {"<!--", "<\\u0021--"}});
  return absl::StrReplaceAll(kReportPage, {{"LATENTD_LOAD_REPORT", inlined}});
}

}  // namespace latentd
