#include "jinja/comparison.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <absl/strings/str_format.h>

#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

int Sign(double value) { return value < 0 ? -1 : value > 0 ? 1 : 0; }

int CompareNumbers(const Value& left, const Value& right) {
  if (left.is_integral() && right.is_integral()) {
    return left.integral() < right.integral() ? -1 : left.integral() > right.integral() ? 1 : 0;
  }
  // An int64 fits the 64-bit mantissa that long double has on x86; elsewhere long double is wider still.
  const auto wide = [](const Value& value) {
    return value.is_integral() ? static_cast<long double>(value.integral()) : static_cast<long double>(value.number());
  };
  return wide(left) < wide(right) ? -1 : wide(left) > wide(right) ? 1 : 0;
}

bool EqualItems(Runtime& runtime, const std::vector<Value>& left, const std::vector<Value>& right) {
  if (left.size() != right.size()) return false;
  for (size_t i = 0; i < left.size(); ++i) {
    if (!Equal(runtime, left[i], right[i])) return false;
  }
  return true;
}

bool EqualObjects(Runtime& runtime, const Object& left, const Object& right) {
  if (left.size() != right.size()) return false;
  for (const Object::Entry& entry : left.entries()) {
    const Value* other = right.Find(entry.key);
    if (other == nullptr || !Equal(runtime, entry.value, *other)) return false;
  }
  return true;
}

// Keys and items of dicts are sets, values and generators are equal to themselves only.
bool EqualIterables(Runtime& runtime, const Value& left, const Value& right) {
  const Iterable& a = left.iterable();
  const Iterable& b = right.iterable();
  const auto is_set = [](const Iterable& each) {
    return each.kind == IterableKind::kKeys || each.kind == IterableKind::kItems;
  };
  if (is_set(a) && is_set(b)) {
    return a.items.size() == b.items.size() && std::all_of(a.items.begin(), a.items.end(), [&](const Value& item) {
             return std::any_of(b.items.begin(), b.items.end(),
                                [&](const Value& other) { return Equal(runtime, item, other); });
           });
  }
  const bool are_sequences = a.kind == IterableKind::kRange || a.kind == IterableKind::kBytes;
  return are_sequences && a.kind == b.kind ? EqualItems(runtime, a.items, b.items) : left.SameAs(right);
}

// A generator is used up to where the item is found.
bool ContainsAmong(Runtime& runtime, Iterable& iterable, const Value& item) {
  if (!runtime.Resume(iterable)) return false;
  const bool is_generator = iterable.kind == IterableKind::kGenerator;
  for (size_t i = is_generator ? iterable.next : 0; i < iterable.items.size(); ++i) {
    if (is_generator) iterable.next = i + 1;
    if (Equal(runtime, iterable.items[i], item)) return true;
  }
  iterable.is_spent = true;
  return false;
}

void FailOrder(Runtime& runtime, const Value& left, const Value& right, std::string_view operation) {
  if (left.is_undefined() || right.is_undefined()) {
    runtime.FailUndefined(left.is_undefined() ? left : right);
  } else if (HasUnknownOperators(left) || HasUnknownOperators(right)) {
    runtime.FailNotImplemented(
        absl::StrFormat("'%s' between %s and %s of this kind", operation, TypeName(left), TypeName(right)));
  } else {
    runtime.Fail(absl::StrFormat("'%s' has no meaning between %s and %s", operation, TypeName(left), TypeName(right)));
  }
}

int CompareLists(Runtime& runtime, const Value& left, const Value& right, std::string_view operation) {
  const size_t shared = std::min(left.items().size(), right.items().size());
  for (size_t i = 0; i < shared && !runtime.failed(); ++i) {
    const Value& a = left.items()[i];
    const Value& b = right.items()[i];
    if (!Equal(runtime, a, b)) return Compare(runtime, a, b, operation);
  }
  return Sign(static_cast<double>(left.items().size()) - static_cast<double>(right.items().size()));
}

}  // namespace

