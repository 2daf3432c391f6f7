#include "jinja/globals.h"

#include <algorithm>
#include <ctime>
#include <iterator>
#include <utility>

#include <absl/strings/str_format.h>

#include "jinja/access.h"
#include "jinja/cycler.h"
#include "jinja/parameters.h"
#include "jinja/printing.h"
#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

constexpr size_t kMaxRange = 100'000;   // the sandbox's bound
constexpr size_t kMaxTimeBytes = 4096;  // of strftime's result

Value RangeFunction(Runtime& runtime, const Value&, const Arguments& arguments) {
  const Parameters parameters(runtime, "range", arguments, {"start", "stop", "step"}, 1);
  const bool only_stop = !parameters.given(1);
  const int64_t start = only_stop ? 0 : parameters.Integer(0, 0);
  const int64_t stop = parameters.Integer(only_stop ? 0 : 1, 0);
  const int64_t step = parameters.Integer(2, 1);
  if (step == 0) return runtime.Fail("range needs a step other than zero");
  const std::string printed = step == 1 ? absl::StrFormat("range(%d, %d)", start, stop)
                                        : absl::StrFormat("range(%d, %d, %d)", start, stop, step);
  std::vector<Value> numbers;
  for (int64_t i = start; (step > 0 ? i < stop : i > stop) && !runtime.failed();) {
    if (numbers.size() == kMaxRange) return runtime.Fail("range makes at most 100000 numbers");
    numbers.push_back(Value::Integer(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return runtime.MakeIterable({.kind = IterableKind::kRange, .items = std::move(numbers), .printed = printed});
}

// dict(mapping or pairs, name=value, …)
Object BuildObject(Runtime& runtime, const Arguments& arguments) {
  Object object;
  if (arguments.positional.size() > 1) runtime.Fail("dict and namespace take one positional argument");
  for (const Value& source : arguments.positional) {
    if (source.is_object()) {
      if (runtime.Spend(source.object().size() * 8)) object = source.object();
      continue;
    }
    if (source.is_undefined()) runtime.FailUndefined(source);
    for (const Value& element : Iterate(runtime, source)) {
      const std::vector<Value> pair = Iterate(runtime, element);
      if (pair.size() != 2 || !object.Set(pair[0], pair[1])) {
        runtime.Fail("dict and namespace need a dict or pairs of key and value");
      }
    }
  }
  for (const auto& [name, value] : arguments.named) object.Set(name, value);
  return object;
}

Value DictFunction(Runtime& runtime, const Value&, const Arguments& arguments) {
  return runtime.MakeObject(BuildObject(runtime, arguments));
}

Value NamespaceFunction(Runtime& runtime, const Value&, const Arguments& arguments) {
  Object* const attributes = runtime.NewNamespace();
  *attributes = BuildObject(runtime, arguments);
  return Value::MakeNamespace(attributes);
}

Value RaiseExceptionFunction(Runtime& runtime, const Value&, const Arguments& arguments) {
  const Parameters parameters(runtime, "raise_exception", arguments, {"message"}, 1);
  return runtime.RaiseException(ToText(runtime, parameters.Get(0)));
}

Value TimeFunction(Runtime& runtime, const Value&, const Arguments& arguments) {
  const std::string format = Parameters(runtime, "strftime_now", arguments, {"format"}, 1).Text(0, "");
  if (format.empty()) return Value::Text("");
  std::string text(kMaxTimeBytes, '\0');
  // A blank in front tells an empty result from one that does not fit.
  const size_t length = std::strftime(text.data(), text.size(), (" " + format).c_str(), &runtime.now());
  if (length == 0) return runtime.Fail("a formatted time is longer than 4096 bytes");
  return runtime.Text(text.substr(1, length - 1));
}

// The memory of a joiner or a cycler is a namespace that the template cannot reach.
Value NextOfJoiner(Runtime&, const Value& receiver, const Arguments&) {
  Object& state = receiver.attributes();
  if (state.Find("used") != nullptr) return *state.Find("separator");
  state.Set("used", Value::Bool(true));
  return Value::Text("");
}

Value JoinerFunction(Runtime& runtime, const Value&, const Arguments& arguments) {
  Object* const state = runtime.NewNamespace();
  state->Set("separator", Parameters(runtime, "joiner", arguments, {"sep"}).Get(0, Value::Text(", ")));
  return Value::MakeCallable({.name = "joiner", .receiver = Value::MakeNamespace(state), .function = NextOfJoiner});
}

// Returns the value that the cycler was at.
Value MoveCycler(Object& state, int64_t steps) {
  const std::vector<Value>& items = state.Find("items")->items();
  const int64_t position = state.Find("position")->integral();
  const int64_t moved = steps == 0 ? 0 : (position + steps) % static_cast<int64_t>(items.size());
  state.Set("position", Value::Integer(moved));
  state.Find("cycler")->attributes().Set("current", items[static_cast<size_t>(moved)]);
  state.Find("cycler")->attributes().Set("pos", Value::Integer(moved));
  return items[static_cast<size_t>(position)];
}

Value NextOfCycler(Runtime&, const Value& receiver, const Arguments&) { return MoveCycler(receiver.attributes(), 1); }

Value ResetOfCycler(Runtime&, const Value& receiver, const Arguments&) {
  MoveCycler(receiver.attributes(), 0);
  return Value::None();
}

Value CyclerFunction(Runtime& runtime, const Value&, const Arguments& arguments) {
  if (arguments.positional.empty()) return runtime.Fail("cycler needs at least one value");
  Object* const attributes = runtime.NewNamespace();
  Object* const state = runtime.NewNamespace();
  const Value items = runtime.Tuple(arguments.positional);
  if (runtime.failed()) return Value();
  const Value receiver = Value::MakeNamespace(state);
  state->Set("cycler", Value::MakeNamespace(attributes));
  state->Set("items", items);
  state->Set("position", Value::Integer(0));
  MoveCycler(*state, 0);
  attributes->Set("next", Value::MakeCallable({.name = "next", .receiver = receiver, .function = NextOfCycler}));
  attributes->Set("items", items);
  MarkCycler(*attributes);
  attributes->Set("reset", Value::MakeCallable({.name = "reset", .receiver = receiver, .function = ResetOfCycler}));
  return Value::MakeNamespace(attributes);
}

Value LipsumFunction(Runtime& runtime, const Value&, const Arguments&) {
  return runtime.FailNotImplemented("lipsum, which is different each time,");
}

constexpr std::pair<std::string_view, Function> kGlobals[] = {
    {"lipsum", LipsumFunction},
    {"cycler", CyclerFunction},
    {"dict", DictFunction},
    {"joiner", JoinerFunction},
    {"namespace", NamespaceFunction},
    {"range", RangeFunction},
    {"raise_exception", RaiseExceptionFunction},
    {"strftime_now", TimeFunction},
};

}  // namespace

Function FindGlobal(std::string_view name) {
  const auto global =
      std::find_if(std::begin(kGlobals), std::end(kGlobals), [&](const auto& entry) { return entry.first == name; });
  return global == std::end(kGlobals) ? nullptr : global->second;
}

}  // namespace latentd::jinja
