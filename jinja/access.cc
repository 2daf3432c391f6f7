#include "jinja/access.h"

#include <algorithm>
#include <optional>

#include <absl/strings/str_format.h>

#include "jinja/ast.h"
#include "jinja/code_points.h"
#include "jinja/methods.h"
#include "jinja/printing.h"
#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

std::optional<size_t> Position(int64_t index, size_t size) {
  const auto length = static_cast<int64_t>(size);
  if (index < -length || index >= length) return std::nullopt;
  return static_cast<size_t>(index < 0 ? index + length : index);
}

bool HasIndices(const Iterable& iterable) {
  return iterable.kind == IterableKind::kRange || iterable.kind == IterableKind::kBytes;
}

std::optional<Value> FindItem(Runtime& runtime, const Value& value, const Value& key) {
  if (value.is_object()) {
    const Value* found = value.object().Find(key);
    return found == nullptr ? std::nullopt : std::optional(*found);
  }
  if (!key.is_integral()) return std::nullopt;
  if (value.is_list()) {
    const std::optional<size_t> position = Position(key.integral(), value.items().size());
    return position ? std::optional(value.items()[*position]) : std::nullopt;
  }
  if (value.is_iterable() && HasIndices(value.iterable())) {
    const std::vector<Value>& items = value.iterable().items;
    const std::optional<size_t> position = Position(key.integral(), items.size());
    return position ? std::optional(items[*position]) : std::nullopt;
  }
  if (value.is_markup()) return runtime.FailNotImplemented("an item of what is marked safe");
  if (value.is_text()) {
    const std::string& text = value.text();
    runtime.SpendBytes(text.size());
    const std::optional<size_t> position = Position(key.integral(), CountCodePoints(text));
    if (!position) return std::nullopt;
    const size_t start = ByteOffset(text, *position);
    const std::string_view rest = std::string_view(text).substr(start);
    return runtime.Part(value, rest.substr(0, ByteOffset(rest, 1)));
  }
  return std::nullopt;
}

Value LoopAttribute(Runtime& runtime, const Loop& loop, std::string_view name) {
  const auto index = static_cast<int64_t>(loop.index);
  const auto size = static_cast<int64_t>(loop.items().size());
  if (name == "index") return Value::Integer(index + 1);
  if (name == "index0") return Value::Integer(index);
  if (name == "first") return Value::Bool(index == 0);
  if (name == "last") return Value::Bool(index + 1 == size);
  if (name == "length") return Value::Integer(size);
  if (name == "revindex") return Value::Integer(size - index);
  if (name == "revindex0") return Value::Integer(size - index - 1);
  if (name == "depth") return Value::Integer(loop.depth0 + 1);
  if (name == "depth0") return Value::Integer(loop.depth0);
  if (name == "previtem")
    return index == 0 ? Value::Undefined("there is no previous item") : loop.items()[loop.index - 1];
  if (name == "nextitem") {
    return index + 1 == size ? Value::Undefined("there is no next item") : loop.items()[loop.index + 1];
  }
  return runtime.failed() ? Value() : Value::Undefined(absl::StrFormat("'loop' has no attribute '%s'", name));
}

// A method of the value, or why it may not be used; nothing when there is none of this name.
std::optional<Value> FindMethod(Runtime& runtime, const Value& value, std::string_view name) {
  Function function = nullptr;
  bool forbidden = name.starts_with("__") && name.ends_with("__");
  switch (value.type()) {
    case Type::kText:
      function = FindTextMethod(name);
      break;
    case Type::kList:
      function = FindListMethod(name);
      if (function == nullptr && value.can_grow()) function = FindGrowingListMethod(name);
      forbidden |= !value.is_tuple() && IsForbiddenListMethod(name);
      break;
    case Type::kObject:
      function = FindObjectMethod(name);
      forbidden |= IsForbiddenObjectMethod(name);
      break;
    case Type::kLoop:
      function = FindLoopMethod(name);
      break;
    default:
      break;
  }
  const bool computes_with_markup = function != nullptr && value.is_markup();
  if (computes_with_markup || (function == nullptr && !forbidden && IsMissingAttribute(value, name))) {
    return runtime.FailNotImplemented(absl::StrFormat("attribute '%s' of %s", name, TypeName(value)));
  }
  if (function != nullptr)
    return Value::MakeCallable({.name = std::string(name), .receiver = value, .function = function});
  if (!forbidden) return std::nullopt;
  return Value::Undefined(absl::StrFormat("access to attribute '%s' of '%s' object is unsafe.", name, TypeName(value)));
}

