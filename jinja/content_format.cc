#include "jinja/content_format.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "jinja/ast.h"

namespace latentd::jinja {
namespace {

struct Binding {
  std::string_view name;
  const Expression* value = nullptr;
};

// Every `set` and every `for` of the template, wherever it stands.
class Bindings {
 public:
  explicit Bindings(const Body& body) { Walk(body); }

  const std::vector<Binding>& sets() const { return sets_; }
  const std::vector<Binding>& loops() const { return loops_; }

 private:
  void Walk(const Body& body) {
    for (const Statement& statement : body) {
      std::visit([&](const auto& node) { WalkNode(node); }, statement.node);
    }
  }

  template <class Leaf>
  void WalkNode(const Leaf&) {}
  void WalkNode(const Set& set) {
    if (set.target.attribute.empty()) sets_.push_back({set.target.name, set.value.get()});
  }
  void WalkNode(const For& loop) {
    loops_.push_back({loop.target.name, loop.items.get()});
    Walk(loop.body);
    Walk(loop.otherwise);
  }
  void WalkNode(const If& statement) {
    for (const If::Branch& branch : statement.branches) Walk(branch.body);
  }
  void WalkNode(const SetBlock& block) { Walk(block.body); }
  void WalkNode(const Macro& macro) { Walk(macro.body); }
  void WalkNode(const CallBlock& block) { Walk(block.caller.body); }
  void WalkNode(const FilterBlock& block) { Walk(block.body); }
  void WalkNode(const With& with) { Walk(with.body); }

  std::vector<Binding> sets_, loops_;
};

bool IsName(const ExpressionPtr& expression, std::string_view name) {
  return expression != nullptr && expression->kind == ExpressionKind::kName && expression->name == name;
}

// The operand of a filter, a test or a slice.
const Expression* WithoutSelection(const Expression* expression) {
  while (expression != nullptr &&
         (expression->kind == ExpressionKind::kFilter || expression->kind == ExpressionKind::kTest ||
          expression->kind == ExpressionKind::kSlice)) {
    expression = expression->operands[0].get();
  }
  return expression;
}

bool IsVariable(const Expression* expression, std::string_view name) {
  expression = WithoutSelection(expression);
  return expression != nullptr && expression->kind == ExpressionKind::kName && expression->name == name;
}

bool IsContentOf(const Expression* expression, std::string_view name) {
  expression = WithoutSelection(expression);
  if (expression == nullptr || expression->operands.empty() || !IsName(expression->operands[0], name)) return false;
  if (expression->kind == ExpressionKind::kAttribute) return expression->name == "content";
  if (expression->kind != ExpressionKind::kItem || expression->operands[1] == nullptr) return false;
  const Expression& key = *expression->operands[1];
  return key.kind == ExpressionKind::kConstant && key.constant.is_text() && key.constant.text() == "content";
}

// `messages`, and the variables that are set to it or to part of it.
std::set<std::string_view> MessageLists(const Bindings& bindings) {
  std::set<std::string_view> lists = {"messages"};
  for (size_t before = 0; before != lists.size();) {
    before = lists.size();
    for (const Binding& set : bindings.sets()) {
      const auto is_of = [&](std::string_view list) { return IsVariable(set.value, list); };
      if (!set.name.empty() && std::any_of(lists.begin(), lists.end(), is_of)) lists.insert(set.name);
    }
  }
  return lists;
}

}  // namespace

ContentFormat FindContentFormat(const Body& body) {
  const Bindings bindings(body);
  const std::set<std::string_view> lists = MessageLists(bindings);
  std::set<std::string_view> messages;
  for (const Binding& loop : bindings.loops()) {
    const auto is_over = [&](std::string_view list) { return IsVariable(loop.value, list); };
    if (!loop.name.empty() && std::any_of(lists.begin(), lists.end(), is_over)) messages.insert(loop.name);
  }
  for (const Binding& loop : bindings.loops()) {
    const auto is_content_of = [&](std::string_view message) { return IsContentOf(loop.value, message); };
    if (std::any_of(messages.begin(), messages.end(), is_content_of)) return ContentFormat::kParts;
  }
  return ContentFormat::kText;
}

}  // namespace latentd::jinja
