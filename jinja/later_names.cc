#include "jinja/later_names.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "jinja/ast.h"

namespace latentd::jinja {
namespace {

// The meaning of a name when its scope begins.
enum class AtBegin : uint8_t {
  kResolved,   // a variable of the rendering, or a built-in
  kOuter,      // its meaning in a scope around
  kUndefined,  // nothing, until it is set
  kParameter,
};

// In the order in which Jinja goes through the statements of one scope: those inside of it come once it is known.
class Names {
 public:
  explicit Names(const Names* outer) : outer_(outer) {}

  void Read(std::string_view name) {
    if (!Knows(name)) names_.emplace(name, AtBegin::kResolved);
  }
  void Set(std::string_view name) {
    set_.insert(name);
    if (!names_.contains(name)) names_.emplace(name, IsOuter(name) ? AtBegin::kOuter : AtBegin::kUndefined);
  }
  void AddParameter(std::string_view name) {
    set_.insert(name);
    names_[name] = AtBegin::kParameter;
  }

  // A name that a branch sets, and nothing before, is looked up where the branch begins.
  void Join(const std::array<Names, 3>& branches) {
    std::set<std::string_view> newly_set;
    for (const Names& branch : branches) {
      std::ranges::set_difference(branch.set_, set_, std::inserter(newly_set, newly_set.end()));
    }
    for (const Names& branch : branches) {
      for (const auto& [name, at_begin] : branch.names_) names_[name] = at_begin;
    }
    for (const std::string_view name : newly_set) {
      set_.insert(name);
      names_[name] = IsOuter(name) ? AtBegin::kOuter : AtBegin::kResolved;
    }
  }

  std::vector<std::string> Later() const {
    std::vector<std::string> later;
    for (const auto& [name, at_begin] : names_) {
      if (at_begin == AtBegin::kUndefined) later.emplace_back(name);
    }
    return later;
  }

 private:
  bool Knows(std::string_view name) const { return names_.contains(name) || IsOuter(name); }
  bool IsOuter(std::string_view name) const { return outer_ != nullptr && outer_->Knows(name); }

  const Names* outer_;
  std::map<std::string_view, AtBegin> names_;
  std::set<std::string_view> set_;
};

void Read(const ExpressionPtr& expression, Names& names) {
  if (expression == nullptr) return;
  if (expression->kind == ExpressionKind::kName) names.Read(expression->name);
  for (const ExpressionPtr& operand : expression->operands) Read(operand, names);
  for (const Argument& argument : expression->arguments) Read(argument.value, names);
}

void SetTarget(const Target& target, Names& names) {
  if (!target.attribute.empty()) return names.Read(target.name);
  if (!target.name.empty()) names.Set(target.name);
  for (const Target& part : target.parts) SetTarget(part, names);
}

void AddParameters(const Target& target, Names& names) {
  if (!target.name.empty()) names.AddParameter(target.name);
  for (const Target& part : target.parts) AddParameters(part, names);
}

// One scope's statements, without those of the scopes inside.
class Collector {
 public:
  explicit Collector(Names& names) : names_(&names) {}

  void Walk(const Body& body) {
    for (const Statement& statement : body) {
      std::visit([&](const auto& node) { WalkNode(node); }, statement.node);
    }
  }

 private:
  template <class Leaf>
  void WalkNode(const Leaf&) {}
  void WalkNode(const Output& output) { Read(output.value, *names_); }
  void WalkNode(const Set& set) {
    Read(set.value, *names_);
    SetTarget(set.target, *names_);
  }
  void WalkNode(const For& loop) { Read(loop.items, *names_); }
  void WalkNode(const SetBlock& block) { SetTarget(block.target, *names_); }
  void WalkNode(const Macro& macro) { names_->Set(macro.name); }
  void WalkNode(const CallBlock& block) { Read(block.call, *names_); }
  void WalkNode(const FilterBlock& block) { Read(block.filter, *names_); }
  void WalkNode(const With& with) {
    for (const auto& [target, value] : with.variables) Read(value, *names_);
  }

  // Three branches always: `if`, all of `elif`, `else`.
  void WalkNode(const If& statement) {
    const std::vector<If::Branch>& branches = statement.branches;
    const bool has_else = branches.back().condition == nullptr;
    Read(branches.front().condition, *names_);
    std::array<Names, 3> joined = {*names_, *names_, *names_};
    WalkBranch(branches.front().body, joined[0]);
    for (size_t i = 1; i + (has_else ? 1 : 0) < branches.size(); ++i) {
      Read(branches[i].condition, joined[1]);
      std::array<Names, 3> alone = {joined[1], joined[1], joined[1]};
      WalkBranch(branches[i].body, alone[0]);
      joined[1].Join(alone);
    }
    if (has_else && branches.size() > 1) WalkBranch(branches.back().body, joined[2]);
    names_->Join(joined);
  }

  void WalkBranch(const Body& body, Names& names) {
    Names* const outer = std::exchange(names_, &names);
    Walk(body);
    names_ = outer;
  }

  Names* names_;
};

// The scopes inside of one that is known.
class Marker {
 public:
  explicit Marker(const Names& outer) : outer_(outer) {}

  void Walk(Body& body) {
    for (Statement& statement : body) {
      std::visit([&](auto& node) { WalkNode(node); }, statement.node);
    }
  }

  static std::vector<std::string> Mark(Body& body, Names names) {
    Collector(names).Walk(body);
    Marker(names).Walk(body);
    return names.Later();
  }

 private:
  template <class Leaf>
  void WalkNode(Leaf&) {}
  void WalkNode(If& statement) {
    for (If::Branch& branch : statement.branches) Walk(branch.body);
  }
  void WalkNode(For& loop) {
    loop.later_otherwise = Mark(loop.otherwise, Names(&outer_));
    Names names(&outer_);
    names.AddParameter("loop");
    AddParameters(loop.target, names);
    loop.later = Mark(loop.body, std::move(names));
  }
  void WalkNode(SetBlock& block) { block.later = Mark(block.body, Names(&outer_)); }
  void WalkNode(Macro& macro) {
    Names names(&outer_);
    for (const char* name : {"caller", "kwargs", "varargs"}) names.AddParameter(name);
    for (const Parameter& parameter : macro.parameters) names.AddParameter(parameter.name);
    for (const Parameter& parameter : macro.parameters) Read(parameter.otherwise, names);
    macro.later = Mark(macro.body, std::move(names));
  }
  void WalkNode(CallBlock& block) { WalkNode(block.caller); }
  void WalkNode(FilterBlock& block) {
    Names names(&outer_);
    Read(block.filter, names);
    block.later = Mark(block.body, std::move(names));
  }
  void WalkNode(With& with) {
    Names names(&outer_);
    for (const auto& [target, value] : with.variables) AddParameters(target, names);
    with.later = Mark(with.body, std::move(names));
  }

  const Names& outer_;
};

}  // namespace

std::vector<std::string> MarkLaterNames(Body& body) { return Marker::Mark(body, Names(nullptr)); }

}  // namespace latentd::jinja