bool HasUnknownOperators(const Value& value) {
  return value.type() == Type::kBigInteger ||
         (value.is_iterable() && value.iterable().kind != IterableKind::kGenerator);
}

bool IsTrue(const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
    case Type::kNone:
      return false;
    case Type::kBool:
      return value.boolean();
    case Type::kInteger:
      return value.integral() != 0;
    case Type::kFloat:
      return value.number() != 0.0;
    case Type::kText:
      return !value.text().empty();
    case Type::kList:
      return !value.items().empty();
    case Type::kObject:
      return value.object().size() > 0;
    case Type::kIterable:
      return value.iterable().kind == IterableKind::kGenerator || !value.iterable().items.empty();
    case Type::kBigInteger:
    case Type::kNamespace:
    case Type::kLoop:
    case Type::kCallable:
      return true;
  }
  return false;
}

bool Equal(Runtime& runtime, const Value& left, const Value& right) {
  if (!runtime.Spend(1)) return false;
  if (left.is_number() && right.is_number()) {
    const bool has_nan = (left.type() == Type::kFloat && std::isnan(left.number())) ||
                         (right.type() == Type::kFloat && std::isnan(right.number()));
    return !has_nan && CompareNumbers(left, right) == 0;
  }
  if (left.type() != right.type()) return false;
  switch (left.type()) {
    case Type::kUndefined:
    case Type::kNone:
      return true;
    case Type::kBigInteger:
      return left.digits() == right.digits();
    case Type::kText:
      if (left.text().size() != right.text().size()) return false;
      return runtime.SpendBytes(left.text().size()) && left.text() == right.text();
    case Type::kList:
      return left.is_tuple() == right.is_tuple() && EqualItems(runtime, left.items(), right.items());
    case Type::kObject:
      return EqualObjects(runtime, left.object(), right.object());
    case Type::kIterable:
      return EqualIterables(runtime, left, right);
    default:
      return left.SameAs(right);
  }
}

int Compare(Runtime& runtime, const Value& left, const Value& right, std::string_view operation) {
  if (!runtime.Spend(1)) return 0;
  if (left.is_number() && right.is_number()) return CompareNumbers(left, right);
  if (left.is_text() && right.is_text()) {
    runtime.SpendBytes(std::min(left.text().size(), right.text().size()));
    return left.text().compare(right.text());  // The order of UTF-8 bytes is that of code points.
  }
  if (left.is_list() && right.is_list() && left.is_tuple() == right.is_tuple()) {
    return CompareLists(runtime, left, right, operation);
  }
  FailOrder(runtime, left, right, operation);
  return 0;
}

bool Contains(Runtime& runtime, const Value& container, const Value& item) {
  switch (container.type()) {
    case Type::kUndefined:
      return false;
    case Type::kObject:
      if (HashKey(item)) return container.object().Find(item) != nullptr;
      runtime.FailKey(item);
      return false;
    case Type::kText:
      if (item.is_text()) {
        return runtime.SpendBytes(container.text().size()) && container.text().find(item.text()) != std::string::npos;
      }
      runtime.Fail(absl::StrFormat("'in <string>' needs a string on its left, found %s", TypeName(item)));
      return false;
    case Type::kList:
      return std::any_of(container.items().begin(), container.items().end(),
                         [&](const Value& other) { return Equal(runtime, other, item); });
    case Type::kIterable:
      if (container.iterable().kind == IterableKind::kBytes && !item.is_integral()) {
        runtime.FailNotImplemented("a search in bytes");
      }
      if (container.iterable().kind == IterableKind::kKeys && !HashKey(item)) {
        runtime.FailKey(item);
      }
      return ContainsAmong(runtime, container.iterable(), item);
    case Type::kLoop:
      runtime.FailNotImplemented("a search in a loop, which goes on with it");
      return false;
    default:
      runtime.Fail(
          absl::StrFormat("'in' needs a string, a list or a dict on its right, found %s", TypeName(container)));
      return false;
  }
}

}  // namespace latentd::jinja
