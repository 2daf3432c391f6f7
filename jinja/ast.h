// A parsed template. Immutable once parsed, so one template may be rendered by many threads at once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "jinja/value.h"

namespace latentd::jinja {

enum class ExpressionKind : uint8_t {
  kConstant,     // constant
  kName,         // name
  kList,         // operands
  kTuple,        // operands
  kObject,       // operands: key, value, key, value …
  kAttribute,    // operands[0] . name
  kItem,         // operands[0] [ operands[1] ]
  kSlice,        // operands[0] [ operands[1] : operands[2] : operands[3] ], null where left out
  kCall,         // operands[0] ( arguments )
  kFilter,       // operands[0] | name ( arguments ); a null operand is the body of a filter or set block
  kTest,         // operands[0] is name ( arguments )
  kNot,          // operands[0]
  kUnary,        // name operands[0]
  kBinary,       // operands[0] name operands[1]
  kConcat,       // operands joined by ~
  kAnd,          // operands[0] and operands[1]
  kOr,           // operands[0] or operands[1]
  kCompare,      // operands[0] comparisons[0] operands[1] comparisons[1] operands[2] …
  kConditional,  // operands[0] if operands[1] else operands[2], null where left out
};

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct Argument {
  enum class Kind : uint8_t { kPositional, kNamed, kSpread, kNamedSpread };
  Kind kind = Kind::kPositional;
  std::string name;  // of a named one
  ExpressionPtr value;
};

// One shape for all kinds, so that a walk over a tree is written once; the kinds above say which fields they use.
struct Expression {
  ExpressionKind kind = ExpressionKind::kConstant;
  int line = 0;
  int height = 1;  // of the tree, which is bounded: evaluating and freeing it recurses
  std::string name;
  Value constant;
  std::vector<ExpressionPtr> operands;
  std::vector<Argument> arguments;
  std::vector<std::string> comparisons;
};

struct Statement;
using Body = std::vector<Statement>;

// The target of `for` and `set`: a name, an attribute of a namespace, or several targets to unpack to.
struct Target {
  std::string name;
  std::string attribute;
  std::vector<Target> parts;
};

struct Parameter {
  std::string name;
  ExpressionPtr otherwise;  // null when the parameter has no default
};

// Names that a scope sets before it reads them (later_names.h).
using LaterNames = std::vector<std::string>;

struct Text {
  std::string text;
};
struct Output {
  ExpressionPtr value;
};
struct If {
  struct Branch {
    ExpressionPtr condition;  // null for else
    Body body;
  };
  std::vector<Branch> branches;
};
struct For {
  Target target;
  ExpressionPtr items;
  ExpressionPtr condition;  // null when all items are wanted
  bool is_recursive = false;
  Body body;
  Body otherwise;
  LaterNames later = {}, later_otherwise = {};
};
struct Set {
  Target target;
  ExpressionPtr value;
};
struct SetBlock {
  Target target;
  ExpressionPtr filter;  // null when there is none
  Body body;
  LaterNames later = {};
};
struct Macro {
  std::string name;
  std::vector<Parameter> parameters;
  Body body;
  bool uses_varargs = false;
  bool uses_kwargs = false;
  bool uses_caller = false;
  bool is_caller = false;  // the body of a call block
  LaterNames later = {};
};
struct CallBlock {
  ExpressionPtr call;
  Macro caller;
};
struct FilterBlock {
  ExpressionPtr filter;
  Body body;
  LaterNames later = {};
};
struct With {
  std::vector<std::pair<Target, ExpressionPtr>> variables;
  Body body;
  LaterNames later = {};
};
struct Break {};
struct Continue {};

struct Statement {
  int line = 0;
  std::variant<Text, Output, If, For, Set, SetBlock, Macro, CallBlock, FilterBlock, With, Break, Continue> node;
};

}  // namespace latentd::jinja
