#include "jinja/unknown_names.h"

#include <string>

#include <absl/strings/str_format.h>

#include "jinja/filters.h"
#include "jinja/lexer.h"
#include "jinja/predicates.h"

namespace latentd::jinja {
namespace {

enum class Guard { kNone, kIf };

class NameCheck {
 public:
  void Check(const Body& body, Guard guard) {
    for (const Statement& statement : body) {
      std::visit([&](const auto& node) { CheckNode(node, guard); }, statement.node);
    }
  }

  const absl::Status& status() const { return status_; }

 private:
  void Check(const ExpressionPtr& expression, Guard guard) {
    if (expression == nullptr) return;
    if (expression->kind == ExpressionKind::kConditional) guard = Guard::kIf;
    const bool is_filter = expression->kind == ExpressionKind::kFilter;
    const bool is_test = expression->kind == ExpressionKind::kTest;
    const bool known =
        is_filter ? FindFilter(expression->name) != nullptr : !is_test || FindTest(expression->name) != nullptr;
    if (!known && guard == Guard::kNone && status_.ok()) {
      status_ = SyntaxError(expression->line,
                            is_filter && IsFilterOfJinja(expression->name)
                                ? absl::StrFormat("the filter '%s' is not implemented here", expression->name)
                                : absl::StrFormat("expected the name of a %s, found '%s'",
                                                  is_filter ? "filter" : "test", expression->name));
    }
    for (const ExpressionPtr& operand : expression->operands) Check(operand, guard);
    for (const Argument& argument : expression->arguments) Check(argument.value, guard);
  }

  void CheckNode(const Text&, Guard) {}
  void CheckNode(const Break&, Guard) {}
  void CheckNode(const Continue&, Guard) {}
  void CheckNode(const Output& output, Guard guard) { Check(output.value, guard); }
  void CheckNode(const Set& set, Guard guard) { Check(set.value, guard); }
  void CheckNode(const If& statement, Guard) {
    for (const If::Branch& branch : statement.branches) {
      Check(branch.condition, Guard::kIf);
      Check(branch.body, Guard::kIf);
    }
  }
  void CheckNode(const For& loop, Guard guard) {
    Check(loop.items, guard);
    Check(loop.condition, Guard::kNone);
    Check(loop.body, Guard::kNone);
    Check(loop.otherwise, Guard::kNone);
  }
  void CheckNode(const SetBlock& block, Guard guard) {
    Check(block.filter, guard);
    Check(block.body, Guard::kNone);
  }
  void CheckNode(const Macro& macro, Guard) {
    for (const Parameter& parameter : macro.parameters) Check(parameter.otherwise, Guard::kNone);
    Check(macro.body, Guard::kNone);
  }
  void CheckNode(const CallBlock& block, Guard guard) {
    Check(block.call, guard);
    CheckNode(block.caller, guard);
  }
  void CheckNode(const FilterBlock& block, Guard guard) {
    Check(block.filter, guard);
    Check(block.body, Guard::kNone);
  }
  void CheckNode(const With& with, Guard) {
    for (const auto& [target, value] : with.variables) Check(value, Guard::kNone);
    Check(with.body, Guard::kNone);
  }

  absl::Status status_;
};

}  // namespace

absl::Status CheckNamesAreKnown(const Body& body) {
  NameCheck check;
  check.Check(body, Guard::kNone);
  return check.status();
}

}  // namespace latentd::jinja
