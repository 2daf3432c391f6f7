// `bench compare`: two written reports as one table.
#include <algorithm>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <nlohmann/json.hpp>

#include "base/quoting.h"
#include "tests/bench/report.h"

namespace latentd {
namespace {

using Json = nlohmann::ordered_json;

struct Measured {
  std::string name;  // threads included
  double seconds = 0.0;
  double fraction = 0.0;
  std::string roof;
};

struct WrittenReport {
  std::string head;
  std::vector<Measured> figures;

  const Measured* Find(const std::string& name) const {
    const auto has_name = [&](const Measured& figure) { return figure.name == name; };
    const auto found = std::find_if(figures.begin(), figures.end(), has_name);
    return found == figures.end() ? nullptr : &*found;
  }
};

WrittenReport Parsed(const Json& json) {
  const Json& machine = json.at("machine");
  const Json& commit = json.at("commit");
  WrittenReport report;
  report.head = absl::StrFormat("%s, %d processors, %s, commit %s", machine.at("cpu").get<std::string>(),
                                machine.at("processors").get<int>(), machine.at("instruction_set").get<std::string>(),
                                commit.is_null() ? std::string("unknown") : commit.get<std::string>());
  for (const Json& figure : json.at("figures")) {
    report.figures.push_back({.name = absl::StrFormat("%s, %d threads", figure.at("name").get<std::string>(),
                                                      figure.at("threads").get<int>()),
                              .seconds = figure.at("seconds").get<double>(),
                              .fraction = figure.at("fraction").get<double>(),
                              .roof = figure.at("roof").get<std::string>()});
  }
  return report;
}

absl::StatusOr<WrittenReport> ReadReport(const std::string& path) {
  std::ifstream file(path);
  const Json json = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  try {
    return Parsed(json);
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected a report of the bench, found %s", Quoted(path), error.what()));
  }
}

// How much faster, as the rate changes.
std::string Line(const Measured& before, const Measured& after) {
  return absl::StrFormat("%-62s %11.1f %11.1f %+7.1f %%   %5.1f -> %5.1f %% of %s\n", after.name, before.seconds * 1e6,
                         after.seconds * 1e6, 100.0 * (before.seconds / after.seconds - 1.0), 100.0 * before.fraction,
                         100.0 * after.fraction, after.roof);
}

void AppendLacking(const WrittenReport& of, const WrittenReport& in, const std::string& which, std::string& table) {
  for (const Measured& figure : of.figures) {
    if (in.Find(figure.name) == nullptr) absl::StrAppend(&table, "only in ", which, ": ", figure.name, "\n");
  }
}

}  // namespace

absl::StatusOr<std::string> CompareReports(const std::string& before_path, const std::string& after_path) {
  const absl::StatusOr<WrittenReport> before = ReadReport(before_path);
  if (!before.ok()) return before.status();
  const absl::StatusOr<WrittenReport> after = ReadReport(after_path);
  if (!after.ok()) return after.status();
  std::string table = absl::StrCat("before: ", before->head, "\nafter:  ", after->head, "\n");
  absl::StrAppendFormat(&table, "%-62s %11s %11s %9s\n", "", "before us", "after us", "rate");
  for (const Measured& figure : after->figures) {
    if (const Measured* old = before->Find(figure.name)) table += Line(*old, figure);
  }
  AppendLacking(*before, *after, "before", table);
  AppendLacking(*after, *before, "after", table);
  return table;
}

}  // namespace latentd
