// Filters that go through a sequence. Where Jinja returns a generator, these return a list.
#include <algorithm>
#include <iterator>
#include <utility>

#include "jinja/access.h"
#include "jinja/arithmetic.h"
#include "jinja/attribute_path.h"
#include "jinja/code_points.h"
#include "jinja/comparison.h"
#include "jinja/filters.h"
#include "jinja/methods.h"
#include "jinja/parameters.h"
#include "jinja/printing.h"
#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

enum class Case { kSensitive, kIgnored };

Case CaseOf(bool sensitive) { return sensitive ? Case::kSensitive : Case::kIgnored; }

Value SortKey(Runtime& runtime, const Value& value, Case sensitivity) {
  if (sensitivity == Case::kSensitive || !value.is_text()) return value;
  return runtime.Text(ToLower(value.text()));
}

Value FirstFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "first", arguments, {});
  if (value.is_iterable() && value.iterable().kind == IterableKind::kGenerator) {
    Iterable& generator = value.iterable();
    if (!runtime.Resume(generator)) return Value();
    if (generator.next < generator.items.size()) return generator.items[generator.next++];
  }
  const std::vector<Value> items = Iterate(runtime, value);
  return items.empty() ? Value::Undefined("No first item, sequence was empty.") : items.front();
}

Value LastFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "last", arguments, {});
  if (value.is_iterable() && value.iterable().kind == IterableKind::kGenerator) {
    return runtime.Fail("last needs a sequence, found a generator; make it a list");
  }
  const std::vector<Value> items = Iterate(runtime, value);
  return items.empty() ? Value::Undefined("No last item, sequence was empty.") : items.back();
}

Value ListFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "list", arguments, {});
  return runtime.List(Iterate(runtime, value));
}

Value ReverseFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "reverse", arguments, {});
  if (value.is_text()) return GetSlice(runtime, value, Value::None(), Value::None(), Value::Integer(-1));
  std::vector<Value> items = Iterate(runtime, value);
  std::reverse(items.begin(), items.end());
  // Python has no way back through a generator, so that Jinja makes a list of it.
  const bool was_generator = value.is_iterable() && value.iterable().kind == IterableKind::kGenerator;
  return was_generator ? runtime.List(std::move(items)) : runtime.Generator(std::move(items));
}

Value JoinFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "join", arguments, {"d", "attribute"});
  TracedText separator;
  AppendText(runtime, parameters.Get(0, Value::Text("")), &separator);
  const AttributePath path(runtime, parameters.Get(1));
  TracedText joined;
  bool first = true;
  for (const Value& item : Iterate(runtime, value)) {
    const size_t size = joined.text.size();
    if (!first) joined.Append(separator);
    AppendText(runtime, path.Follow(item), &joined);
    first = false;
    if (!runtime.SpendBytes(joined.text.size() - size)) return Value();
    if (joined.text.size() > runtime.limits().text_bytes) break;
  }
  return runtime.Text(std::move(joined));
}

Value ItemsFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "items", arguments, {});
  if (value.is_undefined()) return runtime.Generator({});
  if (!value.is_object()) return runtime.Fail("items needs a dict, found " + std::string(TypeName(value)));
  return runtime.Generator(Iterate(runtime, FindObjectMethod("items")(runtime, value, {})));
}

// A sort that survives comparisons that fail halfway: std::sort may not see an order that changes.
void Sort(Runtime& runtime, std::vector<std::pair<Value, Value>>* keyed, bool reverse) {
  const auto before = [&](const auto& a, const auto& b) {
    if (runtime.failed()) return false;
    return reverse ? Compare(runtime, b.first, a.first) < 0 : Compare(runtime, a.first, b.first) < 0;
  };
  // Merging by hand keeps within bounds whatever `before` answers.
  std::vector<std::pair<Value, Value>> merged(keyed->size());
  for (size_t width = 1; width < keyed->size(); width *= 2) {
    for (size_t start = 0; start < keyed->size(); start += 2 * width) {
      const size_t middle = std::min(start + width, keyed->size());
      const size_t end = std::min(start + 2 * width, keyed->size());
      size_t left = start;
      size_t right = middle;
      for (size_t i = start; i < end; ++i) {
        const bool take_right = left == middle || (right < end && before((*keyed)[right], (*keyed)[left]));
        merged[i] = std::move((*keyed)[take_right ? right++ : left++]);
      }
    }
    keyed->swap(merged);
  }
}

