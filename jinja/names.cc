#include "jinja/names.h"

#include <utility>

#include "jinja/ast.h"
#include "jinja/globals.h"

namespace latentd::jinja {
namespace {

// Walks in the order of execution. Statements that may not have been executed, such as one branch of an `if`, set
// nothing for those that follow; a scope's own variables end with it.
class NameWalk {
 public:
  void Walk(const Body& body, Names& known) {
    for (const Statement& statement : body) {
      std::visit([&](const auto& node) { WalkNode(node, known); }, statement.node);
    }
  }

  TemplateNames Take() { return std::move(names_); }

 private:
  void WalkScope(const Body& body, Names known) { Walk(body, known); }

  void Read(const ExpressionPtr& expression, const Names& known) {
    if (expression == nullptr) return;
    if (expression->kind == ExpressionKind::kName) ReadName(expression->name, known);
    if (expression->kind == ExpressionKind::kAttribute) names_.keys.insert(expression->name);
    if (expression->kind == ExpressionKind::kConstant && expression->constant.is_text()) {
      names_.keys.insert(expression->constant.text());
    }
    for (const ExpressionPtr& operand : expression->operands) Read(operand, known);
    for (const Argument& argument : expression->arguments) Read(argument.value, known);
  }

  void ReadName(const std::string& name, const Names& known) {
    if (!known.contains(name) && FindGlobal(name) == nullptr) names_.variables.insert(name);
  }

  void Assign(const Target& target, Names& known) {
    if (!target.attribute.empty()) return ReadName(target.name, known);
    if (!target.name.empty()) known.insert(target.name);
    for (const Target& part : target.parts) Assign(part, known);
  }

  void WalkNode(const Text&, Names&) {}
  void WalkNode(const Break&, Names&) {}
  void WalkNode(const Continue&, Names&) {}
  void WalkNode(const Output& output, Names& known) { Read(output.value, known); }
  void WalkNode(const Set& set, Names& known) {
    Read(set.value, known);
    Assign(set.target, known);
  }
  void WalkNode(const If& statement, Names& known) {
    for (const If::Branch& branch : statement.branches) {
      Read(branch.condition, known);
      WalkScope(branch.body, known);
    }
  }
  void WalkNode(const For& loop, Names& known) {
    Read(loop.items, known);
    WalkScope(loop.otherwise, known);
    Names inner = known;
    Assign(loop.target, inner);
    Read(loop.condition, inner);
    inner.insert("loop");
    Walk(loop.body, inner);
  }
  void WalkNode(const SetBlock& block, Names& known) {
    WalkScope(block.body, known);
    Read(block.filter, known);
    Assign(block.target, known);
  }
  void WalkNode(const Macro& macro, Names& known) {
    Names inner = known;
    for (const Parameter& parameter : macro.parameters) {
      Read(parameter.otherwise, inner);
      inner.insert(parameter.name);
    }
    inner.insert({"varargs", "kwargs", "caller"});
    Walk(macro.body, inner);
    known.insert(macro.name);
  }
  void WalkNode(const CallBlock& block, Names& known) {
    Read(block.call, known);
    Names inner = known;
    WalkNode(block.caller, inner);
  }
  void WalkNode(const FilterBlock& block, Names& known) {
    WalkScope(block.body, known);
    Read(block.filter, known);
  }
  void WalkNode(const With& with, Names& known) {
    Names inner = known;
    for (const auto& [target, value] : with.variables) Read(value, known);
    for (const auto& [target, value] : with.variables) Assign(target, inner);
    Walk(with.body, inner);
  }

  TemplateNames names_;
};

}  // namespace

TemplateNames FindNames(const Body& body) {
  NameWalk walk;
  Names known;
  walk.Walk(body, known);
  return walk.Take();
}

}  // namespace latentd::jinja
