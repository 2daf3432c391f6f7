#include "jinja/runtime.h"

#include <algorithm>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "base/interruption.h"

namespace latentd::jinja {
namespace {

constexpr size_t kWorkPerItem = 8;
constexpr size_t kWorkPerRange = 4;
// Allocations that stay until the end of the rendering cost more.
constexpr size_t kWorkPerOwnedObject = 32;

}  // namespace

Value Runtime::Fail(const std::string& message) {
  if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat("chat template, line ", line_, ": ", message));
  return Value();
}

Value Runtime::FailNotImplemented(std::string_view what) {
  return Fail(absl::StrCat(std::string(what), " is not implemented here"));
}

Value Runtime::FailKey(const Value& value) {
  const bool is_set = value.is_iterable() &&
                      (value.iterable().kind == IterableKind::kKeys || value.iterable().kind == IterableKind::kItems);
  const bool is_mutable = value.is_object() || (value.is_list() && !value.is_tuple());
  if (is_set || is_mutable) return Fail(absl::StrFormat("%s cannot be a key of a dict", TypeName(value)));
  return FailNotImplemented(absl::StrFormat("%s as a key of a dict", TypeName(value)));
}

Value Runtime::RaiseException(const std::string& message) {
  if (status_.ok()) status_ = absl::InvalidArgumentError(message);
  return Value();
}

Value Runtime::FailUndefined(const Value& value) {
  const std::string_view why = value.why_undefined();
  return Fail(why.empty() ? "an undefined value is used" : std::string(why));
}

bool Runtime::Spend(size_t work) {
  if (failed()) return false;
  if (IsInterrupted()) {
    status_ = Interrupted();
    return false;
  }
  if (work > limits_.work - spent_) {
    Fail(absl::StrCat("the template takes more than ", limits_.work,
                      " steps; shorten the conversation or the template"));
    return false;
  }
  spent_ += work;
  return true;
}

bool Runtime::ReserveText(size_t bytes) {
  if (failed()) return false;
  if (bytes > limits_.text_bytes) {
    Fail(absl::StrCat("a text would have ", bytes, " bytes, the limit is ", limits_.text_bytes));
    return false;
  }
  return SpendBytes(bytes);
}

bool Runtime::CheckDepth(int depth) {
  if (depth > kMaxValueDepth) Fail(absl::StrCat("lists and objects nest deeper than ", kMaxValueDepth));
  return !failed();
}

Value Runtime::Call(Function function, const Value& receiver, const Arguments& arguments) {
  const auto has_request_text = [](const Value& value) { return value.has_request_text(); };
  makes_request_text_ = receiver.has_request_text() ||
                        std::any_of(arguments.positional.begin(), arguments.positional.end(), has_request_text) ||
                        std::any_of(arguments.named.begin(), arguments.named.end(),
                                    [&](const auto& argument) { return has_request_text(argument.second); });
  Value result = function(*this, receiver, arguments);
  makes_request_text_ = false;
  return result;
}

Value Runtime::Text(std::string text) {
  return Text(makes_request_text_ ? TracedText::FromRequest(std::move(text))
                                  : TracedText{.text = std::move(text), .from_request = {}});
}

Value Runtime::Text(TracedText text) {
  if (!ReserveText(text.text.size()) || !Spend(text.from_request.size() * kWorkPerRange)) return Value();
  return Value::Text(std::move(text));
}

Value Runtime::Part(const Value& whole, std::string_view part) {
  const TracedText& source = whole.traced_text();
  const size_t begin = part.empty() ? 0 : static_cast<size_t>(part.data() - source.text.data());
  TracedText text;
  text.AppendPart(source, begin, begin + part.size());
  return Text(std::move(text));
}

Value Runtime::List(std::vector<Value> items) {
  if (!Spend(items.size() * kWorkPerItem + 1)) return Value();
  Value list = list_changes_ == ListChanges::kOwnLists ? Value::MakeGrowingList(std::move(items))
                                                       : Value::MakeList(std::move(items));
  return CheckDepth(list.depth()) ? list : Value();
}

Value Runtime::Tuple(std::vector<Value> items) {
  if (!Spend(items.size() * kWorkPerItem + 1)) return Value();
  Value tuple = Value::MakeTuple(std::move(items));
  return CheckDepth(tuple.depth()) ? tuple : Value();
}

Value Runtime::MakeObject(Object object) {
  if (!Spend(object.size() * kWorkPerItem + 1) || !CheckDepth(object.depth())) return Value();
  return Value::MakeObject(std::move(object));
}

Value Runtime::MakeIterable(Iterable iterable) {
  if (!Spend(iterable.items.size() * kWorkPerItem + 1)) return Value();
  Value value = Value::MakeIterable(std::move(iterable));
  return CheckDepth(value.depth()) ? value : Value();
}

namespace {

// Ours are computed as a whole, so that where its items stand is known only before and after.
bool IsInUse(const Iterable& generator) {
  if (generator.is_held) return true;
  if (!generator.reader.is_iterable()) return false;
  const Iterable& reader = generator.reader.iterable();
  const bool is_read_on = reader.reader.is_iterable();
  return IsInUse(reader) || (!is_read_on && !reader.is_spent);
}

}  // namespace

Value Runtime::Lazily(Function filter, const Value& value, const Arguments& arguments) {
  if (failed()) return Value();
  Value result = filter(*this, value, arguments);
  if (has_wrong_arguments_) return result;
  if (!failed()) return Reading(value, result);
  return Value::MakeIterable({.items = {}, .failure = std::exchange(status_, absl::OkStatus())});
}

Value Runtime::Reading(const Value& source, const Value& generator) {
  const bool is_read = source.is_iterable() && source.iterable().kind == IterableKind::kGenerator;
  if (!is_read || !generator.is_iterable()) return generator;
  generator.iterable().num_read = source.iterable().num_read + 1;
  if (generator.iterable().num_read > kMaxValueDepth) {
    return Fail(absl::StrFormat("generators read each other more than %d deep", kMaxValueDepth));
  }
  source.iterable().reader = generator;
  return generator;
}

bool Runtime::Resume(const Iterable& iterable) {
  if (status_.ok()) status_ = iterable.failure;
  if (!failed() && IsInUse(iterable)) {
    FailNotImplemented("going on with a generator that a loop has left, or that another generator reads");
  }
  return !failed();
}

Object* Runtime::NewNamespace() {
  Spend(kWorkPerOwnedObject);
  return &namespaces_.emplace_back();
}

Loop* Runtime::NewLoop() {
  Spend(kWorkPerOwnedObject);
  return &loops_.emplace_back();
}

}  // namespace latentd::jinja
