// Runs a parsed template: walks statements and expressions, keeps scopes, collects output. Errors go to the Runtime;
// after the first one everything evaluates to undefined and every loop ends. One rendering, one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "jinja/ast.h"
#include "jinja/runtime.h"
#include "jinja/scope.h"
#include "jinja/value.h"

namespace latentd::jinja {

class Evaluator {
 public:
  // `context` holds the variables that the template is rendered with.
  Evaluator(Runtime& runtime, const Object& context) : runtime_(runtime), context_(context) {}

  // The output, meaningful unless the runtime has failed.
  TracedText Render(const Body& body, const LaterNames& later);

 private:
  // How a statement ended: `break` and `continue` travel up to their loop.
  enum class Flow { kNext, kBreak, kContinue };
  class Nested;

  // evaluator.cc: statements
  Flow Execute(const Body& body);
  // In the scope that was entered, where the names are undefined at first.
  Flow ExecuteScope(const Body& body, const LaterNames& later);
  Flow Run(const Text& text);
  Flow Run(const Output& output);
  Flow Run(const If& statement);
  Flow Run(const For& loop);
  Flow Run(const Set& set);
  Flow Run(const SetBlock& block);
  Flow Run(const Macro& macro);
  Flow Run(const CallBlock& block);
  Flow Run(const FilterBlock& block);
  Flow Run(const With& with);
  Flow Run(const Break&) { return Flow::kBreak; }
  Flow Run(const Continue&) { return Flow::kContinue; }
  void RunLoop(const For& statement, const Value& source, Scope* scope, int depth0);
  // False where `break` ended it.
  bool RunItems(const For& statement, Loop& loop);
  Value SelectItems(const For& statement, const Value& items);
  void Assign(const Target& target, const Value& value);
  void Print(const Value& value);
  void Print(const TracedText& text);
  // The output of the block's body, filtered when there is a filter.
  template <class Block>
  Value Capture(const Block& block, Flow* flow);

  // expression_evaluator.cc
  Value Evaluate(const Expression& expression);
  Value Dispatch(const Expression& expression);
  void CheckConstant(const Expression& expression);
  Value EvaluateOptional(const ExpressionPtr& expression);
  std::vector<Value> EvaluateAll(const std::vector<ExpressionPtr>& expressions);
  Value LookUp(const std::string& name);
  Value MakeObject(const Expression& expression);
  Value Slice(const Expression& expression);
  Value Filter(const Expression& expression);
  Value Test(const Expression& expression);
  Value Concat(const Expression& expression);
  Value CompareChain(const Expression& expression);
  bool CompareOnce(const std::string& operation, const Value& left, const Value& right);

  // calls.cc
  Value Call(const Expression& call, const Value* caller);
  Arguments EvaluateArguments(const std::vector<Argument>& arguments);
  void Spread(const Value& value, Arguments* arguments);
  void SpreadNamed(const Value& value, Arguments* arguments);
  void AddNamed(const std::string& name, Value value, Arguments* arguments);
  Value Invoke(const Value& callee, const Arguments& arguments);
  Value InvokeMacro(const Callable& callable, const Arguments& arguments);
  void BindParameters(const Macro& macro, const Arguments& arguments);
  void BindSurplus(const Macro& macro, const Arguments& arguments);
  Value InvokeLoop(const Loop& loop, const Arguments& arguments);

  Runtime& runtime_;
  const Object& context_;
  Scopes scopes_;
  TracedText output_;
  TracedText* out_ = &output_;  // where statements print: the output, or a capture
  Value filter_input_;          // the operand of a filter that names none
  int depth_ = 0;
  const Expression* printed_ = nullptr;  // the whole expression of the output statement that runs
};

// One level of evaluation for as long as it lives; fails the rendering beyond kMaxCallDepth.
class Evaluator::Nested {
 public:
  explicit Nested(Evaluator& evaluator);
  ~Nested() { --evaluator_.depth_; }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

 private:
  Evaluator& evaluator_;
};

}  // namespace latentd::jinja