std::vector<Value> Sorted(Runtime& runtime, std::vector<std::pair<Value, Value>> keyed, bool reverse) {
  Sort(runtime, &keyed, reverse);
  std::vector<Value> items;
  for (auto& [key, item] : keyed) items.push_back(std::move(item));
  return items;
}

// The keys of `item` along one or several paths. As a tuple even when there is one: equal keys need no order then.
Value PathKey(Runtime& runtime, const std::vector<AttributePath>& paths, const Value& item, Case sensitivity) {
  std::vector<Value> keys;
  for (const AttributePath& path : paths) keys.push_back(SortKey(runtime, path.Follow(item), sensitivity));
  return runtime.Tuple(std::move(keys));
}

Value SortFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const Case sensitivity = CaseOf(parameters.Truth(1, false));
  const bool is_reversed = parameters.Integer(0, 0) != 0;
  std::vector<AttributePath> paths;
  const Value attribute = parameters.Get(2);
  if (attribute.is_text()) {
    const Value parts = FindTextMethod("split")(runtime, attribute, {.positional = {Value::Text(",")}, .named = {}});
    for (const Value& part : Iterate(runtime, parts)) paths.emplace_back(runtime, part);
  } else {
    paths.emplace_back(runtime, attribute);
  }
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : Iterate(runtime, value))
    keyed.emplace_back(PathKey(runtime, paths, item, sensitivity), item);
  return runtime.List(Sorted(runtime, std::move(keyed), is_reversed));
}

Value DictSortFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const Case sensitivity = CaseOf(parameters.Truth(0, false));
  const std::string by = parameters.Text(1, "key");
  if (by != "key" && by != "value") return runtime.Fail("dictsort sorts by key or value, found " + by);
  if (!value.is_object()) return runtime.Fail("dictsort needs a dict, found " + std::string(TypeName(value)));
  std::vector<std::pair<Value, Value>> keyed;
  for (const Object::Entry& entry : value.object().entries()) {
    keyed.emplace_back(SortKey(runtime, by == "key" ? entry.key : entry.value, sensitivity),
                       runtime.Tuple({entry.key, entry.value}));
  }
  return runtime.List(Sorted(runtime, std::move(keyed), parameters.Integer(2, 0) != 0));
}

Value UniqueFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "unique", arguments, {"case_sensitive", "attribute"});
  const Case sensitivity = CaseOf(parameters.Truth(0, false));
  const AttributePath path(runtime, parameters.Get(1));
  Object seen;
  std::vector<Value> items;
  for (const Value& item : Iterate(runtime, value)) {
    const size_t before = seen.size();
    if (!seen.Set(SortKey(runtime, path.Follow(item), sensitivity), Value::None())) {
      return runtime.FailKey(path.Follow(item));
    }
    if (seen.size() > before) items.push_back(item);
  }
  return runtime.Generator(std::move(items));
}

enum class Extreme { kMin, kMax };

Value ExtremeOf(Runtime& runtime, const Value& value, const Arguments& arguments, Extreme extreme) {
  const Parameters parameters(runtime, "min and max", arguments, {"case_sensitive", "attribute"});
  const Case sensitivity = CaseOf(parameters.Truth(0, false));
  const AttributePath path(runtime, parameters.Get(1));
  const std::vector<Value> items = Iterate(runtime, value);
  if (items.empty()) return Value::Undefined("No aggregated item, sequence was empty.");
  const Value* best = &items.front();
  Value best_key = SortKey(runtime, path.Follow(*best), sensitivity);
  for (size_t i = 1; i < items.size() && !runtime.failed(); ++i) {
    const Value key = SortKey(runtime, path.Follow(items[i]), sensitivity);
    const int order = Compare(runtime, key, best_key);
    if (extreme == Extreme::kMin ? order >= 0 : order <= 0) continue;
    best = &items[i];
    best_key = key;
  }
  return *best;
}

