// Scopes, macros, loops, precedence, undefined values, and errors with their lines.
#include <string>

#include <gtest/gtest.h>

#include "tests/jinja/rendered.h"

namespace latentd {
namespace {

TEST(TemplateScopes, SetInsideALoopEndsWithTheIteration) {
  EXPECT_EQ(Rendered("{% set x = 0 %}{% for y in [1, 2] %}{{ x }}{% set x = y %}{{ x }} {% endfor %}{{ x }}"),
            "01 02 0");
}

TEST(TemplateScopes, SetInsideAnIfStays) { EXPECT_EQ(Rendered("{% if true %}{% set x = 1 %}{% endif %}{{ x }}"), "1"); }

TEST(TemplateScopes, NamespaceCrossesScopes) {
  EXPECT_EQ(Rendered("{% set ns = namespace(n=0) %}{% for x in [1, 2, 3] %}{% set ns.n = ns.n + x %}{% endfor %}"
                     "{{ ns.n }}"),
            "6");
  EXPECT_EQ(Rendered("{% set d = {} %}{% set d.x = 1 %}"),
            "[chat template, line 1: expected a namespace to set 'x' of, found 'd' to be dict]");
}

TEST(TemplateScopes, WithAndCaptureHaveScopesOfTheirOwn) {
  EXPECT_EQ(Rendered("{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}"), "3");
  EXPECT_EQ(Rendered("{% set x %}{% set y = 1 %}[{{ y }}]{% endset %}{{ x }}{{ y }}"), "[1]");
  EXPECT_EQ(Rendered("{% set x | upper %}abc{% endset %}{{ x }}"), "ABC");
  EXPECT_EQ(Rendered("{% filter upper | trim %} a{% endfilter %}"), "A");
}

TEST(TemplateScopes, MacroSeesWhatItsDefinitionSees) {
  EXPECT_EQ(Rendered("{% macro m() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}"
                     "{% for x in [2] %}{{ m() }}{% endfor %}"),
            "11");
}

TEST(TemplateScopes, MacroKeptInANamespaceOutlivesItsLoop) {
  EXPECT_EQ(Rendered("{% set ns = namespace() %}{% for x in [1, 2] %}{% macro m() %}{{ x }}{% endmacro %}"
                     "{% set ns.m = m %}{% endfor %}{{ ns.m() }}"),
            "2");
}

TEST(TemplateMacros, ArgumentsDefaultsAndSurplus) {
  EXPECT_EQ(Rendered("{% macro m(a, b=a) %}{{ a }}{{ b }};{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b=3, a=4) }}"),
            "11;12;43;");
  EXPECT_EQ(Rendered("{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}"), "(1, 2){'x': 3}");
  EXPECT_EQ(Rendered("{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}"),
            "[chat template, line 1: macro 'm' takes at most 1 arguments, found 2]");
  EXPECT_EQ(Rendered("{% macro m(a) %}{% endmacro %}{{ m(b=2) }}"),
            "[chat template, line 1: macro 'm' takes no argument named 'b']");
  EXPECT_EQ(Rendered("{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1], **{'b': 2}) }}"), "12");
}

TEST(TemplateMacros, CallBlockPassesItsBody) {
  EXPECT_EQ(Rendered("{% macro m(n) %}<{{ caller(n + 1) }}>{% endmacro %}{% call(x) m(1) %}{{ x }}{% endcall %}"),
            "<2>");
}

TEST(TemplateLoops, LoopVariable) {
  EXPECT_EQ(Rendered("{% for x in 'ab' %}{{ loop.index }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}"
                     "{{ loop.cycle('p', 'q') }} {% endfor %}"),
            "11TrueFalsep 20FalseTrueq ");
  EXPECT_EQ(Rendered("{% for x in [1, 1, 2] %}{{ loop.changed(x) }} {% endfor %}"), "True False True ");
}

TEST(TemplateLoops, FilteredLoopCountsWhatItKeeps) {
  EXPECT_EQ(Rendered("{% for x in [1, 2, 3] if x != 2 %}{{ loop.index }}{{ x }}/{{ loop.length }} {% endfor %}"),
            "11/2 23/2 ");
  EXPECT_EQ(Rendered("{% for x in [1] if x > 1 %}{% else %}none{% endfor %}"), "none");
}

TEST(TemplateLoops, BreakAndContinue) {
  EXPECT_EQ(Rendered("{% for x in range(9) %}{% if x == 1 %}{% continue %}{% elif x == 4 %}{% break %}{% endif %}"
                     "{{ x }}{% endfor %}"),
            "023");
  EXPECT_EQ(Rendered("{% break %}"), "[chat template, line 1: expected 'break' inside of a for loop]");
  EXPECT_EQ(Rendered("{% for x in [1] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}"),
            "[chat template, line 1: expected 'break' inside of a for loop]");
}

TEST(TemplateLoops, RecursiveLoopDescends) {
  EXPECT_EQ(Rendered("{% for n in t recursive %}{{ loop.depth }}{{ n.v }}({{ loop(n.c) }}){% endfor %}",
                     R"({"t": [{"v": "a", "c": [{"v": "b", "c": []}]}]})"),
            "1a(2b())");
}

TEST(TemplateLoops, UnpackingNeedsTheRightNumber) {
  EXPECT_EQ(Rendered("{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", R"({"d": {"z": 1, "a": 2}})"),
            "z=1;a=2;");
  EXPECT_EQ(Rendered("{% for a, b in [[1, 2, 3]] %}{% endfor %}"),
            "[chat template, line 1: expected 2 values to unpack, found 3]");
}

TEST(TemplatePrecedence, FiltersBindTighterThanOperatorsTestsTighterThanNot) {
  EXPECT_EQ(Rendered("{{ 'a' + [1] | tojson }} {{ -1 | abs }} {{ not x is defined }}"), "a[1] 1 True");
  EXPECT_EQ(Rendered("{{ 1 + 2 * 3 ** 2 }} {{ 'a' ~ 1 + 2 }} {{ 7 // 2 * 2 }}"),
            "[chat template, line 1: '+' has no meaning between str and int]");
  EXPECT_EQ(Rendered("{{ 1 + 2 * 3 ** 2 }} {{ 7 // -2 }} {{ -7 % 3 }} {{ 6 / 4 }}"), "19 -4 2 1.5");
  EXPECT_EQ(Rendered("{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 1 not in [2] }} {{ 'x' if false }}|"), "True False True |");
}

TEST(TemplateUndefined, CountsAsNothingButHasNoAttributes) {
  EXPECT_EQ(Rendered("[{{ x }}{{ x | length }}{{ 'a' in x }}{% for y in x %}y{% endfor %}{{ x ~ 'b' }}]"), "[0Falseb]");
  EXPECT_EQ(Rendered("{{ x.y }}"), "[chat template, line 1: 'x' is undefined]");
  EXPECT_EQ(Rendered("{{ m.a.b }}", R"({"m": {}})"), "[chat template, line 1: 'dict object' has no attribute 'a']");
  EXPECT_EQ(Rendered("{{ none.x }}{{ [][3] }}|"), "|");
  EXPECT_EQ(Rendered("{{ x + 1 }}"), "[chat template, line 1: 'x' is undefined]");
}

TEST(TemplateAttributes, MethodsAndKeysInJinjasOrder) {
  EXPECT_EQ(Rendered("{{ d['items'] }}{{ d.items() | length }}{{ d.get('x', 5) }}", R"({"d": {"items": 7}})"), "715");
  EXPECT_EQ(Rendered("{{ l.append }}|{{ l.append(1) }}", R"({"l": []})"),
            "[chat template, line 1: access to attribute 'append' of 'list' object is unsafe.]");
}

TEST(TemplateErrors, RaiseExceptionCarriesExactlyItsMessage) {
  const auto prompt = Render("\n{{ raise_exception('roles must alternate, é') }}");
  EXPECT_EQ(prompt.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(prompt.status().message(), "roles must alternate, é");
}

TEST(TemplateErrors, LinesOfErrorsWhileRendering) {
  EXPECT_EQ(Rendered("a\n{% if true %}\n{{ 1 +\n none }}{% endif %}"),
            "[chat template, line 3: '+' has no meaning between int and NoneType]");
  EXPECT_EQ(Rendered("{% for x in none %}{% endfor %}"),
            "[chat template, line 1: expected something to iterate over, found NoneType]");
}

TEST(TemplateErrors, SyntaxErrorsSayWhatWasExpected) {
  EXPECT_EQ(Rendered("{% if %}x{% endif %}"), "[chat template, line 1: expected an expression, found '%}']");
  EXPECT_EQ(Rendered("{% endif %}"), "[chat template, line 1: expected a tag of the template language, found 'endif']");
  EXPECT_EQ(Rendered("\n{% for x in y %}\n"),
            "[chat template, line 2: expected 'endfor' for the 'for' of line 2, found the end of the template]");
  EXPECT_EQ(
      Rendered("{% if a %}{% for x in y %}{% endif %}"),
      "[chat template, line 1: expected a tag of the template language, found 'endif' while 'for' of line 1 is open]");
  EXPECT_EQ(Rendered("{{ a b }}"), "[chat template, line 1: expected '}}', found 'b']");
  EXPECT_EQ(Rendered("{% set 1 = 2 %}"), "[chat template, line 1: expected a name to assign to, found '1']");
  EXPECT_EQ(Rendered("{{ f(a=1, 2) }}"), "[chat template, line 1: expected a named argument or ')', found '2']");
}

TEST(TemplateErrors, UnknownFiltersFailAtLoadExceptInsideAnIf) {
  EXPECT_FALSE(ChatTemplate::Parse("{{ 1 | nosuch }}").ok());
  EXPECT_FALSE(ChatTemplate::Parse("{% if a %}{% for x in y %}{{ x | nosuch }}{% endfor %}{% endif %}").ok());
  EXPECT_EQ(Rendered("{% if false %}{{ 1 | nosuch }}{% endif %}{{ 1 | nosuch if false }}"), "");
  EXPECT_EQ(Rendered("{% if true %}{{ 1 | nosuch }}{% endif %}"),
            "[chat template, line 1: there is no filter named 'nosuch']");
  EXPECT_EQ(Rendered("{{ 1 is nosuch }}"), "[chat template, line 1: expected the name of a test, found 'nosuch']");
}

TEST(TemplateContext, ToolsAreNoneUnlessGivenAndReasoningHasBothNames) {
  EXPECT_EQ(Rendered("{{ tools }} {{ documents is defined }} {{ tools is none }}"), "None True True");
  EXPECT_EQ(Rendered("{{ messages[0].reasoning_content }}{{ messages[0].thinking }}",
                     R"({"messages": [{"reasoning": "r"}]})"),
            "rr");
}

TEST(TemplateContext, TimeIsTheCallersTime) {
  std::tm time{};
  time.tm_year = 124;
  time.tm_mon = 1;
  time.tm_mday = 29;
  const auto prompt = Render("{{ strftime_now('%Y-%m-%d') }}", "{}", {.limits = {}, .now = time});
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_EQ(*prompt, "2024-02-29");
}

}  // namespace
}  // namespace latentd
