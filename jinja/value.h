// The values of a template: Python's, immutable and shared, except namespaces and loops, which the Runtime
// of one rendering owns, and lists that may grow. Copying a Value is cheap. Values of one rendering stay on its thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <absl/status/status.h>

#include "jinja/traced_text.h"
#include "jinja/value_type.h"

namespace latentd::jinja {

struct List;
struct Iterable;
class Object;
struct Callable;
struct Loop;
struct Macro;
struct Scope;
class Runtime;

class Value {
 public:
  Value();  // undefined
  Value(const Value&);
  Value(Value&&) noexcept;
  Value& operator=(const Value&);
  Value& operator=(Value&&) noexcept;
  ~Value();
  static Value Undefined(std::string why);
  static Value None();
  static Value Bool(bool value);
  static Value Integer(int64_t value);
  static Value BigInteger(std::string digits);
  static Value Float(double value);
  static Value Text(std::string text);
  static Value Text(TracedText text);
  static Value MakeList(std::vector<Value> items);
  static Value MakeGrowingList(std::vector<Value> items);
  static Value MakeTuple(std::vector<Value> items);
  // A tuple whose two items are also called `grouper` and `list`.
  static Value MakeGroup(Value grouper, Value list);
  static Value MakeObject(Object object);
  static Value MakeIterable(Iterable iterable);
  static Value MakeNamespace(Object* attributes);
  static Value MakeLoop(Loop* loop);
  static Value MakeCallable(Callable callable);

  Type type() const { return static_cast<Type>(storage_.index()); }
  bool is_undefined() const { return type() == Type::kUndefined; }
  bool is_none() const { return type() == Type::kNone; }
  bool is_text() const { return type() == Type::kText; }
  bool is_list() const { return type() == Type::kList; }
  bool is_object() const { return type() == Type::kObject; }
  bool is_iterable() const { return type() == Type::kIterable; }
  bool is_markup() const { return is_text() && traced_text().kind == TextKind::kMarkup; }
  bool is_tuple() const;
  bool is_group() const;
  // Integers and booleans, which count as 0 and 1 as in Python.
  bool is_integral() const { return type() == Type::kInteger || type() == Type::kBool; }
  bool is_number() const { return is_integral() || type() == Type::kFloat; }

  // Each needs the type it names.
  bool boolean() const { return std::get<bool>(storage_); }
  int64_t integral() const;
  double number() const;
  const std::string& digits() const { return std::get<std::shared_ptr<const BigDigits>>(storage_)->digits; }
  const std::string& text() const { return traced_text().text; }
  const TracedText& traced_text() const { return *std::get<std::shared_ptr<const TracedText>>(storage_); }
  const std::vector<Value>& items() const;
  const Object& object() const { return *std::get<std::shared_ptr<const Object>>(storage_); }
  Iterable& iterable() const { return *std::get<std::shared_ptr<Iterable>>(storage_); }
  Object& attributes() const { return *std::get<NamespaceTag>(storage_).attributes; }
  Loop& loop() const { return *std::get<Loop*>(storage_); }
  const Callable& callable() const { return *std::get<std::shared_ptr<const Callable>>(storage_); }

  // Why an undefined value is undefined; empty when nothing special is known.
  std::string_view why_undefined() const;
  bool can_grow() const;
  // The items of a list that can grow; only scalars may be added.
  std::vector<Value>& growing_items() const;
  // Whether text that came with the request may be found in it, however deep.
  bool has_request_text() const;
  // How deep lists and objects nest; 0 for scalars.
  int depth() const;
  // Python's `is`: the same object, not merely an equal one.
  bool SameAs(const Value& other) const;

 private:
  struct UndefinedTag {
    std::shared_ptr<const std::string> why;
    bool operator==(const UndefinedTag&) const = default;
  };
  struct NoneTag {
    bool operator==(const NoneTag&) const = default;
  };
  struct NamespaceTag {
    Object* attributes;
    bool operator==(const NamespaceTag&) const = default;
  };
  struct BigDigits {
    std::string digits;
  };
  using Storage = std::variant<UndefinedTag, NoneTag, bool, int64_t, std::shared_ptr<const BigDigits>, double,
                               std::shared_ptr<const TracedText>, std::shared_ptr<List>, std::shared_ptr<const Object>,
                               std::shared_ptr<Iterable>, NamespaceTag, Loop*, std::shared_ptr<const Callable>>;
  explicit Value(Storage storage);

  static Value MakeSequence(List list);

  Storage storage_;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Filters and methods get the value they are applied to as `receiver`; failures go to the Runtime.
using Function = Value (*)(Runtime& runtime, const Value& receiver, const Arguments& arguments);

// Exactly one of function and macro is set, or neither for a recursive loop's own call (receiver is the loop).
struct Callable {
  std::string name;
  Value receiver;
  Function function = nullptr;
  const Macro* macro = nullptr;
  Scope* scope = nullptr;  // where the macro was defined
};

struct List {
  std::vector<Value> items;
  bool is_tuple = false;
  bool is_group = false;
  bool can_grow = false;
  bool has_request_text = false;
  int depth = 1;
};

struct Iterable {
  IterableKind kind = IterableKind::kGenerator;
  std::vector<Value> items;
  std::string printed = {};  // of ranges and bytes
  size_t next = 0;           // of a generator: all before it is used up
  bool is_spent = false;     // of a generator: it was gone through to its end
  bool is_held = false;      // a loop over it is running, or was left
  Value reader = {};         // of a generator: one that a filter made of it
  int num_read = 0;          // of a generator: how many it goes through, one inside the other
  int depth = 1;
  bool has_request_text = false;
  absl::Status failure = {};  // of a generator: its loop fails with it
};

// The value with each text in it, keys included, as text that came with the request.
Value FromRequest(const Value& value);

// A dict: entries in order of insertion. Lookup by a text key is a scan while there are few and hashed beyond.
class Object {
 public:
  struct Entry {
    Value key;
    Value value;
  };

  // Replaces the value of an equal key in its place. False for keys that Python cannot hash.
  bool Set(Value key, Value value);
  void Set(std::string_view key, Value value);
  const Value* Find(const Value& key) const;
  const Value* Find(std::string_view key) const;

  const std::vector<Entry>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  int depth() const { return depth_; }
  bool has_request_text() const { return has_request_text_; }

 private:
  std::optional<size_t> FindKey(const std::string& hashed) const;
  void Index(size_t entry, std::string hashed);

  std::vector<Entry> entries_;
  absl::flat_hash_map<std::string, size_t> index_;
  int depth_ = 1;
  bool has_request_text_ = false;
};

// The key under which dicts file `value`: equal numbers share one. None for values that Python cannot hash.
std::optional<std::string> HashKey(const Value& value);

// Python's name of the type, for error messages.
std::string_view TypeName(const Value& value);

}  // namespace latentd::jinja
