#include "jinja/parser.h"

#include <algorithm>
#include <initializer_list>
#include <span>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "jinja/code_points.h"
#include "jinja/expression_parser.h"
#include "jinja/tokens.h"
#include "jinja/unknown_names.h"

namespace latentd::jinja {
namespace {

bool IsConstantName(std::string_view name) {
  for (const std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
    if (name == constant) return true;
  }
  return false;
}

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)), expressions_(tokens_) {}

  absl::StatusOr<Body> Run() {
    Body body = ParseBody({});
    if (tokens_.failed()) return tokens_.status();
    return body;
  }

 private:
  using EndTags = std::span<const std::string_view>;

  // Up to one of `ends`, whose name is then the current token, or up to the end of the template when there are none.
  Body ParseBody(EndTags ends) {
    const ExpressionParser::Nesting nesting(expressions_);
    Body body;
    while (!tokens_.at_end()) {
      const int line = tokens_.line();
      if (tokens_.Is(TokenType::kText)) {
        body.push_back({line, Text{tokens_.Take().text}});
      } else if (tokens_.Is(TokenType::kOutputBegin)) {
        tokens_.Take();
        body.push_back({line, Output{expressions_.ParseTuple()}});
        tokens_.Expect(TokenType::kOutputEnd, "'}}'");
      } else {
        tokens_.Expect(TokenType::kTagBegin, "'{%'");
        if (std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return tokens_.IsName(end); })) {
          return body;
        }
        ParseStatement(&body);
        tokens_.Expect(TokenType::kTagEnd, "'%}'");
      }
    }
    if (!ends.empty()) FailUnclosed(ends);
    return body;
  }

  void FailUnclosed(EndTags ends) {
    const auto& [name, line] = open_tags_.back();
    tokens_.FailExpected(absl::StrFormat("'%s' for the '%s' of line %d", ends.back(), name, line));
  }

  // The body of the tag whose head was just read, up to its end tag, which is read too but for its '%}'.
  Body ParseBlock(std::string_view end) {
    Body body = ParseUntil({end});
    tokens_.ExpectName(end);
    return body;
  }

  Body ParseUntil(std::initializer_list<std::string_view> ends) {
    tokens_.SkipOperator(":");
    tokens_.Expect(TokenType::kTagEnd, "'%}'");
    return ParseBody(EndTags(ends.begin(), ends.size()));
  }

  void ParseStatement(Body* body) {
    const int line = tokens_.line();
    const std::string name = tokens_.TakeName("the name of a tag");
    open_tags_.emplace_back(name, line);
    const auto add = [&](auto node) { body->push_back({line, std::move(node)}); };
    if (name == "if") {
      add(ParseIf());
    } else if (name == "for") {
      add(ParseFor());
    } else if (name == "set") {
      ParseSet(line, body);
    } else if (name == "macro") {
      add(ParseMacro());
    } else if (name == "call") {
      add(ParseCallBlock());
    } else if (name == "filter") {
      FilterBlock block{expressions_.ParseFilterChain(), {}};
      block.body = ParseBlock("endfilter");
      add(std::move(block));
    } else if (name == "with") {
      add(ParseWith());
    } else if (name == "generation") {
      add(With{{}, ParseBlock("endgeneration")});
    } else if (name == "print") {
      do {
        add(Output{expressions_.ParseExpression()});
      } while (tokens_.SkipOperator(","));
    } else if (name == "break" || name == "continue") {
      if (loop_depth_ == 0) tokens_.Fail(line, absl::StrFormat("expected '%s' inside of a for loop", name));
      name == "break" ? add(Break{}) : add(Continue{});
    } else {
      FailUnknownTag(name, line);
    }
    open_tags_.pop_back();
  }

  void FailUnknownTag(const std::string& name, int line) {
    for (const std::string_view known : {"autoescape", "block", "extends", "from", "import", "include"}) {
      if (name == known) return tokens_.Fail(line, absl::StrFormat("the tag '%s' is not implemented here", name));
    }
    std::string message = absl::StrFormat("expected a tag of the template language, found '%s'", name);
    if (open_tags_.size() > 1) {
      const auto& [open, open_line] = open_tags_[open_tags_.size() - 2];
      absl::StrAppend(&message, " while '", open, "' of line ", open_line, " is open");
    }
    tokens_.Fail(line, message);
  }

  If ParseIf() {
    using Conditional = ExpressionParser::Conditional;
    If statement;
    while (!tokens_.at_end()) {
      If::Branch branch{expressions_.ParseTuple(Conditional::kLeftOut), {}};
      branch.body = ParseUntil({"elif", "else", "endif"});
      statement.branches.push_back(std::move(branch));
      if (tokens_.SkipName("elif")) continue;
      if (tokens_.SkipName("else")) {
        statement.branches.push_back({nullptr, ParseBlock("endif")});
      } else {
        tokens_.ExpectName("endif");
      }
      break;
    }
    return statement;
  }

  For ParseFor() {
    For loop;
    loop.target = ParseTargets();
    RefuseAttribute(loop.target);
    tokens_.ExpectName("in");
    loop.items = expressions_.ParseTuple(ExpressionParser::Conditional::kLeftOut, "recursive");
    if (tokens_.SkipName("if")) loop.condition = expressions_.ParseExpression();
    loop.is_recursive = tokens_.SkipName("recursive");
    ++loop_depth_;
    loop.body = ParseUntil({"else", "endfor"});
    --loop_depth_;
    if (tokens_.SkipName("else")) {
      loop.otherwise = ParseBlock("endfor");
    } else {
      tokens_.ExpectName("endfor");
    }
    return loop;
  }

  void ParseSet(int line, Body* body) {
    Target target = ParseTargets();
    if (tokens_.SkipOperator("=")) {
      body->push_back({line, Set{std::move(target), expressions_.ParseTuple()}});
      return;
    }
    ExpressionPtr filter = tokens_.IsOperator("|") ? expressions_.ParseFilters(nullptr) : nullptr;
    body->push_back({line, SetBlock{std::move(target), std::move(filter), ParseBlock("endset")}});
  }

  Target ParseTargets() {
    Target targets;
    bool is_tuple = false;
    while (true) {
      if (is_tuple && tokens_.IsOperator(")")) break;
      targets.parts.push_back(ParseTarget());
      if (!tokens_.SkipOperator(",")) break;
      is_tuple = true;
    }
    if (is_tuple) return targets;
    Target only = std::move(targets.parts.front());
    return only;
  }

  Target ParseTarget() {
    const ExpressionParser::Nesting nesting(expressions_);
    if (tokens_.SkipOperator("(")) {
      Target inner = ParseTargets();
      tokens_.ExpectOperator(")");
      return inner;
    }
    Target target;
    target.name = tokens_.TakeName("a name to assign to");
    if (IsConstantName(target.name)) tokens_.Fail(tokens_.line(), "expected a name to assign to, found " + target.name);
    if (tokens_.SkipOperator(".")) target.attribute = tokens_.TakeName("the name of an attribute");
    return target;
  }

  // Only `set` assigns to an attribute.
  void RefuseAttribute(const Target& target) {
    if (!target.attribute.empty())
      tokens_.Fail(tokens_.line(), "expected a name, found an attribute of " + target.name);
    for (const Target& part : target.parts) RefuseAttribute(part);
  }

  std::vector<Parameter> ParseParameters() {
    std::vector<Parameter> parameters;
    tokens_.ExpectOperator("(");
    while (!tokens_.at_end() && !tokens_.IsOperator(")")) {
      Parameter parameter{tokens_.TakeName("the name of a parameter"), nullptr};
      for (const Parameter& other : parameters) {
        if (other.name == parameter.name) tokens_.Fail(tokens_.line(), "expected another name than " + other.name);
      }
      if (tokens_.SkipOperator("=")) {
        parameter.otherwise = expressions_.ParseExpression();
      } else if (!parameters.empty() && parameters.back().otherwise != nullptr) {
        tokens_.FailExpected(absl::StrFormat("a default for '%s'", parameter.name));
      }
      parameters.push_back(std::move(parameter));
      if (!tokens_.SkipOperator(",")) break;
    }
    tokens_.ExpectOperator(")");
    return parameters;
  }

  // A body that runs as a function: loops around it cannot be left from inside.
  void ParseMacroBody(std::string_view end, Macro* macro) {
    const int loop_depth = std::exchange(loop_depth_, 0);
    ExpressionParser::SpecialNames& names = expressions_.special_names();
    const ExpressionParser::SpecialNames outer = std::exchange(names, {});
    macro->body = ParseBlock(end);
    macro->uses_varargs = names.varargs;
    macro->uses_kwargs = names.kwargs;
    macro->uses_caller = names.caller;
    names.varargs |= outer.varargs;
    names.kwargs |= outer.kwargs;
    names.caller |= outer.caller;
    loop_depth_ = loop_depth;
  }

  Macro ParseMacro() {
    Macro macro;
    macro.name = tokens_.TakeName("the name of the macro");
    macro.parameters = ParseParameters();
    ParseMacroBody("endmacro", &macro);
    return macro;
  }

  CallBlock ParseCallBlock() {
    CallBlock block;
    block.caller.name = "caller";
    block.caller.is_caller = true;
    if (tokens_.IsOperator("(")) block.caller.parameters = ParseParameters();
    const int line = tokens_.line();
    block.call = expressions_.ParseExpression();
    if (block.call->kind != ExpressionKind::kCall) tokens_.Fail(line, "expected a call of a macro");
    ParseMacroBody("endcall", &block.caller);
    return block;
  }

  With ParseWith() {
    With with;
    while (!tokens_.at_end() && !tokens_.Is(TokenType::kTagEnd)) {
      Target target = ParseTarget();
      RefuseAttribute(target);
      tokens_.ExpectOperator("=");
      with.variables.emplace_back(std::move(target), expressions_.ParseExpression());
      if (!tokens_.SkipOperator(",")) break;
    }
    with.body = ParseBlock("endwith");
    return with;
  }

  Tokens tokens_;
  ExpressionParser expressions_;
  int loop_depth_ = 0;
  std::vector<std::pair<std::string, int>> open_tags_;  // name and line
};

}  // namespace

absl::StatusOr<Body> Parse(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("chat template: expected at most ", kMaxSourceBytes, " bytes, found ", source.size()));
  }
  if (!IsValidUtf8(source)) return absl::InvalidArgumentError("chat template: expected UTF-8 text");
  absl::StatusOr<std::vector<Token>> tokens = Tokenize(source);
  if (!tokens.ok()) return tokens.status();
  absl::StatusOr<Body> body = Parser(*std::move(tokens)).Run();
  if (!body.ok()) return body.status();
  if (absl::Status known = CheckNamesAreKnown(*body); !known.ok()) return known;
  return body;
}

}  // namespace latentd::jinja
