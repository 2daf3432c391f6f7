#include "tools/load/goodput.h"

namespace latentd {
namespace {

double Seconds(int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-9; }

bool IsGood(const RequestRecord& record, const Slo& slo) {
  if (!record.succeeded() || record.first_token == kNotReached) return false;
  if (slo.time_to_first_token && Seconds(record.first_token - record.intended) > *slo.time_to_first_token) return false;
  if (slo.end_to_end && Seconds(record.ended - record.intended) > *slo.end_to_end) return false;
  return !slo.time_per_output_token || record.num_gaps == 0 || TimePerOutputToken(record) <= *slo.time_per_output_token;
}

}  // namespace

double TimePerOutputToken(const RequestRecord& record) { return Seconds(record.between_tokens) / record.num_gaps; }

Goodput GoodputOf(const std::vector<RequestRecord>& records, const Slo& slo, double window_seconds) {
  Goodput goodput;
  for (const RequestRecord& record : records) {
    if (record.behaviour != Behaviour::kWell || record.was_interrupted) continue;
    ++goodput.eligible;
    if (IsGood(record, slo)) ++goodput.good;
  }
  if (goodput.eligible > 0)
    goodput.fraction = static_cast<double>(goodput.good) / static_cast<double>(goodput.eligible);
  goodput.requests_per_second = static_cast<double>(goodput.good) / window_seconds;
  return goodput;
}

}  // namespace latentd