Value Missing(const Value& value, std::string_view name) {
  return Value::Undefined(absl::StrFormat("'%s object' has no attribute '%s'", TypeName(value), name));
}

std::optional<Value> FindMacroAttribute(const Macro& macro, std::string_view name) {
  if (name == "name") return macro.is_caller ? Value::None() : Value::Text(macro.name);
  if (name == "catch_kwargs") return Value::Bool(macro.uses_kwargs);
  if (name == "catch_varargs") return Value::Bool(macro.uses_varargs);
  if (name == "caller") return Value::Bool(macro.uses_caller);
  if (name != "arguments") return std::nullopt;
  std::vector<Value> names;
  for (const Parameter& parameter : macro.parameters) names.push_back(Value::Text(parameter.name));
  return Value::MakeTuple(std::move(names));
}

// The rest of a generator, which is used up then; all items of other values.
std::vector<Value> TakeItems(Iterable& iterable) {
  if (iterable.kind != IterableKind::kGenerator) return iterable.items;
  const auto first = iterable.items.begin() + static_cast<std::ptrdiff_t>(iterable.next);
  iterable.next = iterable.items.size();
  iterable.is_spent = true;
  return {first, iterable.items.end()};
}

std::optional<Value> FindNamespaceItem(const Value& value, std::string_view name) {
  if (value.type() != Type::kNamespace) return std::nullopt;
  const Value* found = value.attributes().Find(name);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

// The attributes that Python's getattr finds: methods, the names of a group's two items, what namespaces, loops and
// macros hold.
std::optional<Value> FindAttribute(Runtime& runtime, const Value& value, std::string_view name) {
  if (value.is_group() && name == "grouper") return value.items()[0];
  if (value.is_group() && name == "list") return value.items()[1];
  if (std::optional<Value> item = FindNamespaceItem(value, name)) return item;
  if (std::optional<Value> method = FindMethod(runtime, value, name)) return method;
  if (value.type() == Type::kLoop) return LoopAttribute(runtime, value.loop(), name);
  const bool is_macro = value.type() == Type::kCallable && value.callable().macro != nullptr;
  return is_macro ? FindMacroAttribute(*value.callable().macro, name) : std::nullopt;
}

// Start, end and step of a slice over `length` items, as Python's slice.indices.
struct SliceRange {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;
};

std::optional<SliceRange> ResolveSlice(Runtime& runtime, int64_t length, const Value& start, const Value& stop,
                                       const Value& step) {
  for (const Value* part : {&start, &stop, &step}) {
    if (part->is_none() || part->is_integral()) continue;
    runtime.Fail(absl::StrFormat("expected integers or none as parts of a slice, found %s", TypeName(*part)));
    return std::nullopt;
  }
  SliceRange range;
  range.step = step.is_none() ? 1 : step.integral();
  if (range.step == 0) runtime.Fail("the step of a slice is zero");
  if (runtime.failed()) return std::nullopt;
  const int64_t low = range.step < 0 ? -1 : 0;
  const int64_t high = range.step < 0 ? length - 1 : length;
  const auto resolve = [&](const Value& part, int64_t otherwise) {
    if (part.is_none()) return otherwise;
    const int64_t index = part.integral() < 0 ? std::max(part.integral(), -length - 1) + length : part.integral();
    return std::clamp(index, low, std::max(low, high));
  };
  range.start = resolve(start, range.step < 0 ? high : low);
  range.stop = resolve(stop, range.step < 0 ? low : high);
  return range;
}

// Calls `visit` with each index of the range. A step may be so large that adding it would overflow.
template <class Visit>
void ForEachIndex(const SliceRange& range, const Visit& visit) {
  int64_t i = range.start;
  while (range.step > 0 ? i < range.stop : i > range.stop) {
    visit(static_cast<size_t>(i));
    if (__builtin_add_overflow(i, range.step, &i)) return;
  }
}

}  // namespace

Value GetItem(Runtime& runtime, const Value& value, const Value& key) {
  if (value.is_undefined()) return runtime.FailUndefined(value);
  if (value.type() == Type::kCallable && value.callable().macro == nullptr) {
    return runtime.FailNotImplemented("an item of a function");
  }
  if (std::optional<Value> item = FindItem(runtime, value, key)) return *std::move(item);
  if (!key.is_text()) {
    return Value::Undefined(absl::StrFormat("%s object has no element %s", TypeName(value), ToRepr(runtime, key)));
  }
  if (std::optional<Value> attribute = FindAttribute(runtime, value, key.text())) return *std::move(attribute);
  return Missing(value, key.text());
}

