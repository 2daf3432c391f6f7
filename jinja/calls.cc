// The part of the evaluator that calls: built-in functions, methods, macros, recursive loops.
#include <utility>

#include <absl/strings/str_format.h>

#include "jinja/access.h"
#include "jinja/evaluator.h"

namespace latentd::jinja {

namespace {

// Most methods of Python's own types take their arguments by place only.
bool TakesNames(const Callable& callable) {
  const Value& receiver = callable.receiver;
  if (!receiver.is_text()) return !receiver.is_list() && !receiver.is_object();
  for (const std::string_view name : {"encode", "expandtabs", "format", "rsplit", "split", "splitlines"}) {
    if (callable.name == name) return true;
  }
  return false;
}

}  // namespace

Value Evaluator::Call(const Expression& call, const Value* caller) {
  const Value callee = Evaluate(*call.operands[0]);
  Arguments arguments = EvaluateArguments(call.arguments);
  if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
  runtime_.set_line(call.line);
  return runtime_.failed() ? Value() : Invoke(callee, arguments);
}

Arguments Evaluator::EvaluateArguments(const std::vector<Argument>& arguments) {
  Arguments evaluated;
  for (const Argument& argument : arguments) {
    Value value = Evaluate(*argument.value);
    if (runtime_.failed()) break;
    switch (argument.kind) {
      case Argument::Kind::kPositional:
        evaluated.positional.push_back(std::move(value));
        break;
      case Argument::Kind::kNamed:
        AddNamed(argument.name, std::move(value), &evaluated);
        break;
      case Argument::Kind::kSpread:
        Spread(value, &evaluated);
        break;
      case Argument::Kind::kNamedSpread:
        SpreadNamed(value, &evaluated);
        break;
    }
  }
  return evaluated;
}

void Evaluator::AddNamed(const std::string& name, Value value, Arguments* arguments) {
  for (const auto& [other, given] : arguments->named) {
    if (other == name) runtime_.Fail(absl::StrFormat("two values for the argument '%s'", name));
  }
  if (!runtime_.Spend(arguments->named.size() + 1)) return;
  arguments->named.emplace_back(name, std::move(value));
}

void Evaluator::Spread(const Value& value, Arguments* arguments) {
  for (Value& item : Iterate(runtime_, value)) arguments->positional.push_back(std::move(item));
}

void Evaluator::SpreadNamed(const Value& value, Arguments* arguments) {
  if (!value.is_object()) {
    runtime_.Fail(absl::StrFormat("expected a dict behind '**', found %s", TypeName(value)));
    return;
  }
  for (const Object::Entry& entry : value.object().entries()) {
    if (!entry.key.is_text()) {
      runtime_.Fail(absl::StrFormat("expected strings as names of arguments, found %s", TypeName(entry.key)));
      return;
    }
    if (entry.key.has_request_text()) {
      runtime_.Fail("the names behind '**' came with the request, which safe_mode cannot trace");
      return;
    }
    if (!runtime_.SpendBytes(entry.key.text().size())) return;
    AddNamed(entry.key.text(), entry.value, arguments);
  }
}

Value Evaluator::Invoke(const Value& callee, const Arguments& arguments) {
  if (callee.is_undefined()) return runtime_.FailUndefined(callee);
  if (callee.type() == Type::kLoop) return InvokeLoop(callee.loop(), arguments);
  if (callee.type() != Type::kCallable) {
    return runtime_.Fail(absl::StrFormat("'%s' object is not callable", TypeName(callee)));
  }
  const Callable& callable = callee.callable();
  if (callable.macro != nullptr) return InvokeMacro(callable, arguments);
  if (!arguments.named.empty() && !TakesNames(callable)) {
    return runtime_.Fail(absl::StrFormat("%s takes no named arguments", callable.name));
  }
  return runtime_.Call(callable.function, callable.receiver, arguments);
}

Value Evaluator::InvokeMacro(const Callable& callable, const Arguments& arguments) {
  const Nested nested(*this);
  const Scopes::Entered scope(scopes_, callable.scope);
  BindParameters(*callable.macro, arguments);
  if (runtime_.failed()) return Value();
  TracedText captured;
  TracedText* const outer = std::exchange(out_, &captured);
  ExecuteScope(callable.macro->body, callable.macro->later);
  out_ = outer;
  return runtime_.Text(std::move(captured));
}

void Evaluator::BindParameters(const Macro& macro, const Arguments& arguments) {
  Scope& scope = *scopes_.current();
  // A default may name a parameter behind it.
  for (const Parameter& parameter : macro.parameters) scope.Set(parameter.name, Value());
  const std::vector<Parameter>& parameters = macro.parameters;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (i < arguments.positional.size()) scope.Set(parameters[i].name, arguments.positional[i]);
  }
  BindSurplus(macro, arguments);
  // A default may use the parameters before it.
  for (size_t i = arguments.positional.size(); i < parameters.size() && !runtime_.failed(); ++i) {
    const Parameter& parameter = parameters[i];
    const Value* given = nullptr;
    for (const auto& [name, value] : arguments.named) {
      if (name == parameter.name) given = &value;
    }
    if (given != nullptr) {
      scope.Set(parameter.name, *given);
    } else if (parameter.otherwise != nullptr) {
      scope.Set(parameter.name, Evaluate(*parameter.otherwise));
    } else {
      scope.Set(parameter.name, Value::Undefined(absl::StrFormat("parameter '%s' was not provided", parameter.name)));
    }
  }
}

