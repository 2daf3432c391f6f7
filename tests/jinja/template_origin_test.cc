// Which parts of a prompt came with the request: what safe mode rests on.
#include <cctype>
#include <filesystem>
#include <iostream>
#include <string>

#include <gtest/gtest.h>

#include "jinja/chat_template.h"
#include "jinja/json_reader.h"
#include "tests/engine/text/tokenizer/golden_files.h"
#include "tests/jinja/rendered.h"
#include "tests/support/shared_goldens.h"

namespace latentd {
namespace {

using jinja::Object;
using jinja::TracedText;
using jinja::Value;

// A render whose variables all came with the request.
absl::StatusOr<TracedText> RenderForeign(std::string_view source, const Object& variables) {
  const absl::StatusOr<ChatTemplate> parsed = ChatTemplate::Parse(source);
  if (!parsed.ok()) return parsed.status();
  const Value foreign = jinja::FromRequest(Value::MakeObject(variables));
  return parsed->RenderTraced(foreign.object(), {.list_changes = jinja::ListChanges::kOwnLists});
}

// The prompt with [] around what came with the request.
std::string Origins(std::string_view source, std::string_view variables = R"({"s": "ab cd", "l": ["x", "y"]})") {
  const auto traced = RenderForeign(source, jinja::ParseJson(variables)->object());
  if (!traced.ok()) return std::string(traced.status().message());
  std::string shown;
  size_t begin = 0;
  for (const TracedText::Range& range : traced->from_request) {
    shown += traced->text.substr(begin, range.begin - begin);
    shown += "[" + traced->text.substr(range.begin, range.end - range.begin) + "]";
    begin = range.end;
  }
  return shown + traced->text.substr(begin);
}

TEST(TemplateOrigins, TextThatIsJoinedKeepsTheOriginOfItsParts) {
  EXPECT_EQ(Origins("<{{ s }}>{{ '<' + s + '>' }}{{ '<' ~ s ~ 1 ~ '>' }}"), "<[ab cd]><[ab cd]><[ab cd]1>");
  EXPECT_EQ(Origins("{{ l | join('-') }} {{ '-'.join(l) }} {{ s.join(['1', '2']) }}"), "[x]-[y] [x]-[y] 1[ab cd]2");
  EXPECT_EQ(Origins("{{ ('<' + s + '>') * 2 }}"), "<[ab cd]><[ab cd]>");
  EXPECT_EQ(Origins("{{ '<%s>%%' % s }} {{ '<{}>{{'.format(s) }} {{ '<%s>' | format(s) }}"),
            "<[ab cd]>% <[ab cd]>{ <[ab cd]>");
  EXPECT_EQ(Origins("{{ s % () }}{{ (s ~ '%s') % 1 }}", R"({"s": "100%%"})"), "[100%100%1]");
}

TEST(TemplateOrigins, PartsOfTextKeepTheirOrigin) {
  EXPECT_EQ(Origins("{% set t = ' <' + s + '> ' %}{{ t.strip() }}{{ t | trim }}{{ t[1:4] }}{{ t[::-1] }}{{ t[2] }}"),
            "<[ab cd]><[ab cd]><[ab] >[dc ba]< [a]");
  EXPECT_EQ(Origins("{% set t = '<' + s + '>' %}{% for c in t %}{{ c }}.{% endfor %}{{ (t | first) ~ (t | last) }}"),
            "<.[a].[b].[ ].[c].[d].>.<>");
  EXPECT_EQ(Origins("{% set t = '<' + s + '>' %}{{ t.split(' ') | join('|') }}{{ t.partition('b') | join('|') }}"),
            "<[ab]|[cd]><[a]|[b]|[ cd]>");
  EXPECT_EQ(
      Origins("{% set t = '<' + s + '>' %}{{ t.removeprefix('<') }}{{ t.removesuffix('>') }}{{ t.lstrip('<a') }}"),
      "[ab cd]><[ab cdb cd]>");
  EXPECT_EQ(Origins("{{ ('<' + s + '>').replace('b', '+') }}{{ '<b>'.replace('b', s) }}{{ s.replace('b', '') }}"),
            "<[a]+[ cd]><[ab cd]>[a cd]");
  EXPECT_EQ(Origins("{{ s.center(9, '*') }}{{ '-'.ljust(3, l[0]) }}"), "**[ab cd]**-[xx]");
}

TEST(TemplateOrigins, CapturedTextKeepsTheOriginOfItsParts) {
  EXPECT_EQ(Origins("{% set t %}<{{ s }}>{% endset %}{{ t }}{% macro m(x) %}({{ x }}){% endmacro %}{{ m(s) ~ m(1) }}"),
            "<[ab cd]>([ab cd])(1)");
  EXPECT_EQ(Origins("{% filter trim %} <{{ s }}> {% endfilter %}{% macro c() %}<{{ caller() }}>{% endmacro %}"
                    "{% call c() %}{{ s }}!{% endcall %}"),
            "<[ab cd]><[ab cd]!>");
  EXPECT_EQ(Origins("{% for x in l recursive %}<{{ x }}>{% if x == 'x' %}{{ loop(['y']) }}{% endif %}{% endfor %}"),
            "<[x]><y><[y]>");
}

TEST(TemplateOrigins, WhatIsMadeOfRequestTextIsRequestText) {
  EXPECT_EQ(Origins("{{ s | upper }}{{ s | tojson }}{{ l }}{{ l | string }}{{ s | indent }}{{ s | title }}{{ s | e }}"),
            "[AB CD\"ab cd\"['x', 'y']['x', 'y']ab cdAb Cdab cd]");
  EXPECT_EQ(Origins("{{ {'k': s} }}{{ ['k', s] | tojson }}{{ {s: 1} | tojson }}"),
            "[{'k': 'ab cd'}[\"k\", \"ab cd\"]{\"ab cd\": 1}]");
  EXPECT_EQ(Origins("{{ t | from_json }}{% for k, v in (t | from_json).items() %}{{ k }}={{ v }}{% endfor %}",
                    R"({"t": "{\"<a>\": \"<b>\"}"})"),
            "[{'<a>': '<b>'}<a>]=[<b>]");
  EXPECT_EQ(Origins("{{ '%s' % [s] }}{{ '%r' % s }}{{ '{!r:>8}'.format(s) }}"), "[['ab cd']'ab cd' 'ab cd']");
}

TEST(TemplateOrigins, WhatOnlyDependsOnRequestTextIsTheTemplates) {
  EXPECT_EQ(Origins("{{ '<a>' if s else '<b>' }}{{ s | length }}{{ s == 'ab cd' }}{{ nothing | default('<d>') }}"),
            "<a>5True<d>");
  EXPECT_EQ(Origins("{{ {'k': '<a>'}.get('k', s) }}{{ {'ab cd': '<b>'}[s] }}{{ loop_ }}{{ '' | d('<c>', true) }}"),
            "<a><b><c>");
  EXPECT_EQ(Origins("{% set ns = namespace(t='<') %}{% set ns.t = ns.t + s %}{{ ns.t + '>' }}"), "<[ab cd]>");
}

TEST(TemplateOrigins, NamesOfArgumentsCannotComeFromTheRequest) {
  EXPECT_EQ(Origins("{% macro m() %}{{ kwargs }}{% endmacro %}{{ m(**d) }}", R"({"d": {"<a>": 1}})"),
            "chat template, line 1: the names behind '**' came with the request, which safe_mode cannot trace");
}

TEST(TemplateOrigins, ListsThatGrowAreTraced) {
  EXPECT_EQ(Origins("{% set q = namespace(ids=[]) %}{% set _ = q.ids.append('<' + s) %}{% set _ = q.ids.append('z') %}"
                    "{{ q.ids.pop(0) }}{{ q.ids | join }}{{ q.ids | tojson }}"),
            "<[ab cd]z[[\"z\"]]");
}

TEST(TemplateLists, OnlyTheTemplatesOwnListsMayChangeAndOnlyWhereAllowed) {
  const auto render = [](std::string_view source) {
    const ChatTemplate::RenderOptions options{.list_changes = jinja::ListChanges::kOwnLists};
    const auto prompt = Render(source, R"({"l": ["a"]})", options);
    return prompt.ok() ? *prompt : std::string(prompt.status().message());
  };
  EXPECT_EQ(render("{% set x = [1, 2, 3] %}{{ x.pop() }}{{ x.pop(0) }}{{ x.append('b') }}{{ x }}"), "31None[2, 'b']");
  EXPECT_EQ(render("{% set x = [1] %}{% set y = x %}{% set z = x.copy() %}{{ x.append(2) }}{{ y }}{{ z }}"),
            "None[1, 2][1]");
  EXPECT_EQ(render("{% set x = [] %}{{ x.pop() }}"), "chat template, line 1: pop needs an index within the list");
  EXPECT_EQ(render("{% set x = [] %}{{ x.append(x) }}"),
            "chat template, line 1: append takes text and numbers here, found list");
  EXPECT_EQ(render("{{ l.append(1) }}"),
            "chat template, line 1: access to attribute 'append' of 'list' object is unsafe.");
  EXPECT_EQ(render("{% set x = [1] %}{{ x.clear() }}"),
            "chat template, line 1: access to attribute 'clear' of 'list' object is unsafe.");
  // A list that changes while it is gone through.
  EXPECT_EQ(render("{% set x = [1] %}{% for y in x if x | length > 9 or x.append(y) is none %}{{ y }}{% endfor %}"),
            "1111111111");
  EXPECT_EQ(render("{% set x = [1, 2, 3] %}{% for y in x %}{{ y }}{{ x.pop() }} {% endfor %}"), "13 22 ");
  EXPECT_NE(render("{% set x = [1] %}{% for y in x %}{% set _ = x.append(y) %}{% endfor %}").find("steps"),
            std::string::npos);
}

constexpr std::string_view kMark = "⟦7⟧";  // has no other case, and no template writes it

// Every text, keys excepted, with a mark before, behind and within.
Value Marked(const Value& value) {
  if (value.is_text()) {
    const std::string& text = value.text();
    const size_t space = text.find(' ');
    std::string marked = std::string(kMark) + text + std::string(kMark);
    if (space != std::string::npos) marked.insert(kMark.size() + space, kMark);
    return Value::Text(std::move(marked));
  }
  if (value.is_list()) {
    std::vector<Value> items;
    for (const Value& item : value.items()) items.push_back(Marked(item));
    return Value::MakeList(std::move(items));
  }
  if (!value.is_object()) return value;
  Object object;
  for (const Object::Entry& entry : value.object().entries()) {
    const bool is_word = entry.key.text() == "role" || entry.key.text() == "type";
    object.Set(entry.key, is_word ? entry.value : Marked(entry.value));
  }
  return Value::MakeObject(std::move(object));
}

// How many marks the prompt has; each piece of one is known to have come with the request.
int CheckMarks(const absl::StatusOr<TracedText>& traced) {
  if (!traced.ok()) return 0;
  int count = 0;
  auto range = traced->from_request.begin();
  for (const std::string_view piece : {"⟦", "⟧"}) {
    range = traced->from_request.begin();
    for (size_t at = traced->text.find(piece); at != std::string::npos; at = traced->text.find(piece, at + 1)) {
      while (range != traced->from_request.end() && range->end <= at) ++range;
      const bool is_traced =
          range != traced->from_request.end() && range->begin <= at && at + piece.size() <= range->end;
      EXPECT_TRUE(is_traced) << traced->text.substr(at, 80);
      ++count;
    }
  }
  return count;
}

TEST(TemplateOrigins, NoRequestTextPassesAsTheTemplatesInPublishedConversations) {
  const std::filesystem::path folder = SharedGoldens("goldens/templates");
  if (!AreThere(folder)) GTEST_SKIP();
  int marks = 0;
  for (const std::string& line : ReadLines(folder / "conversations.jsonl")) {
    const Value golden = *jinja::ParseJson(line);
    const std::string& name = golden.object().Find("template")->text();
    SCOPED_TRACE(name);
    Object context;
    for (const char* key : {"messages", "tools"}) context.Set(key, Marked(*golden.object().Find(key)));
    context.Set("add_generation_prompt", Value::Bool(true));
    marks += CheckMarks(RenderForeign(ReadMaybeCompressed(folder / (name + ".jinja")), context));
  }
  EXPECT_GT(marks, 4000);
}

TEST(TemplateOrigins, NoRequestTextPassesAsTheTemplatesInLanguageFeatures) {
  const std::filesystem::path folder = SharedGoldens("goldens/templates");
  if (!AreThere(folder)) GTEST_SKIP();
  int marks = 0;
  for (const std::string& line : ReadLines(folder / "features.jsonl")) {
    const Value golden = *jinja::ParseJson(line);
    const std::string& source = golden.object().Find("template")->text();
    SCOPED_TRACE(source);
    marks += CheckMarks(RenderForeign(source, Marked(*golden.object().Find("context")).object()));
  }
  EXPECT_GT(marks, 100);
}

// What makes a value of a value.
constexpr const char* kMakers[] = {"s | upper",
                                   "s | lower",
                                   "s | title",
                                   "s | capitalize",
                                   "s | center(40)",
                                   "s | escape",
                                   "s | replace('a', 'b')",
                                   "'a' | replace('a', s)",
                                   "s | truncate(12)",
                                   "s | truncate(9, true, s)",
                                   "s | urlencode",
                                   "s | wordcount",
                                   "s | indent",
                                   "'a\nb' | indent(s)",
                                   "s | format",
                                   "'%s' | format(s)",
                                   "'%(a)s' | format(a=s)",
                                   "s | trim('a')",
                                   "l | batch(1)",
                                   "d | dictsort",
                                   "s | first",
                                   "d | items",
                                   "l | join(s)",
                                   "l | last",
                                   "s | list",
                                   "l | max",
                                   "l | min",
                                   "s | reverse",
                                   "l | reverse",
                                   "l | slice(2)",
                                   "l | sort",
                                   "l | unique | list",
                                   "[d] | groupby('k')",
                                   "l | map('upper')",
                                   "l | map('replace', 'x', 'y') | list",
                                   "[d] | map(attribute='k') | join",
                                   "l | select",
                                   "l | reject('none') | list",
                                   "[d] | selectattr('k') | list",
                                   "[d] | rejectattr('z') | list",
                                   "s | attr('upper')",
                                   "x | default(s)",
                                   "s | pprint",
                                   "s | safe",
                                   "s | string",
                                   "l | tojson(indent=2)",
                                   "[1] | tojson(indent=s)",
                                   "[1, 2] | tojson(separators=(s, s))",
                                   "'a-b'.split('-') | join(s)",
                                   "s.swapcase()",
                                   "s.zfill(40)",
                                   "s.ljust(40)",
                                   "'a'.rjust(9, s[0])",
                                   "s.rsplit(' ', 1)",
                                   "s.rpartition(' ')",
                                   "s.splitlines()",
                                   "'{0.k}'.format(d)",
                                   "'{0[k]:>40}'.format(d)",
                                   "'{a}'.format(a=s)",
                                   "s.format(1)",
                                   "'%s' % l",
                                   "'%s %s' % (s, 1)",
                                   "'%r' % s",
                                   "s * 2",
                                   "l * 2",
                                   "(l + l)[0]",
                                   "s[2:5]",
                                   "s[::2]",
                                   "dict(a=s)",
                                   "dict(d).k",
                                   "dict([(s, 1)])",
                                   "namespace(a=s)",
                                   "namespace(d).k",
                                   "d.values() | list",
                                   "d.get('k')",
                                   "d.get('z', s)",
                                   "l.copy()",
                                   "d.copy()",
                                   "{s: s}",
                                   "(s, s)",
                                   "[s, [s]]",
                                   "s if s else s",
                                   "s and s",
                                   "x or s",
                                   "s.join(l)",
                                   "','.join(s)",
                                   "l | sum(start=[])",
                                   "[l] | sum(start=[])",
                                   "s | e | upper",
                                   "strftime_now(s)",
                                   "raise_exception(s)"};

TEST(TemplateOrigins, EveryFilterAndMethodIsTraced) {
  const Value context = Marked(*jinja::ParseJson(R"({"s": "ab cd", "l": ["x y", "z"], "d": {"k": "v w"}})"));
  int marks = 0;
  for (const char* expression : kMakers) {
    SCOPED_TRACE(expression);
    for (const std::string& source : {"{{ " + std::string(expression) + " }}",
                                      "{% for x in " + std::string(expression) + " %}{{ x }}{% endfor %}"}) {
      marks += CheckMarks(RenderForeign(source, context.object()));
    }
  }
  EXPECT_GT(marks, 500);
}

}  // namespace
}  // namespace latentd
