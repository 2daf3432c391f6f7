// Variables of a template while it runs. A scope ends with the statement that opened it, unless a macro was defined or
// a recursive loop runs inside, which may be called later: then it lives until the end of the rendering.
#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/value.h"

namespace latentd::jinja {

struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<std::string_view, Value>> variables;  // names belong to the template
  bool is_captured = false;

  const Value* Find(std::string_view name) const;  // here or in a parent
  void Set(std::string_view name, Value value);    // here
};

class Scopes {
 public:
  Scopes() : current_(&root_) {}
  Scope* current() const { return current_; }
  // Keeps the current scope and its parents until the end.
  Scope* Capture();

  // A new scope inside `parent` for as long as this lives.
  class Entered {
   public:
    Entered(Scopes& scopes, Scope* parent);
    ~Entered();
    Entered(const Entered&) = delete;
    Entered& operator=(const Entered&) = delete;

   private:
    Scopes& scopes_;
    Scope* previous_;
    std::unique_ptr<Scope> scope_;
  };

 private:
  Scope root_;
  Scope* current_;
  std::vector<std::unique_ptr<Scope>> captured_;
};

}  // namespace latentd::jinja