Value GetAttribute(Runtime& runtime, const Value& value, std::string_view name) {
  if (value.is_undefined() && name.starts_with("__")) {
    return runtime.FailNotImplemented(absl::StrFormat("attribute '%s' of an undefined value", name));
  }
  if (value.is_undefined()) return runtime.FailUndefined(value);
  if (std::optional<Value> attribute = FindAttribute(runtime, value, name)) return *std::move(attribute);
  const Value* found = value.is_object() ? value.object().Find(name) : nullptr;
  return found == nullptr ? Missing(value, name) : *found;
}

Value GetSlice(Runtime& runtime, const Value& value, const Value& start, const Value& stop, const Value& step) {
  if (value.is_undefined()) return runtime.FailUndefined(value);
  if (value.is_markup() || (value.is_iterable() && HasIndices(value.iterable()))) {
    return runtime.FailNotImplemented(absl::StrFormat("a slice of %s", TypeName(value)));
  }
  if (!value.is_text() && !value.is_list()) {
    // Jinja makes nothing of a constant's slice.
    return runtime.Fail(
        absl::StrFormat("expected a string or a list to slice, found %s; Jinja's rule for constants is "
                        "not implemented here",
                        TypeName(value)));
  }
  std::vector<std::string_view> characters;
  if (value.is_text()) {
    if (!runtime.Spend(value.text().size())) return Value();
    characters = SplitCodePoints(value.text());
  }
  const auto length = static_cast<int64_t>(value.is_text() ? characters.size() : value.items().size());
  const std::optional<SliceRange> range = ResolveSlice(runtime, length, start, stop, step);
  if (!range) return Value();
  if (value.is_text()) {
    TracedText text;
    const char* const begin = value.text().data();
    ForEachIndex(*range, [&](size_t i) {
      const auto at = static_cast<size_t>(characters[i].data() - begin);
      text.AppendPart(value.traced_text(), at, at + characters[i].size());
    });
    return runtime.Text(std::move(text));
  }
  std::vector<Value> items;
  ForEachIndex(*range, [&](size_t i) { items.push_back(value.items()[i]); });
  return value.is_tuple() ? runtime.Tuple(std::move(items)) : runtime.List(std::move(items));
}

std::vector<Value> Iterate(Runtime& runtime, const Value& value) {
  std::vector<Value> items;
  switch (value.type()) {
    case Type::kUndefined:
      break;
    case Type::kList:
      if (runtime.Spend(value.items().size())) items = value.items();
      break;
    case Type::kText:
      if (!runtime.Spend(value.text().size() * 32)) break;
      for (const std::string_view character : SplitCodePoints(value.text())) {
        items.push_back(runtime.Part(value, character));
      }
      break;
    case Type::kObject:
      if (!runtime.Spend(value.object().size())) break;
      for (const Object::Entry& entry : value.object().entries()) items.push_back(entry.key);
      break;
    case Type::kIterable:
      if (!runtime.Resume(value.iterable())) break;
      if (runtime.Spend(value.iterable().items.size())) items = TakeItems(value.iterable());
      break;
    case Type::kLoop:
      runtime.FailNotImplemented("going on with a loop from inside of it");
      break;
    default:
      runtime.Fail(absl::StrFormat("expected something to iterate over, found %s", TypeName(value)));
  }
  return items;
}

Value IterateAsList(Runtime& runtime, const Value& value) {
  return value.is_list() ? value : runtime.List(Iterate(runtime, value));
}

bool IsIterable(const Value& value) {
  return value.is_undefined() || value.is_list() || value.is_text() || value.is_object() || value.is_iterable() ||
         value.type() == Type::kLoop;
}

bool IsSequence(const Value& value) {
  if (value.is_iterable()) return HasIndices(value.iterable());
  return IsIterable(value) && value.type() != Type::kLoop;
}

int64_t Length(Runtime& runtime, const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
      return 0;
    case Type::kList:
      return static_cast<int64_t>(value.items().size());
    case Type::kObject:
      return static_cast<int64_t>(value.object().size());
    case Type::kText:
      runtime.SpendBytes(value.text().size());
      return static_cast<int64_t>(CountCodePoints(value.text()));
    case Type::kLoop:
      return static_cast<int64_t>(value.loop().items().size());
    case Type::kIterable:
      if (value.iterable().kind != IterableKind::kGenerator) return static_cast<int64_t>(value.iterable().items.size());
      [[fallthrough]];
    default:
      runtime.Fail(absl::StrFormat("object of type '%s' has no len()", TypeName(value)));
      return 0;
  }
}

}  // namespace latentd::jinja
