#include "tools/load/compare.h"

#include <fstream>
#include <iterator>

#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>
#include <absl/strings/strip.h>
#include <nlohmann/json.hpp>

#include "base/number_text.h"
#include "tools/load/view.h"

namespace latentd {
namespace {

using Json = nlohmann::json;
using Pointer = Json::json_pointer;

constexpr std::pair<const char*, const char*> kHistograms[] = {
    {"ttft", "/latency_seconds/time_to_first_token"},
    {"second_token", "/latency_seconds/time_to_second_token"},
    {"itl", "/latency_seconds/inter_token_latency"},
    {"tpot", "/latency_seconds/time_per_output_token"},
    {"e2e", "/latency_seconds/end_to_end"},
    {"queue", "/server_timing_seconds/queue"},
    {"prefill", "/server_timing_seconds/prefill"},
    {"decode", "/server_timing_seconds/decode"},
    {"lag", "/lag_seconds"},
    {"probe.ttft", "/probe/latency_seconds/time_to_first_token"},
    {"probe.itl", "/probe/latency_seconds/inter_token_latency"},
    {"probe.e2e", "/probe/latency_seconds/end_to_end"},
};
constexpr const char* kPercentiles[] = {"mean", "p50", "p90", "p95", "p99", "p99.9", "max"};
constexpr std::pair<const char*, const char*> kNumbers[] = {
    {"succeeded", "/requests/succeeded"},
    {"unexpected", "/requests/unexpected"},
    {"requests_per_second", "/throughput/requests_per_second"},
    {"input_tokens_per_second", "/throughput/input_tokens_per_second"},
    {"output_tokens_per_second", "/throughput/output_tokens_per_second"},
    {"goodput", "/goodput/fraction"},
    {"goodput_per_second", "/goodput/requests_per_second"},
    {"cached", "/cache/fraction"},
    {"fairness", "/fairness"},
    {"tokens_per_step", "/speculation/tokens_per_step"},
    {"client_cpu_per_token", "/client_cpu/seconds_per_token"},
};

void AddNumber(const Json& json, const std::string& name, const Pointer& place, Figures& figures) {
  if (json.contains(place) && json[place].is_number()) figures[name] = json[place].get<double>();
}

// An empty histogram has no figures.
void AddHistogram(const Json& json, const std::string& name, const Pointer& place, Figures& figures) {
  if (!json.contains(place) || json[place].value("count", 0) == 0) return;
  for (const char* percentile : kPercentiles) AddNumber(json, name + "." + percentile, place / percentile, figures);
}

Figures FiguresOf(const Json& report) {
  Figures figures;
  for (const auto& [name, place] : kHistograms) AddHistogram(report, name, Pointer(place), figures);
  for (const auto& [name, place] : kNumbers) AddNumber(report, name, Pointer(place), figures);
  const Json tenants = report.value("tenants", Json::array());
  for (size_t i = 0; i < tenants.size(); ++i) {
    const std::string name = "tenant." + tenants[i].value("name", "");
    const Pointer place = Pointer("/tenants") / i;
    AddHistogram(report, name + ".ttft", place / "time_to_first_token", figures);
    AddHistogram(report, name + ".e2e", place / "end_to_end", figures);
    AddNumber(report, name + ".goodput", place / "goodput" / "fraction", figures);
  }
  return figures;
}

double BoundOf(const Gate& gate, const Figures& a) {
  return gate.is_relative ? gate.bound * a.at(gate.figure) : gate.bound;
}

std::string Row(const std::string& name, double a, double b) {
  const std::string ratio = a != 0.0 ? absl::StrFormat("%.3fx", b / a) : b == 0.0 ? "" : "from 0";
  return absl::StrFormat("  %-32s %14.6g %14.6g %10s\n", name, a, b, ratio);
}

absl::Status CheckKnown(const Gate& gate, const Figures& figures, const char* run) {
  if (figures.contains(gate.figure)) return absl::OkStatus();
  std::string names;
  for (const auto& [name, value] : figures) names += (names.empty() ? "" : ", ") + name;
  return absl::NotFoundError(
      absl::StrFormat("--gate: expected a figure of run %s, found \"%s\"; it has %s", run, gate.figure, names));
}

}  // namespace

absl::StatusOr<ComparedRun> ParseReport(std::string_view text, std::string_view name) {
  const Json report = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!report.is_object() || report.value("schema", "") != "latentd-load/1") {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected a report that latentctl load --json wrote (latentd-load/1), found none", name));
  }
  return ComparedRun{.is_valid = report.value("valid", true), .figures = FiguresOf(report)};
}

absl::StatusOr<ComparedRun> ReadReport(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return absl::NotFoundError(absl::StrFormat("expected a readable file, found none at %s", file));
  const std::string contents(std::istreambuf_iterator<char>(stream), {});
  return ParseReport(contents, file);
}

absl::StatusOr<Gate> ParseGate(std::string_view text) {
  const absl::Status refusal = absl::InvalidArgumentError(
      absl::StrFormat("--gate: expected FIGURE<=NUMBER or FIGURE>=NUMBER, with x behind it for a multiple of the first "
                      "run's, such as ttft.p99<=1.1x; found \"%s\"",
                      text));
  const size_t sign = text.find_first_of("<>");
  if (sign == std::string_view::npos || sign == 0 || text.substr(sign + 1, 1) != "=") return refusal;
  Gate gate{.figure = std::string(text.substr(0, sign)), .is_upper = text[sign] == '<'};
  absl::string_view number = View(text.substr(sign + 2));
  gate.is_relative = absl::ConsumeSuffix(&number, "x");
  if (!absl::SimpleAtod(number, &gate.bound) || !(gate.bound >= 0.0)) return refusal;
  return gate;
}

absl::StatusOr<Comparison> Compare(const ComparedRun& a, const ComparedRun& b, const std::vector<Gate>& gates) {
  Comparison comparison;
  comparison.table = absl::StrFormat("  %-32s %14s %14s %10s\n", "figure (times in s)", "A", "B", "B / A");
  for (const auto& [name, value] : a.figures) {
    if (const auto other = b.figures.find(name); other != b.figures.end()) {
      comparison.table += Row(name, value, other->second);
    }
  }
  for (const Gate& gate : gates) {
    absl::Status known = CheckKnown(gate, b.figures, "B");
    if (gate.is_relative) known.Update(CheckKnown(gate, a.figures, "A"));
    if (!known.ok()) return known;
    const double bound = BoundOf(gate, a.figures);
    const double found = b.figures.at(gate.figure);
    const bool holds = gate.is_upper ? found <= bound : found >= bound;
    comparison.holds = comparison.holds && holds;
    comparison.table += absl::StrFormat("gate %s %s %s: expected at %s %s, found %s\n", gate.figure,
                                        gate.is_relative ? NumberText(gate.bound) + "x" : NumberText(gate.bound),
                                        holds ? "holds" : "FAILED", gate.is_upper ? "most" : "least", NumberText(bound),
                                        NumberText(found));
  }
  return comparison;
}

}  // namespace latentd
