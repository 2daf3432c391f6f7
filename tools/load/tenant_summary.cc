#include "tools/load/tenant_summary.h"

#include <algorithm>
#include <limits>

namespace latentd {
namespace {

// The fair parts of `total`; a claim that asks for less than its part by weight gets what it asks for.
std::vector<double> FairShares(const std::vector<Claim>& claims, double total) {
  std::vector<double> shares(claims.size(), 0.0);
  std::vector<size_t> open;
  for (size_t i = 0; i < claims.size(); ++i) open.push_back(i);
  while (!open.empty()) {
    double weights = 0.0;
    for (const size_t i : open) weights += claims[i].weight;
    const double level = total / weights;
    const auto settled =
        std::partition(open.begin(), open.end(), [&](size_t i) { return claims[i].asked > level * claims[i].weight; });
    if (settled == open.end()) {
      for (const size_t i : open) shares[i] = level * claims[i].weight;
      return shares;
    }
    std::for_each(settled, open.end(), [&](size_t i) { total -= shares[i] = claims[i].asked; });
    open.erase(settled, open.end());
  }
  return shares;
}

void AddRecord(const RequestRecord& record, TenantSummary& summary) {
  ++summary.sent;
  summary.succeeded += record.succeeded() ? 1 : 0;
  summary.refused += record.code == grpc::StatusCode::RESOURCE_EXHAUSTED ? 1 : 0;
  summary.asked_tokens += std::max(record.prompt_ids, record.prompt_tokens) + record.max_tokens;
  if (record.first_token != kNotReached) summary.time_to_first_token.Record(record.first_token - record.intended);
  if (record.succeeded()) summary.end_to_end.Record(record.ended - record.intended);
}

}  // namespace

std::vector<TenantSummary> SummarizeTenants(const RunResult& run, const LoadOptions& options, double window_seconds) {
  std::vector<TenantSummary> summaries;
  std::vector<std::vector<RequestRecord>> records(options.workload.tenants.size());
  for (const TenantShare& tenant : options.workload.tenants) summaries.emplace_back().tenant = tenant;
  const auto begin = static_cast<int64_t>(options.run.warmup_seconds * 1e9);
  for (const RequestRecord& record : run.records) {
    if (record.tenant >= summaries.size()) continue;
    AddRecord(record, summaries[record.tenant]);
    if (record.intended >= begin) records[record.tenant].push_back(record);
  }
  for (size_t i = 0; i < summaries.size(); ++i) {
    if (i < run.served_by_tenant.size()) summaries[i].served_tokens = run.served_by_tenant[i];
    summaries[i].goodput = GoodputOf(records[i], options.slo, window_seconds);
  }
  return summaries;
}

double FairnessIndex(const std::vector<Claim>& claims) {
  double total = 0.0;
  for (const Claim& claim : claims) total += claim.served;
  const std::vector<double> shares = FairShares(claims, total);
  double sum = 0.0;
  double squares = 0.0;
  double count = 0.0;
  for (size_t i = 0; i < claims.size(); ++i) {
    if (shares[i] <= 0.0) continue;
    const double part = claims[i].served / shares[i];
    sum += part;
    squares += part * part;
    count += 1.0;
  }
  return squares > 0.0 ? sum * sum / (count * squares) : 1.0;
}

double FairnessOf(const std::vector<TenantSummary>& tenants, Loop loop) {
  std::vector<Claim> claims;
  for (const TenantSummary& tenant : tenants) {
    const double asked =
        loop == Loop::kOpen ? static_cast<double>(tenant.asked_tokens) : std::numeric_limits<double>::infinity();
    claims.push_back(
        {.asked = asked, .served = static_cast<double>(tenant.served_tokens), .weight = tenant.tenant.weight});
  }
  return FairnessIndex(claims);
}

}  // namespace latentd