Value MinFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return ExtremeOf(runtime, value, arguments, Extreme::kMin);
}

Value MaxFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return ExtremeOf(runtime, value, arguments, Extreme::kMax);
}

Value SumFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "sum", arguments, {"attribute", "start"});
  const AttributePath path(runtime, parameters.Get(0));
  Value sum = parameters.Get(1, Value::Integer(0));
  if (sum.is_text() || (sum.is_iterable() && sum.iterable().kind == IterableKind::kBytes))
    return runtime.Fail("sum does not add strings; use join");
  for (const Value& item : Iterate(runtime, value)) sum = Calculate(runtime, "+", sum, path.Follow(item));
  return sum;
}

Value BatchFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "batch", arguments, {"linecount", "fill_with"}, 1);
  const int64_t size = parameters.Integer(0, 1);
  if (size < 1) return runtime.FailNotImplemented("batch of less than one item");
  std::vector<Value> batches;
  std::vector<Value> batch;
  for (const Value& item : Iterate(runtime, value)) {
    batch.push_back(item);
    if (static_cast<int64_t>(batch.size()) == size) batches.push_back(runtime.List(std::exchange(batch, {})));
  }
  if (!batch.empty()) {
    const Value fill = parameters.Get(1);
    while (!fill.is_none() && static_cast<int64_t>(batch.size()) < size && runtime.Spend(8)) batch.push_back(fill);
    batches.push_back(runtime.List(std::move(batch)));
  }
  return runtime.Generator(std::move(batches));
}

Value SliceFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Parameters parameters(runtime, "slice", arguments, {"slices", "fill_with"}, 1);
  const int64_t num_slices = parameters.Integer(0, 1);
  if (num_slices < 0) return runtime.FailNotImplemented("slice into less than none");
  if (num_slices < 1) return runtime.Fail("slice needs a positive number of slices");
  const std::vector<Value> items = Iterate(runtime, value);
  const auto length = static_cast<int64_t>(items.size());
  const int64_t longer = length % num_slices;  // so many slices have one more item
  std::vector<Value> slices;
  auto next = items.begin();
  for (int64_t i = 0; i < num_slices && runtime.Spend(8); ++i) {
    std::vector<Value> slice(next, next + length / num_slices + (i < longer ? 1 : 0));
    next += static_cast<std::ptrdiff_t>(slice.size());
    if (!parameters.Get(1).is_none() && i >= longer) slice.push_back(parameters.Get(1));
    slices.push_back(runtime.List(std::move(slice)));
  }
  return runtime.Generator(std::move(slices));
}

template <Function kFilter>
Value Lazy(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return runtime.Lazily(kFilter, value, arguments);
}

constexpr std::pair<std::string_view, Function> kFilters[] = {
    {"batch", Lazy<BatchFilter>}, {"dictsort", DictSortFilter},
    {"first", FirstFilter},       {"items", Lazy<ItemsFilter>},
    {"join", JoinFilter},         {"last", LastFilter},
    {"list", ListFilter},         {"max", MaxFilter},
    {"min", MinFilter},           {"reverse", ReverseFilter},
    {"slice", Lazy<SliceFilter>}, {"sort", SortFilter},
    {"sum", SumFilter},           {"unique", Lazy<UniqueFilter>},
};

}  // namespace

std::vector<Value> SortedByKey(Runtime& runtime, std::vector<std::pair<Value, Value>> keyed) {
  return Sorted(runtime, std::move(keyed), false);
}

Function FindSequenceFilter(std::string_view name) {
  const auto filter =
      std::find_if(std::begin(kFilters), std::end(kFilters), [&](const auto& entry) { return entry.first == name; });
  return filter == std::end(kFilters) ? nullptr : filter->second;
}

}  // namespace latentd::jinja
