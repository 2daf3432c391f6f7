#include "jinja/evaluator.h"

#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "jinja/access.h"
#include "jinja/comparison.h"
#include "jinja/cycler.h"
#include "jinja/printing.h"

namespace latentd::jinja {

Evaluator::Nested::Nested(Evaluator& evaluator) : evaluator_(evaluator) {
  if (++evaluator_.depth_ > kMaxCallDepth) {
    evaluator_.runtime_.Fail(absl::StrCat("macros, loops and expressions nest deeper than ", kMaxCallDepth));
  }
}

TracedText Evaluator::Render(const Body& body, const LaterNames& later) {
  ExecuteScope(body, later);
  return std::move(output_);
}

Evaluator::Flow Evaluator::Execute(const Body& body) {
  const Nested nested(*this);
  for (const Statement& statement : body) {
    if (!runtime_.Spend(1)) return Flow::kBreak;
    runtime_.set_line(statement.line);
    const Flow flow = std::visit([&](const auto& node) { return Run(node); }, statement.node);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::ExecuteScope(const Body& body, const LaterNames& later) {
  for (const std::string& name : later) scopes_.current()->Set(name, Value());
  return Execute(body);
}

Evaluator::Flow Evaluator::Run(const Text& text) {
  Print(TracedText{.text = text.text, .from_request = {}});
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Run(const Output& output) {
  const Expression* const outer = std::exchange(printed_, output.value.get());
  Print(Evaluate(*output.value));
  printed_ = outer;
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Run(const If& statement) {
  for (const If::Branch& branch : statement.branches) {
    if (branch.condition != nullptr && !IsTrue(Evaluate(*branch.condition))) continue;
    return runtime_.failed() ? Flow::kBreak : Execute(branch.body);
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Run(const For& loop) {
  const Value source = Evaluate(*loop.items);
  RunLoop(loop, source, loop.is_recursive ? scopes_.Capture() : scopes_.current(), 0);
  return Flow::kNext;
}

void Evaluator::RunLoop(const For& statement, const Value& source, Scope* scope, int depth0) {
  Value items = IterateAsList(runtime_, source);
  if (runtime_.failed()) return;
  // Until the loop has come to the end of it, a generator has no items that we could name.
  const bool is_generator = source.is_iterable() && source.iterable().kind == IterableKind::kGenerator;
  Iterable* const generator = is_generator ? &source.iterable() : nullptr;
  if (generator != nullptr) generator->is_held = true;
  if (statement.condition != nullptr) items = SelectItems(statement, items);
  if (runtime_.failed()) return;
  if (items.items().empty()) {
    if (generator != nullptr) generator->is_held = false;
    const Scopes::Entered inner(scopes_, scope);
    ExecuteScope(statement.otherwise, statement.later_otherwise);
    return;
  }
  Loop* const loop = runtime_.NewLoop();
  *loop = {.list = std::move(items), .statement = &statement, .scope = scope, .depth0 = depth0, .changed_value = {}};
  const bool came_to_its_end = RunItems(statement, *loop);
  if (generator != nullptr && came_to_its_end) generator->is_held = false;
}

bool Evaluator::RunItems(const For& statement, Loop& loop) {
  bool ran_a_body = false, was_left = false;
  for (size_t i = 0; i < loop.items().size() && !was_left && runtime_.Spend(1); ++i) {
    loop.index = i;
    const Scopes::Entered inner(scopes_, loop.scope);
    scopes_.current()->Set("loop", Value::MakeLoop(&loop));
    Assign(statement.target, loop.items()[i]);
    const Flow flow = ExecuteScope(statement.body, statement.later);
    was_left = flow == Flow::kBreak;
    ran_a_body |= flow == Flow::kNext;
  }
  // Jinja takes a loop that never came to the end of its body for one without items.
  if (ran_a_body || runtime_.failed()) return !was_left;
  const Scopes::Entered inner(scopes_, loop.scope);
  ExecuteScope(statement.otherwise, statement.later_otherwise);
  return !was_left;
}

Value Evaluator::SelectItems(const For& statement, const Value& items) {
  std::vector<Value> selected;
  // The condition may change the list.
  for (size_t i = 0; i < items.items().size(); ++i) {
    const Value item = items.items()[i];
    if (!runtime_.Spend(1)) break;
    const Scopes::Entered inner(scopes_, scopes_.current());
    Assign(statement.target, item);
    if (IsTrue(Evaluate(*statement.condition))) selected.push_back(item);
  }
  return runtime_.List(std::move(selected));
}

Evaluator::Flow Evaluator::Run(const Set& set) {
  Assign(set.target, Evaluate(*set.value));
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Run(const SetBlock& block) {
  Flow flow = Flow::kNext;
  const Value text = Capture(block, &flow);
  if (flow == Flow::kNext) Assign(block.target, text);
  return flow;
}

Evaluator::Flow Evaluator::Run(const FilterBlock& block) {
  Flow flow = Flow::kNext;
  const Value text = Capture(block, &flow);
  if (!text.is_text()) runtime_.Fail(absl::StrFormat("expected a filter that makes text, found %s", TypeName(text)));
  if (flow == Flow::kNext) Print(text);
  return flow;
}

Evaluator::Flow Evaluator::Run(const Macro& macro) {
  const Value callable =
      Value::MakeCallable({.name = macro.name, .receiver = {}, .macro = &macro, .scope = scopes_.Capture()});
  scopes_.current()->Set(macro.name, callable);
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Run(const CallBlock& block) {
  const Value caller =
      Value::MakeCallable({.name = "caller", .receiver = {}, .macro = &block.caller, .scope = scopes_.Capture()});
  Print(Call(*block.call, &caller));
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Run(const With& with) {
  // All values are computed outside of the new scope.
  std::vector<Value> values;
  for (const auto& [target, value] : with.variables) values.push_back(Evaluate(*value));
  const Scopes::Entered inner(scopes_, scopes_.current());
  for (size_t i = 0; i < values.size(); ++i) Assign(with.variables[i].first, values[i]);
  return ExecuteScope(with.body, with.later);
}

void Evaluator::Assign(const Target& target, const Value& value) {
  if (runtime_.failed()) return;
  if (target.name.empty()) {
    const std::vector<Value> parts = Iterate(runtime_, value);
    if (runtime_.failed()) return;
    if (parts.size() != target.parts.size()) {
      runtime_.Fail(absl::StrFormat("expected %d values to unpack, found %d", target.parts.size(), parts.size()));
      return;
    }
    for (size_t i = 0; i < parts.size(); ++i) Assign(target.parts[i], parts[i]);
    return;
  }
  if (target.attribute.empty()) return scopes_.current()->Set(target.name, value);
  const Value owner = LookUp(target.name);
  if (owner.type() != Type::kNamespace || IsCycler(owner)) {
    runtime_.Fail(absl::StrFormat("expected a namespace to set '%s' of, found '%s' to be %s", target.attribute,
                                  target.name, TypeName(owner)));
    return;
  }
  owner.attributes().Set(target.attribute, value);
}

void Evaluator::Print(const Value& value) {
  if (value.is_text()) return Print(value.traced_text());
  if (runtime_.failed()) return;
  TracedText text;
  AppendText(runtime_, value, &text);
  Print(text);
}

void Evaluator::Print(const TracedText& text) {
  if (!runtime_.SpendBytes(text.text.size()) || !runtime_.Spend(text.from_request.size())) return;
  if (out_->text.size() + text.text.size() > runtime_.limits().text_bytes) {
    runtime_.Fail(absl::StrCat("the prompt is longer than ", runtime_.limits().text_bytes, " bytes"));
    return;
  }
  out_->Append(text);
}

template <class Block>
Value Evaluator::Capture(const Block& block, Flow* flow) {
  TracedText captured;
  TracedText* const outer = std::exchange(out_, &captured);
  {
    const Scopes::Entered scope(scopes_, scopes_.current());
    *flow = ExecuteScope(block.body, block.later);
  }
  out_ = outer;
  Value text = runtime_.Text(std::move(captured));
  if (block.filter == nullptr || runtime_.failed()) return text;
  filter_input_ = std::move(text);
  return Evaluate(*block.filter);
}

}  // namespace latentd::jinja
