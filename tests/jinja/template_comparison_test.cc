// The results of the jinja2 package for generated templates, recorded by template_comparison.py: the text is the same,
// or both fail, or we say what is not implemented.
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/engine/text/tokenizer/golden_files.h"
#include "tests/jinja/rendered.h"

namespace latentd {
namespace {

struct Tally {
  int same = 0, both_fail = 0, declined = 0;
};

Tally Compare(const std::filesystem::path& file) {
  const std::vector<std::string> lines = ReadLines(file);
  Tally tally;
  std::vector<std::string> contexts;
  for (const auto& context : nlohmann::json::parse(lines.at(0))) contexts.push_back(context.get<std::string>());
  for (size_t i = 1; i < lines.size(); ++i) {
    const auto recorded = nlohmann::json::parse(lines[i]);
    const std::string source = recorded[0];
    SCOPED_TRACE(source);
    const absl::StatusOr<std::string> prompt = Render(source, contexts.at(recorded[1].get<size_t>()));
    if (prompt.ok()) {
      EXPECT_EQ(recorded[2], nlohmann::json(*prompt)) << "null where jinja2 fails";
      ++tally.same;
    } else if (recorded[2].is_null()) {
      ++tally.both_fail;
    } else {
      EXPECT_NE(prompt.status().message().find("not implemented"), std::string::npos) << prompt.status();
      ++tally.declined;
    }
  }
  std::cout << tally.same << " the same, " << tally.both_fail << " fail on both sides, " << tally.declined
            << " not implemented\n";
  return tally;
}

TEST(TemplateComparison, NoTextIsOtherThanThatOfJinja2) {
  const Tally tally = Compare("tests/data/templates/jinja2.jsonl.xz");
  EXPECT_GT(tally.same, 5'000);
  EXPECT_LT(tally.declined, tally.same / 5);
}

// Names that a scope sets later, generators that are gone through in part, constants that are infinite.
TEST(TemplateComparison, NoTextIsOtherWhateverTheOrderOfThings) {
  const Tally tally = Compare("tests/data/templates/jinja2_scopes.jsonl.xz");
  EXPECT_GT(tally.same, 3'000);
  EXPECT_LT(tally.declined, tally.same / 5);
}

// What has attributes and is no dict, in each place where an attribute is named by a text.
TEST(TemplateComparison, NoTextIsOtherWhereAnAttributeIsNamed) {
  const Tally tally = Compare("tests/data/templates/jinja2_attributes.jsonl.xz");
  EXPECT_GT(tally.same, 1'000);
  EXPECT_LT(tally.declined, tally.same / 5);
}

TEST(TemplateComparison, GroupsHaveNamesForTheirParts) {
  const std::string_view variables = R"({"m": [{"r": "b", "n": 1}, {"r": "a", "n": 2}, {"r": "B", "n": 3}]})";
  EXPECT_EQ(
      Rendered("{% for g in m | groupby('r') %}{{ g.grouper }}{{ g.list | length }}{{ g[0] }};{% endfor %}", variables),
      "a1a;b2b;");
  EXPECT_EQ(Rendered("{% for k, v in m | groupby('r') %}{{ k }}{{ v[0].n }};{% endfor %}", variables), "a2;b1;");
}

TEST(TemplateComparison, CasesAreThoseOfPython) {
  EXPECT_EQ(Rendered("{{ 'ǆ'.title() }}{{ 'ﬁn'.title() }}{{ 'ΌΣΟΣ ΑΣ'.lower() }}{{ 'straße'.upper() }}"),
            "ǅFinόσος αςSTRASSE");
  EXPECT_EQ(Rendered("{{ 'ŉ'.capitalize() }}{{ 'İ'.lower() | length }}{{ 'ß'.casefold() }}{{ 'ΑΣ' | title }}"),
            "ʼN2ssΑσ");
  EXPECT_EQ(Rendered("{{ \"they're\".title() }}{{ 'ǅ'.isupper() }}{{ 'ª'.islower() }}{{ '一'.isnumeric() }}"),
            "They'ReFalseTrueTrue");
}

TEST(TemplateComparison, WhatJinjaHasAndWeDoNotIsAnError) {
  EXPECT_EQ(Rendered("{{ lipsum is defined }}{{ lipsum is callable }}"), "TrueTrue");
  for (const char* source : {"{{ lipsum() }}",
                             "{{ lipsum }}",
                             "{{ self }}",
                             "{{ 'a' | wordwrap }}",
                             "{{ 'wordwrap' is filter }}",
                             "{{ 'a'.translate({}) }}",
                             "{{ (5).real }}",
                             "{{ 2.5.hex() }}",
                             "{{ dict.fromkeys([1]) }}",
                             "{{ [1] | map('abs') }}",
                             "{{ range }}",
                             "{{ ''.upper }}",
                             "{{ cycler(1) }}",
                             "{{ '\\N{DIGIT ONE}' }}",
                             "{% block a %}{% endblock %}",
                             "{% include 'a' %}",
                             "{{ ('<' | safe) + '<' }}",
                             "{{ ('<' | e).upper() }}",
                             "{{ 'a'.encode('latin-1') }}",
                             "{{ 9223372036854775807 + 1 }}",
                             "{{ '%c' % 65 }}",
                             "{{ '{:n}'.format(1) }}",
                             "{{ (-2) ** x }}",
                             "{{ {} | pprint }}"}) {
    const absl::StatusOr<std::string> prompt = Render(source, R"({"x": 2})");
    ASSERT_FALSE(prompt.ok()) << source << ": " << *prompt;
    EXPECT_NE(prompt.status().message().find("not implemented"), std::string::npos) << source << prompt.status();
  }
}

TEST(TemplateComparison, ViewsAndGeneratorsAreNoLists) {
  EXPECT_EQ(Rendered("{{ {'a': 1}.items() }}{{ {'a': 1}.keys() }}{{ range(1, 5, 2) }}{{ 'é'.encode() }}"),
            "dict_items([('a', 1)])dict_keys(['a'])range(1, 5, 2)b'\\xc3\\xa9'");
  EXPECT_EQ(
      Rendered("{{ {}.keys() == {}.items() }}{{ {1: 2}.keys() == {1: 2}.items() }}{{ {}.keys() == {}.values() }}"),
      "TrueFalseFalse");
  EXPECT_EQ(Rendered("{% set g = [1, 2] | map('string') %}{{ g | list }}{{ g | list }}{{ g is sequence }}"),
            "['1', '2'][]False");
  EXPECT_EQ(Rendered("{{ [1] | map('abs') | length }}"),
            "[chat template, line 1: object of type 'generator' has no len()]");
}

}  // namespace
}  // namespace latentd
