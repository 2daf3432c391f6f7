// The names that a template reads, and its form of tool calls: the server decides by them.
#include <string>

#include <gtest/gtest.h>

#include "engine/text/chat/tool_call_style.h"
#include "tests/engine/text/tokenizer/golden_files.h"
#include "tests/support/shared_goldens.h"

namespace latentd {
namespace {

std::string Variables(std::string_view source) {
  std::string names;
  for (const char* name : {"a", "b", "c", "x", "loop", "range", "namespace", "varargs", "m"}) {
    if (ChatTemplate::Parse(source)->ReadsVariable(name)) names += std::string(names.empty() ? "" : " ") + name;
  }
  return names;
}

TEST(TemplateNames, VariablesAreWhatTheTemplateMayNotHaveSet) {
  EXPECT_EQ(Variables("{{ a }}{% set b = c %}{{ b }}"), "a c");
  EXPECT_EQ(Variables("{% if not a is defined %}{% set a = 1 %}{% endif %}{{ a }}"), "a");
  EXPECT_EQ(Variables("{% if b %}{% set a = 1 %}{% endif %}{{ a }}"), "a b");
  EXPECT_EQ(Variables("{% for a in b if a.c %}{{ loop.index }}{{ a }}{% else %}{{ x }}{% endfor %}{{ a }}"), "a b x");
  EXPECT_EQ(Variables("{% for x in [1] %}{% set a = 1 %}{% endfor %}{{ a }}"), "a");
  EXPECT_EQ(Variables("{% macro m(a, b=c) %}{{ a }}{{ b }}{{ varargs }}{{ x }}{% endmacro %}{{ m(1) }}"), "c x");
  EXPECT_EQ(Variables("{% set ns = namespace(a=b) %}{% set ns.x = range(c) %}{{ ns.x }}"), "b c");
  EXPECT_EQ(Variables("{% with a = b %}{{ a }}{% endwith %}{% set x %}{{ c }}{% endset %}{{ x }}"), "b c");
  EXPECT_EQ(Variables("{% set a.b = 1 %}{% call(x) m(b) %}{{ x }}{{ c }}{% endcall %}{% filter trim %}{{ x }}{% "
                      "endfilter %}"),
            "a b c x m");
  EXPECT_EQ(Variables("{{ {'k': a}[b] if c else x }}{{ 'q' is in m }}"), "a b c x m");
  EXPECT_EQ(Variables("text {# {{ a }} #}{% raw %}{{ b }}{% endraw %}"), "");
}

TEST(TemplateNames, KeysAreAttributesAndTexts) {
  const auto parsed = ChatTemplate::Parse("{{ m.a }}{{ m['b'] }}{{ m.get('c') }}{% set d = 1 %}{{ 'e.f' }}");
  for (const char* key : {"a", "b", "c", "get"}) EXPECT_TRUE(parsed->MentionsKey(key)) << key;
  for (const char* key : {"d", "e", "m"}) EXPECT_FALSE(parsed->MentionsKey(key)) << key;
}

std::string Style(std::string_view source) {
  const ToolCallStyle style = FindToolCallStyle(*ChatTemplate::Parse(source), {});
  std::string shown = style.arguments == ArgumentsForm::kText ? "text" : "object";
  if (style.beside_none) shown += " none";
  if (style.beside_empty) shown += " empty";
  if (style.beside_text) shown += " beside";
  if (style.prints_results) shown += " results";
  return shown;
}

TEST(ToolCallStyle, IsFoundByTrying) {
  const auto source = [](const std::string& arguments) {
    return "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}{{ c.function.name }}" + arguments +
           "{% endfor %}{% endfor %}";
  };
  EXPECT_EQ(Style(source("{{ '' + c.function.arguments }}")), "text empty beside results");
  EXPECT_EQ(Style(source("{{ c.function.arguments | tojson }}")), "object empty beside results");
  EXPECT_EQ(Style(source("{{ c.function.arguments }}")), "text empty beside results");
  EXPECT_EQ(Style(source("{% for k, v in c.function.arguments.items() %}<{{ k }}>{{ v }}{% endfor %}")),
            "object empty beside results");
  EXPECT_EQ(Style("{% for m in messages %}{{ m.content }}{% endfor %}"), "text results");
  EXPECT_EQ(Style("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"), "text");
  EXPECT_EQ(Style("{{ raise_exception('no') }}"), "text");
}

TEST(ToolCallStyle, OfPublishedTemplates) {
  const std::filesystem::path folder = SharedGoldens("goldens/templates");
  if (!AreThere(folder)) GTEST_SKIP();
  const std::pair<const char*, const char*> expected[] = {
      {"deepseek-r1-0528", "text empty beside results"},
      {"deepseek-r1-distill-qwen-32b.llamacpp", "object none empty beside results"},
      {"deepseek-r1", "text none results"},
      {"deepseek-r1.llamacpp", "object none empty results"},
      {"deepseek-r1.vllm-tools", "object empty beside results"},
      {"deepseek-v2.5", "text none results"},
      {"deepseek-v2", "text"},
      {"deepseek-v3-0324", "text none empty beside results"},
      {"deepseek-v3.1.llamacpp", "object none empty beside results"},
      {"deepseek-v3.1.vllm-tools", "object none empty beside results"},
      {"deepseek-v3.1.xinference", "object none empty beside results"},
      {"deepseek-v3.2-exp", "text none empty beside results"},
      {"deepseek-v3.2.llamacpp", "text none empty beside results"},
      {"deepseek-v3", "text none results"},
      {"deepseek-v3.vllm-tools", "object none empty beside results"},
      {"glm-4.6", "object empty beside results"},
      {"glm-4.7-flash", "object empty beside results"},
      {"kimi-k2-instruct", "text none empty beside results"},
      {"kimi-k2-thinking", "text none empty beside results"},
      {"kimi-k2.moonshotai", "object none empty beside results"},
      {"moonlight-16b-a3b-instruct", "text results"},
      {"tiny-tales", "text"}};
  for (const auto& [name, style] : expected) {
    EXPECT_EQ(Style(ReadMaybeCompressed(folder / (std::string(name) + ".jinja"))), style) << name;
  }
}

}  // namespace
}  // namespace latentd
