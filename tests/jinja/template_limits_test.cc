// Hostile templates and conversations: bounded depth, time and memory, and never a crash.
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/jinja/rendered.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;

std::string Repeat(std::string_view text, int times) {
  std::string repeated;
  for (int i = 0; i < times; ++i) repeated += text;
  return repeated;
}

TEST(TemplateLimits, DeepNestingOfSourceIsASyntaxError) {
  for (const std::string& source : {
           "{{ " + Repeat("(", 100'000) + "1" + Repeat(")", 100'000) + " }}",
           "{{ " + Repeat("[", 100'000) + Repeat("]", 100'000) + " }}",
           "{{ " + Repeat("-", 100'000) + "1 }}",
           "{{ " + Repeat("not ", 100'000) + "1 }}",
           "{{ " + Repeat("1 if 1 else ", 50'000) + "1 }}",
           "{{ a" + Repeat("[a", 100'000) + Repeat("]", 100'000) + " }}",
           "{% set " + Repeat("(", 100'000) + "a" + Repeat(")", 100'000) + " = 1 %}",
           Repeat("{% if 1 %}", 40'000) + Repeat("{% endif %}", 40'000),
       }) {
    EXPECT_THAT(Rendered(source), HasSubstr("levels of nesting")) << source.substr(0, 40);
  }
}

TEST(TemplateLimits, LongChainsAreASyntaxError) {
  for (const std::string& source : {
           "{{ 1" + Repeat(" + 1", 50'000) + " }}",
           "{{ 1" + Repeat(" or 1", 50'000) + " }}",
           "{{ a" + Repeat(".a", 50'000) + " }}",
           "{{ a" + Repeat("()", 50'000) + " }}",
           "{{ 1" + Repeat(" | abs", 50'000) + " }}",
           "{{ 1" + Repeat(" if 1", 50'000) + " }}",
       }) {
    EXPECT_THAT(Rendered(source), HasSubstr("operations upon each other")) << source.substr(0, 40);
  }
}

TEST(TemplateLimits, ChainsOfPublishedLengthAreFine) {
  EXPECT_EQ(Rendered("{{ 1" + Repeat(" + 1", 250) + " }}"), "251");
  EXPECT_EQ(Rendered(Repeat("{% if 1 %}", 90) + "x" + Repeat("{% endif %}", 90)), "x");
}

TEST(TemplateLimits, EndlessRecursionEnds) {
  EXPECT_THAT(Rendered("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), HasSubstr("nest deeper than 500"));
  EXPECT_THAT(Rendered("{% macro m() %}{% call m() %}{% endcall %}{{ caller }}{% endmacro %}{{ m() }}"),
              HasSubstr("nest deeper than 500"));
  EXPECT_THAT(Rendered("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"), HasSubstr("nest deeper than 500"));
}

TEST(TemplateLimits, LoopsInsideLoopsEnd) {
  EXPECT_THAT(Rendered("{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
                       "{% endfor %}{% endfor %}{% endfor %}"),
              HasSubstr("steps"));
}

TEST(TemplateLimits, GrowingTextIsRefusedBeforeItIsMade) {
  for (const char* source : {
           "{{ 'a' * 9223372036854775807 }}",
           "{{ 'ab' * 9223372036854775807 }}",
           "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
           "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
           "{{ 'a'.center(99999999999) }}",
           "{{ 'a'.ljust(99999999999) }}",
           "{{ 'a'.zfill(99999999999) }}",
           "{{ '%99999999999d' % 1 }}",
           "{{ '{:99999999999}'.format(1) }}",
           "{{ [1, [2]] | tojson(indent=99999999999) }}",
           "{{ 'a\nb' | indent(99999999999) }}",
           "{% set s = 'a' * 9999999 %}{{ [s, s, s, s, s] | join }}",
           "{% set s = 'a' * 9999999 %}{{ s.replace('a', s) }}",
           "{% set s = 'a' * 9999999 %}{% for i in range(99) %}{{ s }}{% endfor %}",
           "{% set s = 'a' * 9999999 %}{{ [s, s, s, s, s] }}",
           "{% set s = 'a' * 9999999 %}{{ [s, s, s, s, s] | tojson }}",
           "{{ [0] * 99999999999 }}",
           "{{ [1] | batch(99999999999, 0) }}",
           "{{ range(99999999) }}",
           "{{ 10 ** 99999999999 }}",
       }) {
    const auto prompt = Render(source);
    EXPECT_EQ(prompt.status().code(), absl::StatusCode::kInvalidArgument) << source;
  }
}

TEST(TemplateLimits, ValuesThatShareTheirPartsCannotExplode) {
  const std::string doubling =
      "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(64) %}"
      "{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}";
  for (const char* use : {"{{ ns.a }}", "{{ ns.a | tojson }}", "{{ ns.a == ns.b }}", "{{ ns.a < ns.b }}",
                          "{{ [ns.a] | unique }}", "{{ ns.a in [ns.b] }}", "{{ (ns.a, 1) | string }}"}) {
    EXPECT_FALSE(Render(doubling + use, "{}", {.limits = {.text_bytes = 1 << 20, .work = 1 << 20}, .now = {}}).ok())
        << use;
  }
}

TEST(TemplateLimits, DeepValuesAreRefused) {
  EXPECT_THAT(Rendered("{% set ns = namespace(a=[]) %}{% for i in range(99999) %}{% set ns.a = [ns.a] %}{% endfor %}"),
              HasSubstr("nest deeper than 200"));
  EXPECT_THAT(Rendered("{% set ns = namespace(a='') %}{% for i in range(99999) %}{% set ns.a = {'a': ns.a} %}"
                       "{% endfor %}"),
              HasSubstr("nest deeper than 200"));
}

TEST(TemplateLimits, NamespacesMayContainThemselves) {
  EXPECT_THAT(Rendered("{% set ns = namespace() %}{% set ns.ns = [ns] %}{{ ns }}"), HasSubstr("contains itself"));
  EXPECT_EQ(Rendered("{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns.ns.ns == ns }}"), "True");
}

TEST(TemplateLimits, TheCallerMayLowerThem) {
  const auto prompt =
      Render("{{ x }}{{ x }}", R"({"x": "0123456789"})", {.limits = {.text_bytes = 15, .work = 1000}, .now = {}});
  EXPECT_THAT(std::string(prompt.status().message()), HasSubstr("the prompt is longer than 15 bytes"));
}

TEST(TemplateLimits, HugeSourceIsRefused) {
  EXPECT_THAT(Rendered(std::string(size_t{2} << 20, 'x')), HasSubstr("expected at most 1048576 bytes"));
}

// Pieces that templates consist of, so that mutations reach behind the lexer.
const char* const kFragments[] = {"{{ ",
                                  " }}",
                                  "{% ",
                                  " %}",
                                  "{%- ",
                                  " -%}",
                                  "{# ",
                                  " #}",
                                  "if ",
                                  "{% endif %}",
                                  "else",
                                  "elif x",
                                  "for x in ",
                                  "{% endfor %}",
                                  "set x = ",
                                  "set ns.x = ",
                                  "macro m(a)",
                                  "{% endmacro %}",
                                  "m(1)",
                                  "x",
                                  "messages",
                                  "[0]",
                                  "[-1:]",
                                  "['role']",
                                  ".content",
                                  ".items()",
                                  ".split('a')",
                                  " | tojson",
                                  " | join(',')",
                                  " | length",
                                  " is defined",
                                  " is not none",
                                  " + ",
                                  " ~ ",
                                  " and ",
                                  " or ",
                                  " not ",
                                  " in ",
                                  "(",
                                  ")",
                                  "[",
                                  "]",
                                  "{",
                                  "}",
                                  "'",
                                  "\"",
                                  "1",
                                  "9999999999",
                                  "0.5",
                                  "none",
                                  "true",
                                  "namespace()",
                                  "range(3)",
                                  "loop.index",
                                  "\n",
                                  " ",
                                  "é😀",
                                  "\\",
                                  ",",
                                  ":",
                                  "=",
                                  "%",
                                  "*",
                                  "**",
                                  " | map(attribute='content')",
                                  "{% break %}",
                                  "{% call m() %}",
                                  "{% endcall %}",
                                  "{% set y %}",
                                  "{% endset %}"};

TEST(TemplateLimits, MutatedTemplatesNeverCrash) {
  constexpr uint32_t kSeed = 20240229;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  std::mt19937 random(kSeed);
  const auto below = [&](size_t bound) { return static_cast<size_t>(random() % bound); };
  const std::vector<std::string> seeds = {
      "{% for m in messages %}{{ m['role'] + ': ' + m.content | trim }}\n{% endfor %}{{ tools | tojson(indent=2) }}",
      "{% set ns = namespace(i=0) %}{% macro f(a, b=2) %}{{ a ~ b }}{% endmacro %}{% for x in range(3) if x %}{{ f(x) "
      "}}"
      "{% set ns.i = ns.i + loop.index0 %}{% endfor %}{{ ns.i if ns.i is defined else messages[-1] }}",
      "{{ '%s {}' % messages[0].content.split(' ')[-1][::-1] }}{{ {'a': [1, 2.5]} | dictsort }}{% filter upper %}x{% "
      "endfilter %}",
  };
  const std::string variables =
      R"({"messages": [{"role": "user", "content": "é b"}, {"role": "tool", "content": null}]})";
  int rendered = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string source = seeds[below(seeds.size())];
    for (size_t edits = 1 + below(4); edits > 0; --edits) {
      const size_t position = below(source.size() + 1);
      switch (below(3)) {
        case 0:
          source.insert(position, kFragments[below(std::size(kFragments))]);
          break;
        case 1:
          source.erase(position, below(12));
          break;
        default:
          if (position < source.size()) source[position] = static_cast<char>(below(256));
      }
    }
    const auto prompt =
        Render(source, variables, {.limits = {.text_bytes = 1 << 16, .work = 1 << 16}, .now = std::tm{}});
    rendered += prompt.ok() ? 1 : 0;
    const absl::StatusCode code = prompt.status().code();
    ASSERT_TRUE(code == absl::StatusCode::kOk || code == absl::StatusCode::kInvalidArgument) << source;
  }
  // Neither all nor none: the mutations reach the evaluator.
  EXPECT_GT(rendered, 500);
  EXPECT_LT(rendered, 19'000);
}

}  // namespace
}  // namespace latentd
