#include "jinja/value.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace latentd::jinja {
namespace {

constexpr size_t kScannedEntries = 16;

Value SharedText(std::string_view text) { return Value::Text(std::string(text)); }

int DepthOf(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth + 1;
}

bool AnyHasRequestText(const std::vector<Value>& items) {
  return std::any_of(items.begin(), items.end(), [](const Value& item) { return item.has_request_text(); });
}

std::string FloatKey(double value) {
  constexpr double kExactIntegers = 9.2e18;
  if (value == std::floor(value) && std::fabs(value) < kExactIntegers) {
    return "i" + std::to_string(static_cast<int64_t>(value));
  }
  std::string key = "f........";
  std::memcpy(key.data() + 1, &value, sizeof(value));
  return key;
}

}  // namespace

// Here and not in the class, where each file that holds a Value would compile them again.
Value::Value() = default;
Value::Value(const Value&) = default;
Value::Value(Value&&) noexcept = default;
Value& Value::operator=(const Value&) = default;
Value& Value::operator=(Value&&) noexcept = default;
Value::~Value() = default;
Value::Value(Storage storage) : storage_(std::move(storage)) {}

Value Value::None() { return Value(Storage(NoneTag{})); }
Value Value::Bool(bool value) { return Value(Storage(value)); }
Value Value::Integer(int64_t value) { return Value(Storage(value)); }
Value Value::Float(double value) { return Value(Storage(value)); }
Value Value::MakeNamespace(Object* attributes) { return Value(Storage(NamespaceTag{attributes})); }
Value Value::MakeLoop(Loop* loop) { return Value(Storage(loop)); }

Value Value::Undefined(std::string why) {
  return Value(Storage(UndefinedTag{std::make_shared<const std::string>(std::move(why))}));
}

Value Value::BigInteger(std::string digits) {
  return Value(Storage(std::make_shared<const BigDigits>(BigDigits{std::move(digits)})));
}

Value Value::Text(std::string text) { return Text(TracedText{.text = std::move(text), .from_request = {}}); }

Value Value::Text(TracedText text) { return Value(Storage(std::make_shared<const TracedText>(std::move(text)))); }

Value Value::MakeSequence(List list) {
  list.depth = DepthOf(list.items);
  list.has_request_text |= AnyHasRequestText(list.items);
  return Value(Storage(std::make_shared<List>(std::move(list))));
}

Value Value::MakeGroup(Value grouper, Value list) {
  return MakeSequence({.items = {std::move(grouper), std::move(list)}, .is_tuple = true, .is_group = true});
}

Value Value::MakeIterable(Iterable iterable) {
  iterable.depth = DepthOf(iterable.items);
  iterable.has_request_text = AnyHasRequestText(iterable.items);
  return Value(Storage(std::make_shared<Iterable>(std::move(iterable))));
}

Value Value::MakeList(std::vector<Value> items) { return MakeSequence({.items = std::move(items)}); }

// Values that hold the list are not told of additions, so request text must be expected from the start.
Value Value::MakeGrowingList(std::vector<Value> items) {
  return MakeSequence({.items = std::move(items), .can_grow = true, .has_request_text = true});
}

Value Value::MakeTuple(std::vector<Value> items) { return MakeSequence({.items = std::move(items), .is_tuple = true}); }

Value Value::MakeObject(Object object) { return Value(Storage(std::make_shared<const Object>(std::move(object)))); }

Value Value::MakeCallable(Callable callable) {
  return Value(Storage(std::make_shared<const Callable>(std::move(callable))));
}

bool Value::SameAs(const Value& other) const { return storage_ == other.storage_; }

bool Value::is_tuple() const { return is_list() && std::get<std::shared_ptr<List>>(storage_)->is_tuple; }

bool Value::is_group() const { return is_list() && std::get<std::shared_ptr<List>>(storage_)->is_group; }

bool Value::can_grow() const { return is_list() && std::get<std::shared_ptr<List>>(storage_)->can_grow; }

std::vector<Value>& Value::growing_items() const { return std::get<std::shared_ptr<List>>(storage_)->items; }

int64_t Value::integral() const {
  return type() == Type::kBool ? static_cast<int64_t>(boolean()) : std::get<int64_t>(storage_);
}

double Value::number() const {
  return type() == Type::kFloat ? std::get<double>(storage_) : static_cast<double>(integral());
}

const std::vector<Value>& Value::items() const { return std::get<std::shared_ptr<List>>(storage_)->items; }

std::string_view Value::why_undefined() const {
  const auto& why = std::get<UndefinedTag>(storage_).why;
  return why == nullptr ? std::string_view() : std::string_view(*why);
}

int Value::depth() const {
  switch (type()) {
    case Type::kList:
      return std::get<std::shared_ptr<List>>(storage_)->depth;
    case Type::kObject:
      return object().depth();
    case Type::kIterable:
      return iterable().depth;
    case Type::kCallable:
      return callable().receiver.depth() + 1;
    default:
      return 0;
  }
}

