// The HTML report without its figures, from report_page.html.
#pragma once

namespace latentd {

extern const char kReportPage[];

}  // namespace latentd
