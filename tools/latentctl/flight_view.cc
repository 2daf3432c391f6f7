#include "tools/latentctl/flight_view.h"

#include <algorithm>
#include <ctime>
#include <map>
#include <set>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "base/quoting.h"
#include "tools/latentctl/flight_words.h"

namespace latentd {
namespace {

constexpr int64_t kNanosPerSecond = 1'000'000'000;

double SecondsFrom(int64_t from, int64_t to) { return static_cast<double>(to - from) * 1e-9; }

// RFC 3339 in UTC.
std::string DateText(int64_t unix_nanoseconds) {
  const std::time_t whole = unix_nanoseconds / kNanosPerSecond;
  std::tm utc{};
  gmtime_r(&whole, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
  return absl::StrFormat("%s.%03dZ", text, unix_nanoseconds % kNanosPerSecond / 1'000'000);
}

bool IsOfRequest(FlightDecision decision) {
  switch (decision) {
    case FlightDecision::kEvict:
    case FlightDecision::kCancelAll:
    case FlightDecision::kFlush:
    case FlightDecision::kWait:
    case FlightDecision::kStep:
      return false;
    default:
      return true;
  }
}

std::string SubjectText(const FlightEntry& entry) {
  if (!IsOfRequest(entry.decision)) return "-";
  return entry.index == 0 ? absl::StrCat(entry.request) : absl::StrCat(entry.request, "/", entry.index);
}

// Sums that the summary tells, one walk over the entries.
struct Totals {
  explicit Totals(const std::vector<FlightEntry>& entries) {
    for (const FlightEntry& entry : entries) Add(entry);
  }
  void Add(const FlightEntry& entry);
  void AddCache(const FlightEntry& entry);

  using ByReason = std::map<std::string, std::pair<uint64_t, uint64_t>>;  // how often, and what it adds up to

  std::set<uint64_t> requests;
  uint64_t submitted = 0, hits = 0, hit_tokens = 0, lost_to_eviction = 0, lost_to_salt = 0, copies = 0, evictions = 0;
  ByReason ends, preemptions, waits;
  std::vector<int32_t> step_micros;
  uint64_t step_rows = 0, step_tokens = 0;
};

uint64_t Positive(int32_t number) { return static_cast<uint64_t>(std::max(0, number)); }

void AddTo(Totals::ByReason& counts, const std::string& reason, int32_t amount) {
  ++counts[reason].first;
  counts[reason].second += Positive(amount);
}

void Totals::AddCache(const FlightEntry& entry) {
  const auto [cached, blocks, evicted, salted] = entry.numbers;
  hits += cached > 0 ? 1 : 0;
  hit_tokens += Positive(cached);
  lost_to_eviction += Positive(evicted);
  lost_to_salt += Positive(salted);
}

void Totals::Add(const FlightEntry& entry) {
  const auto [first, second, third, fourth] = entry.numbers;
  if (IsOfRequest(entry.decision)) requests.insert(entry.request);
  switch (entry.decision) {
    case FlightDecision::kSubmit:
      ++submitted;
      break;
    case FlightDecision::kHit:
      AddCache(entry);
      break;
    case FlightDecision::kCopy:
      ++copies;
      break;
    case FlightDecision::kEvict:
      ++evictions;
      break;
    case FlightDecision::kFinish:
      AddTo(ends, FinishText(first), second);
      break;
    case FlightDecision::kPreempt:
      AddTo(preemptions, PreemptionText(first), second);
      break;
    case FlightDecision::kWait:
      AddTo(waits, WaitText(first), second);
      break;
    case FlightDecision::kStep:
      step_micros.push_back(third);
      step_rows += Positive(first);
      step_tokens += Positive(second);
      break;
    default:
      break;
  }
}

// "3 (blocks 2, priority 1)"
std::string ReasonsText(const Totals::ByReason& counts) {
  uint64_t total = 0;
  std::string list;
  for (const auto& [reason, count] : counts) {
    total += count.first;
    absl::StrAppendFormat(&list, "%s%s %d", list.empty() ? "" : ", ", reason, count.first);
  }
  return list.empty() ? "0" : absl::StrFormat("%d (%s)", total, list);
}

std::string WaitsText(const Totals::ByReason& waits) {
  std::string text;
  for (const auto& [reason, count] : waits) {
    const double mean = static_cast<double>(count.second) / static_cast<double>(count.first);
    absl::StrAppendFormat(&text, "%s%s in %s, %.1f sequences on average", text.empty() ? "" : "; ", reason,
                          CountText(count.first, "step"), mean);
  }
  return text.empty() ? "none" : text;
}

std::string StepsText(Totals& totals) {
  std::vector<int32_t>& micros = totals.step_micros;
  if (micros.empty()) return "none";
  std::sort(micros.begin(), micros.end());
  const auto count = static_cast<double>(micros.size());
  const auto at = [&micros](size_t percent) { return micros[(micros.size() - 1) * percent / 100] * 1e-3; };
  return absl::StrFormat("%d, %.1f rows and %.1f tokens each; %.3f ms at p50, %.3f ms at p99", micros.size(),
                         static_cast<double>(totals.step_rows) / count, static_cast<double>(totals.step_tokens) / count,
                         at(50), at(99));
}

}  // namespace

void KeepRequest(uint64_t request, FlightDump& dump) {
  std::erase_if(dump.entries, [request](const FlightEntry& entry) {
    return !IsOfRequest(entry.decision) || entry.request != request;
  });
}

std::vector<std::string> FlightHead(const FlightDump& dump) {
  std::vector<std::string> lines;
  if (!dump.fingerprint.empty()) lines.push_back("model     " + OnOneLine(dump.fingerprint));
  lines.push_back("taken     " + DateText(dump.unix_nanoseconds));
  if (dump.entries.empty()) {
    lines.push_back("holds     no decisions");
    return lines;
  }
  const int64_t first = dump.entries.front().nanoseconds, last = dump.entries.back().nanoseconds;
  lines.push_back(absl::StrFormat("holds     %s of %s, over %.3f s, the last one %.3f s before it was taken",
                                  CountText(dump.entries.size(), "decision"), CountText(dump.num_recorded, "decision"),
                                  SecondsFrom(first, last), SecondsFrom(last, dump.clock_nanoseconds)));
  return lines;
}

std::vector<std::string> FlightTimeline(const FlightDump& dump) {
  std::vector<std::string> lines;
  lines.reserve(dump.entries.size());
  for (const FlightEntry& entry : dump.entries) {
    const double seconds = SecondsFrom(dump.entries.front().nanoseconds, entry.nanoseconds);
    lines.push_back(absl::StrFormat("%+13.6f  %-8s %s", seconds, SubjectText(entry), DecisionText(entry)));
  }
  return lines;
}

std::vector<std::string> FlightSummary(const FlightDump& dump) {
  Totals totals(dump.entries);
  return {
      absl::StrFormat("requests      %d, of which %d were submitted", totals.requests.size(), totals.submitted),
      absl::StrFormat("ends          %s", ReasonsText(totals.ends)),
      absl::StrFormat("prefix cache  %s with %s, %s; lost: %d tokens to eviction, %d to salt; %s evicted",
                      CountText(totals.hits, "hit"), CountText(totals.hit_tokens, "token"),
                      totals.copies == 1 ? "1 copy" : absl::StrCat(totals.copies, " copies"), totals.lost_to_eviction,
                      totals.lost_to_salt, CountText(totals.evictions, "block")),
      absl::StrFormat("preemptions   %s", ReasonsText(totals.preemptions)),
      absl::StrFormat("waits         %s", WaitsText(totals.waits)),
      absl::StrFormat("steps         %s", StepsText(totals)),
  };
}

std::string FlightJson(const FlightEntry& entry) {
  const auto [first, second, third, fourth] = entry.numbers;
  return absl::StrFormat(
      "{\"seconds\":%d.%09d,\"decision\":\"%s\",\"request\":%d,\"index\":%d,\"numbers\":[%d,%d,%d,%d]}",
      entry.nanoseconds / kNanosPerSecond, entry.nanoseconds % kNanosPerSecond, DecisionName(entry.decision),
      entry.request, entry.index, first, second, third, fourth);
}

}  // namespace latentd