bool Value::has_request_text() const {
  switch (type()) {
    case Type::kText:
      return !traced_text().from_request.empty();
    case Type::kList:
      return std::get<std::shared_ptr<List>>(storage_)->has_request_text;
    case Type::kObject:
      return object().has_request_text();
    case Type::kIterable:
      return iterable().has_request_text;
    case Type::kNamespace:
    case Type::kLoop:
      return true;  // what they hold changes
    case Type::kCallable:
      return callable().receiver.has_request_text();
    default:
      return false;
  }
}

Value FromRequest(const Value& value) {
  if (value.is_text()) {
    TracedText text = TracedText::FromRequest(value.text());
    text.kind = value.traced_text().kind;
    return Value::Text(std::move(text));
  }
  if (value.is_list()) {
    std::vector<Value> items;
    for (const Value& item : value.items()) items.push_back(FromRequest(item));
    return value.is_tuple() ? Value::MakeTuple(std::move(items)) : Value::MakeList(std::move(items));
  }
  if (!value.is_object()) return value;
  Object object;
  for (const Object::Entry& entry : value.object().entries()) {
    object.Set(FromRequest(entry.key), FromRequest(entry.value));
  }
  return Value::MakeObject(std::move(object));
}

bool Object::Set(Value key, Value value) {
  std::optional<std::string> hashed = HashKey(key);
  if (!hashed) return false;
  depth_ = std::max({depth_, value.depth() + 1, key.depth() + 1});
  has_request_text_ |= key.has_request_text() || value.has_request_text();
  if (const std::optional<size_t> found = FindKey(*hashed)) {
    entries_[*found].value = std::move(value);
    return true;
  }
  entries_.push_back({std::move(key), std::move(value)});
  Index(entries_.size() - 1, std::move(*hashed));
  return true;
}

void Object::Set(std::string_view key, Value value) { Set(SharedText(key), std::move(value)); }

const Value* Object::Find(const Value& key) const {
  if (key.is_text()) return Find(key.text());
  const std::optional<std::string> hashed = HashKey(key);
  const std::optional<size_t> found = hashed ? FindKey(*hashed) : std::nullopt;
  return found ? &entries_[*found].value : nullptr;
}

const Value* Object::Find(std::string_view key) const {
  if (entries_.size() > kScannedEntries) {
    const std::optional<size_t> found = FindKey("t" + std::string(key));
    return found ? &entries_[*found].value : nullptr;
  }
  for (const Entry& entry : entries_) {
    if (entry.key.is_text() && entry.key.text() == key) return &entry.value;
  }
  return nullptr;
}

std::optional<size_t> Object::FindKey(const std::string& hashed) const {
  if (entries_.size() > kScannedEntries) {
    const auto found = index_.find(hashed);
    return found == index_.end() ? std::nullopt : std::optional(found->second);
  }
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (HashKey(entries_[i].key) == hashed) return i;
  }
  return std::nullopt;
}

void Object::Index(size_t entry, std::string hashed) {
  if (entries_.size() <= kScannedEntries) return;
  if (index_.empty()) {
    for (size_t i = 0; i < entries_.size(); ++i) index_.emplace(*HashKey(entries_[i].key), i);
  } else {
    index_.emplace(std::move(hashed), entry);
  }
}

std::optional<std::string> HashKey(const Value& value) {
  switch (value.type()) {
    case Type::kText:
      return "t" + value.text();
    case Type::kBool:
    case Type::kInteger:
      return "i" + std::to_string(value.integral());
    case Type::kBigInteger:
      return "i" + value.digits();
    case Type::kFloat:
      return FloatKey(value.number());
    case Type::kNone:
      return "n";
    case Type::kUndefined:
      return "u";
    case Type::kList:
      break;
    default:
      return std::nullopt;
  }
  // Tuples of tuples could stand for exponentially long keys.
  if (!value.is_tuple() || value.depth() > 1) return std::nullopt;
  std::string key = "(";
  for (const Value& item : value.items()) {
    const std::optional<std::string> part = HashKey(item);
    if (!part) return std::nullopt;
    key += std::to_string(part->size()) + ":" + *part;
  }
  return key;
}

std::string_view TypeName(const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
      return "Undefined";
    case Type::kNone:
      return "NoneType";
    case Type::kBool:
      return "bool";
    case Type::kInteger:
    case Type::kBigInteger:
      return "int";
    case Type::kFloat:
      return "float";
    case Type::kText:
      return "str";
    case Type::kList:
      return value.is_tuple() ? "tuple" : "list";
    case Type::kObject:
      return "dict";
    case Type::kIterable:
      break;
    case Type::kNamespace:
      return "Namespace";
    case Type::kLoop:
      return "LoopContext";
    case Type::kCallable:
      return "function";
  }
  switch (value.iterable().kind) {
    case IterableKind::kGenerator:
      return "generator";
    case IterableKind::kKeys:
      return "dict_keys";
    case IterableKind::kValues:
      return "dict_values";
    case IterableKind::kItems:
      return "dict_items";
    case IterableKind::kRange:
      return "range";
    case IterableKind::kBytes:
      return "bytes";
  }
  return "object";
}

}  // namespace latentd::jinja