// Arguments that no parameter takes: varargs, kwargs and caller when the macro uses them, errors otherwise.
void Evaluator::BindSurplus(const Macro& macro, const Arguments& arguments) {
  const std::vector<Parameter>& parameters = macro.parameters;
  Value caller = Value::Undefined("No caller defined");
  Object kwargs;
  for (const auto& [name, value] : arguments.named) {
    size_t index = arguments.positional.size();
    while (index < parameters.size() && parameters[index].name != name) ++index;
    if (index < parameters.size()) continue;
    if (macro.uses_caller && name == "caller") {
      caller = value;
    } else if (macro.uses_kwargs) {
      kwargs.Set(name, value);
    } else {
      runtime_.Fail(absl::StrFormat("macro '%s' takes no argument named '%s'", macro.name, name));
      return;
    }
  }
  std::vector<Value> varargs;
  for (size_t i = parameters.size(); i < arguments.positional.size(); ++i) varargs.push_back(arguments.positional[i]);
  if (!varargs.empty() && !macro.uses_varargs) {
    runtime_.Fail(absl::StrFormat("macro '%s' takes at most %d arguments, found %d", macro.name, parameters.size(),
                                  arguments.positional.size()));
    return;
  }
  Scope& scope = *scopes_.current();
  if (macro.uses_varargs) scope.Set("varargs", runtime_.Tuple(std::move(varargs)));
  if (macro.uses_kwargs) scope.Set("kwargs", runtime_.MakeObject(std::move(kwargs)));
  bool names_caller = false;
  for (const Parameter& parameter : parameters) names_caller |= parameter.name == "caller";
  if (macro.uses_caller && !names_caller) scope.Set("caller", std::move(caller));
}

Value Evaluator::InvokeLoop(const Loop& loop, const Arguments& arguments) {
  if (!loop.statement->is_recursive) return runtime_.Fail("only a loop marked 'recursive' can be called");
  if (arguments.positional.size() != 1) return runtime_.Fail("a recursive loop is called with what to iterate over");
  const Nested nested(*this);
  TracedText captured;
  TracedText* const outer = std::exchange(out_, &captured);
  RunLoop(*loop.statement, arguments.positional.front(), loop.scope, loop.depth0 + 1);
  out_ = outer;
  return runtime_.Text(std::move(captured));
}

}  // namespace latentd::jinja
