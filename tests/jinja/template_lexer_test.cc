// White-space control, comments, raw blocks, literals, and what the lexer refuses.
#include <string>

#include <gtest/gtest.h>

#include "jinja/lexer.h"
#include "tests/jinja/rendered.h"

namespace latentd {
namespace {

// All tokens of an output as text, the numbers with their type.
std::string Tokens(std::string_view source) {
  const auto tokens = jinja::Tokenize(source);
  if (!tokens.ok()) return std::string(tokens.status().message());
  std::string text;
  for (const jinja::Token& token : *tokens) {
    if (token.type == jinja::TokenType::kInteger) text += "int:";
    if (token.type == jinja::TokenType::kFloat) text += "float:";
    text += token.text + " ";
  }
  return text;
}

TEST(TemplateLexer, OneNewlineAtTheEndOfTheSourceIsDropped) {
  EXPECT_EQ(Rendered("a\n"), "a");
  EXPECT_EQ(Rendered("a\n\n"), "a\n");
  EXPECT_EQ(Rendered("\n"), "");
}

TEST(TemplateLexer, LineBreaksOfTheSourceBecomeLineFeedsThoseOfValuesStay) {
  EXPECT_EQ(Rendered("a\r\nb\rc{{ x }}", R"({"x": "d\r\ne"})"), "a\nb\ncd\r\ne");
}

TEST(TemplateLexer, BlockTagTakesOneNewlineBehindIt) {
  EXPECT_EQ(Rendered("{% if true %}\n\nx{% endif %}"), "\nx");
  EXPECT_EQ(Rendered("{# c #}\n\nx"), "\nx");
  EXPECT_EQ(Rendered("{{ 1 }}\nx"), "1\nx");
  EXPECT_EQ(Rendered("{% if true +%}\nx{% endif %}"), "\nx");
}

TEST(TemplateLexer, BlockTagFirstOnItsLineTakesItsIndentation) {
  EXPECT_EQ(Rendered("a\n \t{% if true %}x{% endif %}"), "a\nx");
  EXPECT_EQ(Rendered("  {% if true %}x{% endif %}"), "x");
  EXPECT_EQ(Rendered("a  {% if true %}x{% endif %}"), "a  x");
  EXPECT_EQ(Rendered("\n  {%+ if true %}x{% endif %}"), "\n  x");
  EXPECT_EQ(Rendered("\n  {{ 1 }}"), "\n  1");
}

TEST(TemplateLexer, TagBehindAConsumedNewlineIsFirstOnItsLine) {
  EXPECT_EQ(Rendered("{% if true %}\n   {% set x = 1 %}\n  y{% endif %}"), "  y");
  EXPECT_EQ(Rendered("{{ 1 }}   {% set x = 1 %}y"), "1   y");
}

TEST(TemplateLexer, MinusStripsAllWhiteSpaceOnItsSide) {
  EXPECT_EQ(Rendered("a \n\t {%- if true -%} \n x \n {%- endif -%} \n b"), "axb");
  EXPECT_EQ(Rendered("a\u3000{{- 1 -}}\u2003b"), "a1b");
  EXPECT_EQ(Rendered("a {#- c -#} b"), "ab");
}

TEST(TemplateLexer, RawBlocksAreText) {
  EXPECT_EQ(Rendered("{% raw %}{{ x }}{% if %}{# #}{% endraw %}"), "{{ x }}{% if %}{# #}");
  EXPECT_EQ(Rendered("a {%- raw -%} b {%- endraw -%} c"), "abc");
  EXPECT_EQ(Rendered("{% raw %}x"), "[chat template, line 1: expected '{% endraw %}', found the end of the template]");
}

TEST(TemplateLexer, BracesThatOpenNothingAreText) {
  EXPECT_EQ(Rendered("{ a } {"), "{ a } {");
  EXPECT_EQ(Rendered("}} %} #}"), "}} %} #}");
}

TEST(TemplateLexer, BracketsKeepTheEndOfOutputOpen) { EXPECT_EQ(Rendered("{{ {'a': {'b': 1}} }}"), "{'a': {'b': 1}}"); }

TEST(TemplateLexer, EscapesOfStrings) {
  EXPECT_EQ(Rendered(R"({{ 'a\n\t\\\'\x41\u00e9\U0001F600\101\q' }})"), "a\n\t\\'Aé😀A\\q");
  EXPECT_EQ(Rendered("{{ 'two\nlines' }}"), "two\nlines");
  EXPECT_EQ(Rendered("{{ 'a\\\nb' }}"), "ab");
}

TEST(TemplateLexer, Numbers) {
  EXPECT_EQ(Tokens("{{ 1 1.5 2e3 1_000 x.0.1 }}"), " int:1 float:1.5 float:2e3 int:1000 x . int:0 . int:1   ");
}

TEST(TemplateLexer, WhatNoTokenCanBeIsNamedWithItsLine) {
  EXPECT_EQ(Rendered("a\nb {{ ? }}"), "[chat template, line 2: unexpected character '?']");
  EXPECT_EQ(Rendered("\n\n{{ 'open }}"), "[chat template, line 3: expected ' to end the string, found the end]");
  EXPECT_EQ(Rendered("{{ (1] }}"), "[chat template, line 1: expected ')', found ']']");
  EXPECT_EQ(Rendered("{{ 1) }}"), "[chat template, line 1: unexpected ')']");
  EXPECT_EQ(Rendered("x {# y"),
            "[chat template, line 1: expected '#}' to end the comment, found the end of the template]");
  EXPECT_EQ(Rendered("x {{ y"), "[chat template, line 1: expected '}}', found the end of the template]");
  EXPECT_EQ(Rendered("{{ '\\u12' }}"), "[chat template, line 1: expected 4 hexadecimal digits after '\\u', found 2]");
  EXPECT_EQ(Rendered("{{ '\xff' }}"), "[chat template: expected UTF-8 text]");
}

}  // namespace
}  // namespace latentd
