#include "server/api/outcomes.h"

#include <algorithm>
#include <set>

#include <absl/status/status.h>

namespace latentd {
namespace {

std::vector<Outcome> MakeOutcomes() {
  std::vector<Outcome> outcomes;
  for (const MethodRow& method : kMethods) {
    for (const CauseRow& cause : kCauses) {
      if ((cause.occurs.methods & method.traits) == 0) continue;
      outcomes.push_back({.method = std::string(method.name),
                          .grpc_code = absl::StatusCodeToString(cause.code),
                          .reason = std::string(cause.reason)});
    }
  }
  return outcomes;
}

std::vector<std::string> Sorted(std::string Outcome::*part) {
  std::set<std::string> values;
  for (const Outcome& outcome : AllOutcomes()) values.insert(outcome.*part);
  return {values.begin(), values.end()};
}

template <class Predicate>
std::vector<std::string> ReasonsThat(Predicate predicate) {
  std::vector<std::string> reasons;
  for (const CauseRow& cause : kCauses) {
    if (predicate(cause)) reasons.emplace_back(cause.reason);
  }
  return reasons;
}

std::vector<std::string> MakeMethods() {
  std::vector<std::string> methods;
  for (const MethodRow& method : kMethods) methods.emplace_back(method.name);
  return methods;
}

}  // namespace

const std::vector<Outcome>& AllOutcomes() {
  static const std::vector<Outcome> outcomes = MakeOutcomes();
  return outcomes;
}

const std::vector<std::string>& AllMethods() {
  static const std::vector<std::string> methods = MakeMethods();
  return methods;
}

const std::vector<std::string>& AllCodes() {
  static const std::vector<std::string> codes = Sorted(&Outcome::grpc_code);
  return codes;
}

const std::vector<std::string>& AllReasons() {
  static const std::vector<std::string> reasons = Sorted(&Outcome::reason);
  return reasons;
}

const std::vector<std::string>& RunReasons() {
  static const std::vector<std::string> reasons = ReasonsThat([](const CauseRow& row) { return row.has_run_series(); });
  return reasons;
}

const std::vector<std::string>& WasteCauses() {
  static const std::vector<std::string> causes =
      ReasonsThat([](const CauseRow& row) { return row.has_run_series() && row.occurs.waste != Waste::kNone; });
  return causes;
}

const std::vector<std::string>& AdmissionReasons() {
  static const std::vector<std::string> reasons =
      ReasonsThat([](const CauseRow& row) { return row.refuses_admission(); });
  return reasons;
}

WastedTokens WasteOf(Cause cause, const StreamEnd& end) {
  const CauseRow& row = RowOf(cause);
  if (row.occurs.waste == Waste::kAll) return {.cause = cause, .count = static_cast<uint64_t>(end.computed_tokens)};
  const int surplus = row.is_success() ? std::max(0, end.generated_tokens - end.output_tokens) : 0;
  return {.cause = Cause::kStopString, .count = static_cast<uint64_t>(surplus)};
}

}  // namespace latentd
