#include "tools/load/request_record.h"

#include <string_view>

namespace latentd {

bool EndedAsExpected(const RequestRecord& record) {
  const bool is_cancelled = record.code == grpc::StatusCode::CANCELLED;
  if (record.succeeded() || (record.was_interrupted && is_cancelled)) return true;
  switch (record.planned_end) {
    case PlannedEnd::kCompletion:
      return false;
    case PlannedEnd::kCancel:
      return is_cancelled;
    case PlannedEnd::kRpcDeadline:
    case PlannedEnd::kServerTimeout:
      return record.code == grpc::StatusCode::DEADLINE_EXCEEDED || record.reason == "SLO_UNATTAINABLE";
  }
  return false;
}

std::string NameOf(v1::EndReason reason) {
  static constexpr std::string_view kPrefix = "END_REASON_";
  const std::string& name = v1::EndReason_Name(reason);
  return name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : name;
}

}  // namespace latentd
