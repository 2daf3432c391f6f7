#include "jinja/scope.h"

namespace latentd::jinja {

const Value* Scope::Find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent) {
    for (const auto& [variable, value] : scope->variables) {
      if (variable == name) return &value;
    }
  }
  return nullptr;
}

void Scope::Set(std::string_view name, Value value) {
  for (auto& [variable, old] : variables) {
    if (variable != name) continue;
    old = std::move(value);
    return;
  }
  variables.emplace_back(name, std::move(value));
}

Scope* Scopes::Capture() {
  for (Scope* scope = current_; scope != nullptr && !scope->is_captured; scope = scope->parent) {
    scope->is_captured = true;
  }
  return current_;
}

Scopes::Entered::Entered(Scopes& scopes, Scope* parent)
    : scopes_(scopes), previous_(scopes.current_), scope_(std::make_unique<Scope>()) {
  scope_->parent = parent;
  scopes_.current_ = scope_.get();
}

Scopes::Entered::~Entered() {
  scopes_.current_ = previous_;
  if (scope_->is_captured) scopes_.captured_.push_back(std::move(scope_));
}

}  // namespace latentd::jinja
