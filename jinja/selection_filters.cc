// Filters that apply another filter or a test to each element: map, select, reject, groupby.
#include <algorithm>
#include <iterator>
#include <utility>

#include "jinja/access.h"
#include "jinja/attribute_path.h"
#include "jinja/code_points.h"
#include "jinja/comparison.h"
#include "jinja/filters.h"
#include "jinja/parameters.h"
#include "jinja/predicates.h"
#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

const Value* FindNamed(const Arguments& arguments, std::string_view name) {
  for (const auto& [argument, value] : arguments.named) {
    if (argument == name) return &value;
  }
  return nullptr;
}

// The arguments behind the first `count`.
Arguments Rest(const Arguments& arguments, size_t count) {
  const auto first = arguments.positional.begin() + static_cast<std::ptrdiff_t>(count);
  return {.positional = std::vector<Value>(first, arguments.positional.end()), .named = arguments.named};
}

Value MapAttribute(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "map", arguments, {"attribute", "default"});
  const AttributePath path(runtime, parameters.Get(0));
  std::optional<Value> otherwise;
  if (!parameters.Get(1).is_none()) otherwise = parameters.Get(1);
  std::vector<Value> mapped;
  for (const Value& item : Iterate(runtime, value)) {
    if (runtime.failed()) return Value();
    mapped.push_back(path.Follow(item, otherwise));
  }
  return runtime.Generator(std::move(mapped));
}

Value MapFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  if (!IsTrue(value)) return runtime.Generator({});
  if (arguments.positional.empty() && FindNamed(arguments, "attribute") != nullptr) {
    return MapAttribute(runtime, value, arguments);
  }
  if (arguments.positional.empty() || !arguments.positional.front().is_text()) {
    return runtime.Fail("map needs the name of a filter or an attribute");
  }
  const std::string& name = arguments.positional.front().text();
  const Function filter = FindFilter(name);
  if (IsFilterOfJinja(name)) return runtime.FailNotImplemented("the filter '" + name + "'");
  if (filter == nullptr) return runtime.Fail("there is no filter named '" + name + "'");
  const Arguments rest = Rest(arguments, 1);
  std::vector<Value> mapped;
  for (const Value& item : Iterate(runtime, value)) {
    if (!runtime.Spend(1)) return Value();
    mapped.push_back(filter(runtime, item, rest));
  }
  return runtime.Generator(std::move(mapped));
}

enum class Keep { kMatches, kOthers };
enum class Look { kAtItem, kAtAttribute };

Value Select(Runtime& runtime, const Value& value, const Arguments& arguments, Keep keep, Look look) {
  if (!IsTrue(value)) return runtime.Generator({});
  const size_t test_position = look == Look::kAtAttribute ? 1 : 0;
  const std::vector<Value>& positional = arguments.positional;
  if (positional.size() < test_position) return runtime.Fail("expected the name of an attribute");
  const AttributePath path(runtime, look == Look::kAtAttribute ? positional.front() : Value::None());
  Function test = nullptr;
  Arguments rest;
  if (positional.size() > test_position) {
    const Value& name = positional[test_position];
    test = name.is_text() ? FindTest(name.text()) : nullptr;
    if (test == nullptr)
      return runtime.Fail("there is no test named '" + ToLower(name.is_text() ? name.text() : "") + "'");
    rest = Rest(arguments, test_position + 1);
  }
  std::vector<Value> kept;
  for (const Value& item : Iterate(runtime, value)) {
    if (!runtime.Spend(1)) return Value();
    const Value looked_at = path.Follow(item);
    const bool matches = IsTrue(test == nullptr ? looked_at : test(runtime, looked_at, rest));
    if (matches == (keep == Keep::kMatches)) kept.push_back(item);
  }
  return runtime.Generator(std::move(kept));
}

Value SelectFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return Select(runtime, value, arguments, Keep::kMatches, Look::kAtItem);
}

Value RejectFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return Select(runtime, value, arguments, Keep::kOthers, Look::kAtItem);
}

Value SelectAttrFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return Select(runtime, value, arguments, Keep::kMatches, Look::kAtAttribute);
}

Value RejectAttrFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return Select(runtime, value, arguments, Keep::kOthers, Look::kAtAttribute);
}

Value GroupByFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  const AttributePath path(runtime, parameters.Get(0));
  std::optional<Value> otherwise;
  if (!parameters.Get(1).is_none()) otherwise = parameters.Get(1);
  const bool ignores_case = !parameters.Truth(2, false);
  const auto key_of = [&](const Value& item) {
    const Value key = path.Follow(item, otherwise);
    return ignores_case && key.is_text() ? runtime.Text(ToLower(key.text())) : key;
  };
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : Iterate(runtime, value)) {
    const Value key = key_of(item);
    keyed.emplace_back(key, runtime.Tuple({key, item}));
  }
  const std::vector<Value> ordered = SortedByKey(runtime, std::move(keyed));
  std::vector<Value> groups;
  std::vector<Value> group;
  for (size_t i = 0; i < ordered.size() && !runtime.failed(); ++i) {
    group.push_back(ordered[i].items()[1]);
    const bool ends = i + 1 == ordered.size() || !Equal(runtime, ordered[i].items()[0], ordered[i + 1].items()[0]);
    if (!ends) continue;
    // The group is named as its first element writes the key.
    const Value name = path.Follow(group.front(), otherwise);
    groups.push_back(Value::MakeGroup(name, runtime.List(std::exchange(group, {}))));
  }
  return runtime.List(std::move(groups));
}

template <Function kFilter>
Value Lazy(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return runtime.Lazily(kFilter, value, arguments);
}

constexpr std::pair<std::string_view, Function> kFilters[] = {
    {"groupby", GroupByFilter},     {"map", Lazy<MapFilter>},
    {"reject", Lazy<RejectFilter>}, {"rejectattr", Lazy<RejectAttrFilter>},
    {"select", Lazy<SelectFilter>}, {"selectattr", Lazy<SelectAttrFilter>},
};

}  // namespace

Function FindSelectionFilter(std::string_view name) {
  const auto filter =
      std::find_if(std::begin(kFilters), std::end(kFilters), [&](const auto& entry) { return entry.first == name; });
  return filter == std::end(kFilters) ? nullptr : filter->second;
}

}  // namespace latentd::jinja
