// Values as Python has them: printing, JSON, numbers, strings by code point, filters and methods.
#include <string>

#include <gtest/gtest.h>

#include "jinja/code_points.h"
#include "jinja/json_reader.h"
#include "jinja/value.h"
#include "tests/jinja/rendered.h"

namespace latentd {
namespace {

TEST(TemplatePrinting, ReprQuotesAndEscapesAsPython) {
  EXPECT_EQ(Rendered(R"({{ ["a'b", 'a"b', 'a\'"b', '\n\x00\xad中\u200b\\'] }})"),
            R"(["a'b", 'a"b', 'a\'"b', '\n\x00\xad中\u200b\\'])");
  EXPECT_EQ(Rendered("{{ [true, none, 1, 1.5, (1,), {}, {'a': [x]}] }}"),
            "[True, None, 1, 1.5, (1,), {}, {'a': [Undefined]}]");
}

TEST(TemplatePrinting, FloatsAreShortest) {
  EXPECT_EQ(Rendered("{{ 1.0 }} {{ 0.1 + 0.2 }} {{ 1e16 }} {{ 123456789012345.6 }} {{ 1e-5 }} {{ 0.0001 }} {{ -0.0 }}"),
            "1.0 0.30000000000000004 1e+16 123456789012345.6 1e-05 0.0001 -0.0");
}

TEST(TemplatePrinting, IntegersBeyond64BitsKeepTheirDigits) {
  EXPECT_EQ(Rendered("{{ x }} {{ x | tojson }} {{ 100000000000000000000 }}", R"({"x": 18446744073709551616})"),
            "18446744073709551616 18446744073709551616 100000000000000000000");
  EXPECT_EQ(Rendered("{{ 9223372036854775807 + 1 }}"),
            "[chat template, line 1: an integer of more than 64 bits is not implemented here]");
}

TEST(TemplateJson, SeparatorsEscapesAndOrderAreThoseOfJsonDumps) {
  EXPECT_EQ(Rendered("{{ d | tojson }}", R"({"d": {"z": [1, 2.0, null, true], "a": "</é\"\u0001\u007f"}})"),
            "{\"z\": [1, 2.0, null, true], \"a\": \"</é\\\"\\u0001\u007f\"}");
  EXPECT_EQ(Rendered("{{ d | tojson(indent=2) }}", R"({"d": {"z": [1], "e": []}})"),
            "{\n  \"z\": [\n    1\n  ],\n  \"e\": []\n}");
  EXPECT_EQ(Rendered("{{ 'é😀' | tojson(ensure_ascii=true) }}"), "\"\\u00e9\\ud83d\\ude00\"");
  EXPECT_EQ(Rendered("{{ {'b': 1, 'a': 2} | tojson(separators=(',', ':'), sort_keys=true) }}"), "{\"a\":2,\"b\":1}");
  EXPECT_EQ(Rendered("{{ {1: 2, none: 3} | tojson }}"), "{\"1\": 2, \"null\": 3}");
  EXPECT_EQ(Rendered("{{ [x] | tojson }}"), "[chat template, line 1: JSON has no Undefined]");
}

TEST(TemplateJson, FromJsonReadsWhatToJsonWrites) {
  EXPECT_EQ(Rendered(R"({{ ('{"b": [1, 2.5], "a": null}' | from_json) | tojson }})"), R"({"b": [1, 2.5], "a": null})");
  EXPECT_EQ(Rendered("{{ '{' | from_json }}"),
            "[chat template, line 1: expected JSON, found something else at byte 2]");
}

TEST(TemplateJson, ReaderBoundsDepthAndKeepsTheLastOfEqualKeys) {
  EXPECT_FALSE(jinja::ParseJson(std::string(100'000, '[')).ok());
  EXPECT_TRUE(jinja::ParseJson(std::string(200, '[') + std::string(200, ']')).ok());
  const auto value = jinja::ParseJson(R"({"a": 1, "b": 2, "a": 3})");
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(value->object().size(), 2u);
  EXPECT_EQ(value->object().Find("a")->integral(), 3);
}

TEST(TemplateJson, ObjectsWithManyKeysAreFoundByEach) {
  jinja::Object object;
  for (int i = 0; i < 1000; ++i) object.Set("k" + std::to_string(i), jinja::Value::Integer(i));
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(object.Find("k" + std::to_string(i))->integral(), i);
  EXPECT_EQ(object.Find("k1000"), nullptr);
  EXPECT_EQ(object.entries()[500].key.text(), "k500");
}

TEST(TemplateText, IsIndexedByCodePoint) {
  const std::string variables = R"({"s": "aé中😀z"})";
  EXPECT_EQ(Rendered("{{ s[1] }}{{ s[-2] }}|{{ s[1:3] }}|{{ s[::-1] }}|{{ s | length }}|{{ s[9] }}", variables),
            "é😀|é中|z😀中éa|5|");
  EXPECT_EQ(
      Rendered("{{ none[1:] }}"),
      "[chat template, line 1: expected a string or a list to slice, found NoneType; Jinja's rule for constants is "
      "not implemented here]");
  EXPECT_EQ(Rendered("{{ s.find('中') }}{{ s.index('z') }}{{ s.find('z', 0, 4) }}", variables), "24-1");
}

TEST(TemplateText, SplitsAsPython) {
  EXPECT_EQ(Rendered("{{ ' a  b c '.split() }}{{ ' a  b c '.split(none, 1) }}"), "['a', 'b', 'c']['a', 'b c ']");
  EXPECT_EQ(Rendered("{{ 'a,b,,c'.split(',') }}{{ 'a,b,c'.split(',', 1) }}{{ 'a,b,c'.rsplit(',', 1) }}"),
            "['a', 'b', '', 'c']['a', 'b,c']['a,b', 'c']");
  EXPECT_EQ(Rendered("{{ 'a\\r\\nb\\n\\nc\\n'.splitlines() }}{{ 'k=v=w'.partition('=') }}"),
            "['a', 'b', '', 'c']('k', '=', 'v=w')");
  EXPECT_EQ(Rendered("{{ 'a'.split('') }}"),
            "[chat template, line 1: expected a separator to split at, found an empty one]");
}

TEST(TemplateText, CaseOfUnicode) {
  EXPECT_EQ(
      Rendered("{{ 'straße éÀ ω' | upper }} {{ 'ÀÉΩ' | lower }} {{ 'élan vital-x' | title }} {{ 'éA' | capitalize }}"),
      "STRASSE ÉÀ Ω àéω Élan Vital-X Éa");
}

TEST(TemplateText, ReplacesStripsAndPads) {
  EXPECT_EQ(Rendered("{{ 'aaa'.replace('a', 'b', 2) }}{{ 'ab'.replace('', '-') }}{{ 'xéx'.strip('x') }}"), "bba-a-b-é");
  EXPECT_EQ(Rendered("[{{ 'é'.center(4) }}|{{ 'x'.rjust(3, '0') }}|{{ '-5'.zfill(4) }}]"), "[ é  |00x|-005]");
}

TEST(TemplateText, Formats) {
  EXPECT_EQ(Rendered("{{ '%s|%5.1f|%-4d|%03d|%x|%%' % ('a', 2.25, 7, 5, 255) }}"), "a|  2.2|7   |005|ff|%");
  EXPECT_EQ(Rendered("{{ '{1}{0}{n[0].k!r:>5}{{}}'.format(1, 2, n=[{'k': 'v'}]) }}"), "21  'v'{}");
  EXPECT_EQ(Rendered("{{ '{:,}|{:.2f}|{:>4}|{:*^5}'.format(1234567, 2.5, 'a', 'b') }}"), "1,234,567|2.50|   a|**b**");
  EXPECT_EQ(Rendered("{{ '%d' % 'a' }}"), "[chat template, line 1: format 'd' needs a number, found str]");
}

TEST(TemplateFilters, SequencesAndSelection) {
  const std::string people = R"({"p": [{"n": "Bo", "a": 3}, {"n": "al", "a": 1}, {"n": "Cy", "a": 3}]})";
  EXPECT_EQ(
      Rendered("{{ p | map(attribute='n') | join(',') }} {{ p | sort(attribute='n') | map(attribute='n') | list }}",
               people),
      "Bo,al,Cy ['al', 'Bo', 'Cy']");
  EXPECT_EQ(Rendered("{{ p | selectattr('a', 'eq', 3) | map(attribute='n') | list }}{{ p | rejectattr('a', 'gt', 1) | "
                     "map(attribute='n') | list }}",
                     people),
            "['Bo', 'Cy']['al']");
  EXPECT_EQ(
      Rendered("{% for a, items in p | groupby('a') %}{{ a }}:{{ items | map(attribute='n') | join }} {% endfor %}",
               people),
      "1:al 3:BoCy ");
  EXPECT_EQ(Rendered("{{ [1, 2, 3] | batch(2, 0) | list }}{{ [1, 2, 3] | slice(2) | list }}{{ 'abc' | reverse }}"),
            "[[1, 2], [3, 0]][[1, 2], [3]]cba");
  EXPECT_EQ(Rendered("{{ ['b', 'A', 'a'] | unique | list }}{{ ['x', 1] | sort }}"),
            "[chat template, line 1: '<' has no meaning between int and str]");
}

TEST(TemplateCodePoints, MalformedBytesAreSafeAndCountOne) {
  const std::string bytes = "a\xe4\xb8\xf0\x9f\xff";
  EXPECT_FALSE(jinja::IsValidUtf8(bytes));
  EXPECT_EQ(jinja::CountCodePoints(bytes), 6u);
  EXPECT_EQ(jinja::SplitCodePoints(bytes).size(), 6u);
  EXPECT_EQ(jinja::StripRight("x \xff "), "x \xff");
  EXPECT_TRUE(jinja::IsValidUtf8("aé中😀\uFFFD"));
}

}  // namespace
}  // namespace latentd
