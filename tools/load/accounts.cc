#include "tools/load/accounts.h"

#include <chrono>
#include <condition_variable>
#include <limits>
#include <mutex>

#include <absl/strings/str_format.h>

namespace latentd {
namespace {

constexpr std::chrono::seconds kIdlePatience{30};
constexpr std::chrono::milliseconds kIdlePeriod{20};

void Pause() {
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, kIdlePeriod, [] { return false; });
}

void Add(double low, double high, Bounds& bounds) {
  bounds.low += low;
  bounds.high += high;
}

// The server answered with an end of its own making, so it did not complete the request.
bool WasRefusedOrEnded(const RequestRecord& record) { return !record.succeeded() && !record.reason.empty(); }

void ExpectPrompt(const RequestRecord& record, Bounds& bounds) {
  if (record.first_token != kNotReached || record.succeeded()) {
    return Add(record.prompt_tokens, record.prompt_tokens, bounds);
  }
  if (!record.was_admitted && WasRefusedOrEnded(record)) return;
  double most = record.prompt_tokens > 0 ? record.prompt_tokens : record.prompt_ids;
  if (most == 0.0) most = std::numeric_limits<double>::infinity();  // of a text
  Add(0.0, most, bounds);
}

void ExpectDelivered(const RequestRecord& record, Bounds& bounds) {
  if (!record.was_admitted && WasRefusedOrEnded(record)) return;
  Add(record.output_tokens, record.succeeded() ? record.output_tokens : record.max_tokens, bounds);
}

CheckOutcome Compare(const std::string& name, double found, const Bounds& expected) {
  CheckOutcome outcome{.name = "accounts: " + name, .detail = {}};
  const bool is_exact = expected.low == expected.high;
  const std::string range =
      is_exact ? absl::StrFormat("%.0f", expected.low) : absl::StrFormat("%.0f to %.0f", expected.low, expected.high);
  outcome.verdict = found >= expected.low && found <= expected.high ? Verdict::kPassed : Verdict::kFailed;
  outcome.detail = absl::StrFormat("expected %s from what the client saw, the server counted %.0f", range, found);
  return outcome;
}

}  // namespace

absl::StatusOr<ServerAccounts> AccountsOf(const MetricsPage& page) {
  const Labels generate = {{"method", "Generate"}};
  struct Wanted {
    const char* name;
    Labels labels;
    double ServerAccounts::*field;
  };
  const Wanted all[] = {
      {"latentd_requests_received_total", generate, &ServerAccounts::received},
      {"latentd_requests_finished_total", generate, &ServerAccounts::finished},
      {"latentd_requests_finished_total", {{"method", "Generate"}, {"grpc_code", "OK"}}, &ServerAccounts::finished_ok},
      {"latentd_prompt_tokens_total", {{"source", "computed"}}, &ServerAccounts::prompt_tokens},
      {"latentd_generated_tokens_total", {{"outcome", "delivered"}}, &ServerAccounts::delivered_tokens},
  };
  ServerAccounts accounts;
  for (const Wanted& wanted : all) {
    const absl::StatusOr<double> sum = page.Sum(wanted.name, wanted.labels);
    if (!sum.ok()) return sum.status();
    accounts.*wanted.field = *sum;
  }
  // A server without a prefix cache need not have the series. What was recomputed is counted apart.
  accounts.prompt_tokens += page.Sum("latentd_prompt_tokens_total", {{"source", "prefix_cache"}}).value_or(0.0);
  return accounts;
}

absl::StatusOr<ServerAccounts> ScrapeWhenIdle(const std::string& address, const std::string& token) {
  const auto deadline = std::chrono::steady_clock::now() + kIdlePatience;
  for (;;) {
    const absl::StatusOr<MetricsPage> page = Scrape(address, token);
    if (!page.ok()) return page.status();
    const absl::StatusOr<double> in_flight = page->Sum("latentd_requests_in_flight");
    if (!in_flight.ok()) return in_flight.status();
    if (*in_flight == 0.0) return AccountsOf(*page);
    if (std::chrono::steady_clock::now() > deadline) {
      return absl::FailedPreconditionError(
          absl::StrFormat("expected a server without requests, found %.0f in flight for %d s; --metrics needs a "
                          "server without other clients",
                          *in_flight, kIdlePatience.count()));
    }
    Pause();
  }
}

ExpectedAccounts Expect(const std::vector<RequestRecord>& records) {
  ExpectedAccounts expected;
  for (const RequestRecord& record : records) {
    Add(record.was_answered ? 1.0 : 0.0, 1.0, expected.received);
    const bool may_be_ok = record.succeeded() || !WasRefusedOrEnded(record);
    Add(record.succeeded() ? 1.0 : 0.0, may_be_ok ? 1.0 : 0.0, expected.finished_ok);
    ExpectPrompt(record, expected.prompt_tokens);
    ExpectDelivered(record, expected.delivered_tokens);
  }
  return expected;
}

std::vector<CheckOutcome> CompareAccounts(const ServerAccounts& before, const ServerAccounts& after,
                                          const ExpectedAccounts& expected) {
  const double received = after.received - before.received;
  return {
      Compare("requests received", received, expected.received),
      Compare("requests finished", after.finished - before.finished, {received, received}),
      Compare("requests finished OK", after.finished_ok - before.finished_ok, expected.finished_ok),
      Compare("prompt tokens", after.prompt_tokens - before.prompt_tokens, expected.prompt_tokens),
      Compare("delivered tokens", after.delivered_tokens - before.delivered_tokens, expected.delivered_tokens),
  };
}

}  // namespace latentd
