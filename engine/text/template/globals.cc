#include "engine/text/template/globals.h"

#include <algorithm>
#include <ctime>
#include <iterator>
#include <utility>

#include "engine/text/template/access.h"
#include "engine/text/template/printing.h"
#include "engine/text/template/runtime.h"

namespace latentd::jinja {
namespace {

constexpr size_t kMaxRange = 100'000;   // the sandbox's bound
constexpr size_t kMaxTimeBytes = 4096;  // of strftime's result

// The numbers themselves: Python's lazy range differs only in how it prints.
Value RangeFunction(Runtime& runtime, const Value&, const Arguments& arguments) {
  const Parameters parameters(runtime, "range", arguments, {"start", "stop", "step"}, 1);
  const bool only_stop = !parameters.given(1);
  const int64_t start = only_stop ? 0 : parameters.Integer(0, 0);
  const int64_t stop = parameters.Integer(only_stop ? 0 : 1, 0);
  const int64_t step = parameters.Integer(2, 1);
  if (step == 0) return runtime.Fail("range needs a step other than zero");
  std::vector<Value> numbers;
  for (int64_t i = start; (step > 0 ? i < stop : i > stop) && !runtime.failed();) {
    if (numbers.size() == kMaxRange) return runtime.Fail("range makes at most 100000 numbers");
    numbers.push_back(Value::Integer(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return runtime.List(std::move(numbers));
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
    for (const Value& pair : Iterate(runtime, source)) {
      if (!pair.is_list() || pair.items().size() != 2 || !object.Set(pair.items()[0], pair.items()[1])) {
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

constexpr std::pair<std::string_view, Function> kGlobals[] = {
    {"dict", DictFunction},   {"namespace", NamespaceFunction}, {"raise_exception", RaiseExceptionFunction},
    {"range", RangeFunction}, {"strftime_now", TimeFunction},
};

}  // namespace

Function FindGlobal(std::string_view name) {
  const auto global =
      std::find_if(std::begin(kGlobals), std::end(kGlobals), [&](const auto& entry) { return entry.first == name; });
  return global == std::end(kGlobals) ? nullptr : global->second;
}

}  // namespace latentd::jinja
