// Methods of lists, dicts and loops.
#include <algorithm>
#include <iterator>
#include <utility>

#include "jinja/comparison.h"
#include "jinja/methods.h"
#include "jinja/parameters.h"
#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

using Method = std::pair<std::string_view, Function>;

template <size_t kSize>
Function Lookup(const Method (&methods)[kSize], std::string_view name) {
  const auto method =
      std::find_if(std::begin(methods), std::end(methods), [&](const Method& entry) { return entry.first == name; });
  return method == std::end(methods) ? nullptr : method->second;
}

template <size_t kSize>
bool Includes(const std::string_view (&names)[kSize], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

Value ListIndex(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Parameters parameters(runtime, "index", arguments, {"value", "start", "stop"}, 1);
  if (parameters.given(1)) return runtime.FailNotImplemented("index with a start");
  const Value wanted = parameters.Get(0);
  for (size_t i = 0; i < receiver.items().size(); ++i) {
    if (Equal(runtime, receiver.items()[i], wanted)) return Value::Integer(static_cast<int64_t>(i));
  }
  return runtime.Fail("the value is not in the list");
}

Value ListCount(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Value wanted = Parameters(runtime, "count", arguments, {"value"}, 1).Get(0);
  return Value::Integer(std::count_if(receiver.items().begin(), receiver.items().end(),
                                      [&](const Value& item) { return Equal(runtime, item, wanted); }));
}

Value ListCopy(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Parameters parameters(runtime, "copy", arguments, {});
  return runtime.List(receiver.items());
}

// Objects never change, so a copy is the object itself.
Value ObjectCopy(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Parameters parameters(runtime, "copy", arguments, {});
  return receiver;
}

// Scalars only: a list in a list could contain itself.
Value ListAppend(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Value item = Parameters(runtime, "append", arguments, {"object"}, 1).Get(0);
  if (item.depth() > 0) return runtime.Fail("append takes text and numbers here, found " + std::string(TypeName(item)));
  if (runtime.Spend(sizeof(Value))) receiver.growing_items().push_back(item);
  return Value::None();
}

Value ListPop(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const int64_t index = Parameters(runtime, "pop", arguments, {"index"}).Integer(0, -1);
  std::vector<Value>& items = receiver.growing_items();
  const auto size = static_cast<int64_t>(items.size());
  if (!runtime.Spend(items.size())) return Value();
  if (index < -size || index >= size) return runtime.Fail("pop needs an index within the list");
  const auto popped = items.begin() + (index < 0 ? index + size : index);
  Value item = *popped;
  items.erase(popped);
  return item;
}

Value ObjectGet(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Parameters parameters(runtime, "get", arguments, {"key", "default"}, 1);
  if (!HashKey(parameters.Get(0))) return runtime.FailKey(parameters.Get(0));
  const Value* found = receiver.object().Find(parameters.Get(0));
  return found == nullptr ? parameters.Get(1) : *found;
}

// Python's views are lazy; dicts never change here.
Value ObjectItems(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Parameters parameters(runtime, "a view", arguments, {});
  std::vector<Value> items;
  for (const Object::Entry& entry : receiver.object().entries()) {
    items.push_back(runtime.Tuple({entry.key, entry.value}));
  }
  return runtime.MakeIterable({.kind = IterableKind::kItems, .items = std::move(items)});
}

Value ObjectKeys(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Parameters parameters(runtime, "a view", arguments, {});
  std::vector<Value> keys;
  for (const Object::Entry& entry : receiver.object().entries()) keys.push_back(entry.key);
  return runtime.MakeIterable({.kind = IterableKind::kKeys, .items = std::move(keys)});
}

Value ObjectValues(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  const Parameters parameters(runtime, "a view", arguments, {});
  std::vector<Value> values;
  for (const Object::Entry& entry : receiver.object().entries()) values.push_back(entry.value);
  return runtime.MakeIterable({.kind = IterableKind::kValues, .items = std::move(values)});
}

Value LoopCycle(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  if (arguments.positional.empty()) return runtime.Fail("cycle needs at least one value");
  return arguments.positional[receiver.loop().index % arguments.positional.size()];
}

Value LoopChanged(Runtime& runtime, const Value& receiver, const Arguments& arguments) {
  Loop& loop = receiver.loop();
  const Value now = runtime.Tuple(arguments.positional);
  const bool changed = !loop.has_changed_value || !Equal(runtime, loop.changed_value, now);
  loop.has_changed_value = true;
  loop.changed_value = now;
  return Value::Bool(changed);
}

constexpr Method kListMethods[] = {{"copy", ListCopy}, {"count", ListCount}, {"index", ListIndex}};
constexpr Method kObjectMethods[] = {
    {"copy", ObjectCopy}, {"get", ObjectGet}, {"items", ObjectItems}, {"keys", ObjectKeys}, {"values", ObjectValues}};
constexpr Method kGrowingListMethods[] = {{"append", ListAppend}, {"pop", ListPop}};
constexpr Method kLoopMethods[] = {{"changed", LoopChanged}, {"cycle", LoopCycle}};
constexpr std::string_view kForbiddenListMethods[] = {"append", "clear",  "extend",  "insert",
                                                      "pop",    "remove", "reverse", "sort"};
constexpr std::string_view kForbiddenObjectMethods[] = {"clear", "pop", "popitem", "setdefault", "update"};

constexpr std::string_view kMissingOfIntegers[] = {"as_integer_ratio", "bit_count",  "bit_length", "conjugate",
                                                   "denominator",      "from_bytes", "imag",       "is_integer",
                                                   "numerator",        "real",       "to_bytes"};
constexpr std::string_view kMissingOfFloats[] = {"as_integer_ratio", "conjugate", "fromhex", "hex", "imag",
                                                 "is_integer",       "real"};
constexpr std::string_view kMissingOfTexts[] = {"format_map", "isidentifier", "maketrans", "translate"};
constexpr std::string_view kMissingOfMarkup[] = {"escape", "striptags", "unescape"};
constexpr std::string_view kMissingOfGenerators[] = {"close", "send", "throw"};

}  // namespace

Function FindListMethod(std::string_view name) { return Lookup(kListMethods, name); }
Function FindGrowingListMethod(std::string_view name) { return Lookup(kGrowingListMethods, name); }
Function FindObjectMethod(std::string_view name) { return Lookup(kObjectMethods, name); }
Function FindLoopMethod(std::string_view name) { return Lookup(kLoopMethods, name); }
bool IsMissingAttribute(const Value& value, std::string_view name) {
  switch (value.type()) {
    case Type::kBool:
    case Type::kInteger:
    case Type::kBigInteger:
      return Includes(kMissingOfIntegers, name);
    case Type::kFloat:
      return Includes(kMissingOfFloats, name);
    case Type::kText:
      return Includes(kMissingOfTexts, name) || (value.is_markup() && Includes(kMissingOfMarkup, name));
    case Type::kObject:
      return name == "fromkeys";
    case Type::kIterable:
      return value.iterable().kind == IterableKind::kGenerator ? Includes(kMissingOfGenerators, name)
                                                               : !name.starts_with("_");
    case Type::kCallable:
      if (value.callable().macro != nullptr) return name == "explicit_caller";
      return (value.callable().receiver.is_undefined() || value.callable().receiver.type() == Type::kNamespace) &&
             !name.starts_with("_");
    default:
      return false;
  }
}

bool IsForbiddenListMethod(std::string_view name) { return Includes(kForbiddenListMethods, name); }
bool IsForbiddenObjectMethod(std::string_view name) { return Includes(kForbiddenObjectMethods, name); }

}  // namespace latentd::jinja
