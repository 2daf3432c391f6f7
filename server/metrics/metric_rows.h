// The vocabulary of the catalog's rows. A source is where a row's series come from: its labels and the function
// that reads them, made together so that a list of label values of another length than what is read does not compile.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "server/api/causes.h"
#include "server/metrics/label_names.h"
#include "server/metrics/metric_descriptor.h"

namespace latentd {

using MetricRows = std::vector<MetricDescriptor>;

struct MetricSource {
  std::vector<LabelDescriptor> labels;
  std::function<std::vector<Series>(const Scrape&)> read;
};

struct MetricName {
  MetricKind kind;
  const char* name;
  const char* unit;
};

inline void AddRow(const MetricName& name, const char* help, MetricSource source, MetricRows& rows) {
  rows.push_back({.name = name.name,
                  .kind = name.kind,
                  .unit = name.unit,
                  .help = help,
                  .labels = std::move(source.labels),
                  .read = std::move(source.read)});
}

// `get` is a member of MetricsData or a function of the scrape.
template <class Get>
decltype(auto) Read(const Get& get, const Scrape& scrape) {
  if constexpr (std::is_member_object_pointer_v<Get>) {
    return (scrape.data.*get);
  } else {
    return get(scrape);
  }
}

template <class Number>
Series MakeSeries(std::vector<std::pair<std::string, std::string>> labels, const Number& value) {
  return {.labels = std::move(labels), .value = static_cast<double>(value)};
}
inline Series MakeSeries(std::vector<std::pair<std::string, std::string>> labels, const Histogram& histogram) {
  return {.labels = std::move(labels), .histogram = &histogram};
}

// One series without labels.
template <class Get>
MetricSource One(Get get) {
  return {.labels = {},
          .read = [get](const Scrape& scrape) { return std::vector<Series>{MakeSeries({}, Read(get, scrape))}; }};
}

// One series for each of the label's `kCount` names, in the order of what `get` reads, which is an array.
template <size_t kCount, class Get>
MetricSource ByNames(const char* label, const std::vector<std::string>& names, Get get) {
  using Found = decltype(Read(get, std::declval<const Scrape&>()));
  static_assert(std::tuple_size_v<std::remove_cvref_t<Found>> == kCount);
  using Element = std::remove_cvref_t<decltype(std::declval<Found>()[0])>;
  static_assert(!std::is_same_v<Element, Histogram> || std::is_lvalue_reference_v<Found>, "series point to it");
  return {.labels = {{label, names}}, .read = [label, names, get](const Scrape& scrape) {
            const auto& found = Read(get, scrape);
            std::vector<Series> all;
            for (size_t i = 0; i < kCount; ++i) all.push_back(MakeSeries({{label, names[i]}}, found[i]));
            return all;
          }};
}

template <size_t kCount, class Get>
MetricSource By(const char* label, const char* const (&values)[kCount], Get get) {
  return ByNames<kCount>(label, {values, values + kCount}, get);
}

// The same for what is counted by an enum.
template <class Enum, size_t kCount, class Get>
MetricSource By(const char* label, const LabelName<Enum> (&values)[kCount], Get get) {
  std::vector<std::string> names;
  for (const LabelName<Enum>& value : values) names.emplace_back(value.name);
  return ByNames<kCount>(label, names, get);
}

// One series for each reason of a list from server/api/outcomes.h.
template <class Get>
MetricSource ByReason(const char* label, const std::vector<std::string>& reasons, Get get) {
  return {.labels = {{label, reasons}}, .read = [label, &reasons, get](const Scrape& scrape) {
            std::vector<Series> all;
            for (const std::string& reason : reasons) {
              all.push_back(MakeSeries({{label, reason}}, get(scrape.data, reason)));
            }
            return all;
          }};
}

// "-8" to "8".
const std::vector<std::string>& PriorityNames();

// RPCs of all methods that ended so.
uint64_t FinishedFor(Cause cause, const MetricsData& data);

// The rows, group by group.
void AddRequestRows(MetricRows& rows);
void AddEngineRows(MetricRows& rows);
void AddProcessRows(MetricRows& rows);
void AddVllmRows(MetricRows& rows);

}  // namespace latentd
