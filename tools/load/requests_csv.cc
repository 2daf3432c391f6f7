#include "tools/load/requests_csv.h"

#include <absl/status/status.h>
#include <absl/strings/str_replace.h>

#include "base/number_text.h"

namespace latentd {
namespace {

std::string Quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  return "\"" + absl::StrReplaceAll(text, {{"\"", "\"\""}}) + "\"";
}

std::string SecondsText(int64_t nanoseconds) { return NumberText(static_cast<double>(nanoseconds) * 1e-9); }

std::string Since(int64_t moment, int64_t start) { return moment == kNotReached ? "" : SecondsText(moment - start); }

}  // namespace

std::string MakeRequestsCsv(const std::vector<RequestRecord>& records, const std::vector<TenantShare>& tenants) {
  std::string csv =
      "index,tenant,behaviour,intended,sent,ttft,second_token,end_to_end,prompt_tokens,cached_tokens,output_tokens,"
      "code,reason,"
      "expected\n";
  for (const RequestRecord& record : records) {
    csv += NumberText(record.index) + ",";
    csv += (record.tenant < tenants.size() ? Quoted(tenants[record.tenant].name) : "") + ",";
    csv += std::string(NameOf(record.behaviour)) + ",";
    csv += SecondsText(record.intended) + "," + SecondsText(record.sent) + ",";
    csv += Since(record.first_token, record.intended) + "," + Since(record.second_token, record.intended) + ",";
    csv += Since(record.ended, record.intended) + ",";
    csv += NumberText(record.prompt_tokens) + "," + NumberText(record.cached_tokens) + ",";
    csv += NumberText(record.output_tokens) + ",";
    csv += absl::StatusCodeToString(static_cast<absl::StatusCode>(record.code)) + ",";
    csv += Quoted(record.reason) + (EndedAsExpected(record) ? ",1\n" : ",0\n");
  }
  return csv;
}

}  // namespace latentd
