#include "tools/load/sweep_report.h"

#include <algorithm>
#include <cmath>

#include <absl/strings/str_format.h>
#include <nlohmann/json.hpp>

#include "base/number_text.h"

namespace latentd {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kSweepSchema[] = "latentd-load-sweep/1";

const LatencyHistogram& HistogramOf(const Summary& summary, std::string_view name) {
  const auto found = std::find_if(summary.latencies.begin(), summary.latencies.end(),
                                  [name](const NamedHistogram& entry) { return entry.name == name; });
  return found->histogram;
}

std::vector<LevelOutcome> OutcomesOf(const SweepReport& sweep) {
  std::vector<LevelOutcome> outcomes;
  for (const SweptLevel& level : sweep.levels) outcomes.push_back(level.outcome);
  return outcomes;
}

const char* UnitOf(const SweepOptions& options) { return options.over == SweepOver::kRate ? "requests/s" : "streams"; }

// Seconds; the columns of table and CSV alike.
struct LevelColumns {
  double ttft_p50, ttft_p99, tpot_p50, tpot_p99, e2e_p50, e2e_p99;
};

LevelColumns ColumnsOf(const Summary& summary) {
  const auto at = [&summary](std::string_view name, double percent) {
    return static_cast<double>(HistogramOf(summary, name).Percentile(percent)) * 1e-9;
  };
  return {.ttft_p50 = at("time_to_first_token", 50.0),
          .ttft_p99 = at("time_to_first_token", 99.0),
          .tpot_p50 = at("time_per_output_token", 50.0),
          .tpot_p99 = at("time_per_output_token", 99.0),
          .e2e_p50 = at("end_to_end", 50.0),
          .e2e_p99 = at("end_to_end", 99.0)};
}

}  // namespace

LoadOptions AtLevel(LoadOptions options, const SweepOptions& sweep, const LevelPlace& place) {
  options.workload.seed += place.number;
  if (sweep.over == SweepOver::kRate) {
    options.run.rate = {place.level, place.level};
  } else {
    options.run.concurrency = static_cast<int>(place.level);
  }
  return options;
}

LevelOutcome OutcomeOf(double level, const Summary& summary) {
  const double latency = HistogramOf(summary, "end_to_end").mean() * 1e-9;
  return {.level = level,
          .power = latency > 0.0 ? summary.requests_per_second / latency : 0.0,
          .goodput = summary.goodput.fraction};
}

std::string SweepHeader(const SweepOptions& options) {
  return absl::StrFormat("  %10s %10s %10s %9s %9s %9s %9s %9s %9s %9s %10s\n", UnitOf(options), "done/s", "tokens/s",
                         "TTFT p50", "TTFT p99", "TPOT p50", "TPOT p99", "e2e p50", "e2e p99", "goodput %", "power");
}

std::string SweepRow(const SweptLevel& level) {
  const Summary& summary = level.report.summary;
  const LevelColumns columns = ColumnsOf(summary);
  return absl::StrFormat("  %10s %10.2f %10.1f %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f %10.2f%s%s\n",
                         NumberText(std::round(level.outcome.level * 100.0) / 100.0), summary.requests_per_second,
                         summary.output_tokens_per_second, columns.ttft_p50 * 1e3, columns.ttft_p99 * 1e3,
                         columns.tpot_p50 * 1e3, columns.tpot_p99 * 1e3, columns.e2e_p50 * 1e3, columns.e2e_p99 * 1e3,
                         level.outcome.goodput * 100.0, level.outcome.power, level.report.passed() ? "" : "  FAILED",
                         summary.is_valid ? "" : "  INVALID");
}

std::string MakeSweepTable(const SweepReport& sweep) {
  const std::optional<size_t> best = FindBest(OutcomesOf(sweep), sweep.options);
  const char* unit = UnitOf(sweep.options);
  if (!best) {
    return absl::StrFormat("no level has the goodput of %s: the lowest, %s %s, has %s\n",
                           NumberText(*sweep.options.goodput_fraction), NumberText(sweep.options.low), unit,
                           NumberText(sweep.levels.front().outcome.goodput));
  }
  const SweptLevel& found = sweep.levels[*best];
  if (sweep.options.goodput_fraction) {
    return absl::StrFormat("max goodput at %s %s: %.2f requests/s meet their objectives, %.2f %% of all\n",
                           NumberText(found.outcome.level), unit, found.report.summary.goodput.requests_per_second,
                           found.outcome.goodput * 100.0);
  }
  return absl::StrFormat("knee at %s %s: %.2f requests/s, %.1f tokens/s; more load buys latency, less throughput\n",
                         NumberText(found.outcome.level), unit, found.report.summary.requests_per_second,
                         found.report.summary.output_tokens_per_second);
}

std::string MakeSweepJson(const SweepReport& sweep) {
  const std::optional<size_t> best = FindBest(OutcomesOf(sweep), sweep.options);
  Json json = {{"schema", kSweepSchema},
               {"over", sweep.options.over == SweepOver::kRate ? "rate" : "concurrency"},
               {"sought", sweep.options.goodput_fraction ? "max_goodput" : "knee"}};
  json["goodput_fraction"] = sweep.options.goodput_fraction ? Json(*sweep.options.goodput_fraction) : Json(nullptr);
  json["found"] = best ? Json(*best) : Json(nullptr);
  json["levels"] = Json::array();
  for (const SweptLevel& level : sweep.levels) {
    json["levels"].push_back({{"level", level.outcome.level},
                              {"power", level.outcome.power},
                              {"goodput", level.outcome.goodput},
                              {"report", Json::parse(MakeJson(level.report))}});
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string MakeSweepCsv(const SweepReport& sweep) {
  std::string csv =
      "level,requests_per_second,output_tokens_per_second,ttft_p50,ttft_p99,tpot_p50,tpot_p99,e2e_p50,e2e_p99,goodput,"
      "power,unexpected,valid\n";
  for (const SweptLevel& level : sweep.levels) {
    const Summary& summary = level.report.summary;
    const LevelColumns columns = ColumnsOf(summary);
    for (const double value : {level.outcome.level, summary.requests_per_second, summary.output_tokens_per_second,
                               columns.ttft_p50, columns.ttft_p99, columns.tpot_p50, columns.tpot_p99, columns.e2e_p50,
                               columns.e2e_p99, level.outcome.goodput, level.outcome.power}) {
      csv += NumberText(value) + ",";
    }
    csv += NumberText(summary.unexpected) + (summary.is_valid ? ",1\n" : ",0\n");
  }
  return csv;
}

}  // namespace latentd
