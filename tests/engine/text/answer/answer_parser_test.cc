// Answers written with markers in brackets: [think] [/think] [CB] [cb] [sep] [ce] [CE]. Each is parsed in all the cuts
// of its text that make two pieces, and character by character: the cut never makes a difference.
#include "engine/text/answer/answer_parser.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/utf8.h"
#include "tests/engine/text/answer/parsed_answer.h"

namespace latentd {
namespace {

const std::map<std::string_view, AnswerMarker> kMarkers = {
    {"[think]", AnswerMarker::kReasoningBegin}, {"[/think]", AnswerMarker::kReasoningEnd},
    {"[CB]", AnswerMarker::kSectionBegin},      {"[CE]", AnswerMarker::kSectionEnd},
    {"[cb]", AnswerMarker::kCallBegin},         {"[ce]", AnswerMarker::kCallEnd},
    {"[sep]", AnswerMarker::kSeparator}};

// A marker or one character.
struct Unit {
  AnswerMarker marker;
  std::string_view text;
};

std::vector<Unit> UnitsOf(std::string_view answer) {
  std::vector<Unit> units;
  while (!answer.empty()) {
    Unit unit{AnswerMarker::kNone, answer.substr(0, NextUtf8Unit(answer).length)};
    for (const auto& [text, marker] : kMarkers) {
      if (answer.starts_with(text)) unit = {marker, text};
    }
    units.push_back(unit);
    answer.remove_prefix(unit.text.size());
  }
  return units;
}

struct Conversation {
  ToolCallSyntax syntax = ToolCallSyntax::kDeepSeek;
  AnswerStart start = AnswerStart::kContent;
  int calls_before = 0;
};

enum class Cuts { kOnlyAtMarkers, kEverywhere };

// Text is cut before the unit `cut`, at markers, and everywhere where asked for.
AnswerParts ParseCut(const std::vector<Unit>& units, const Conversation& conversation, size_t cut, Cuts cuts) {
  const AnswerFormat format{.reasoning = {}, .tool_calls = ToolCallMarkers{.syntax = conversation.syntax}};
  AnswerParser parser(format, conversation.start, conversation.calls_before);
  AnswerParts whole;
  std::string text;
  const auto feed = [&](auto append) {
    AnswerParts parts;
    append(parts);
    Collect(std::move(parts), whole);
  };
  for (size_t i = 0; i <= units.size(); ++i) {
    const bool is_text = i < units.size() && units[i].marker == AnswerMarker::kNone;
    if (!text.empty() && (!is_text || i == cut || cuts == Cuts::kEverywhere)) {
      feed([&](AnswerParts& parts) { parser.AppendText(text, parts); });
      text.clear();
    }
    if (is_text) {
      text += units[i].text;
    } else if (i < units.size()) {
      feed([&](AnswerParts& parts) { parser.AppendMarker(units[i].marker, units[i].text, parts); });
    }
  }
  feed([&](AnswerParts& parts) { parser.Finish(parts); });
  return whole;
}

std::string Parse(std::string_view answer, const Conversation& conversation = {}) {
  const std::vector<Unit> units = UnitsOf(answer);
  const std::string said = Said(ParseCut(units, conversation, 0, Cuts::kEverywhere));
  for (size_t cut = 0; cut < units.size(); ++cut) {
    EXPECT_EQ(Said(ParseCut(units, conversation, cut, Cuts::kOnlyAtMarkers)), said) << answer << " cut at " << cut;
  }
  return said;
}

std::string ParseThinking(std::string_view answer) { return Parse(answer, {.start = AnswerStart::kReasoning}); }
std::string ParseKimi(std::string_view answer) { return Parse(answer, {.syntax = ToolCallSyntax::kKimi}); }

// -------------------------------------------------------------------------------------------------------- reasoning

TEST(AnswerParser, WithoutMarkersAllIsContent) { EXPECT_EQ(Parse("naïve \n🦊 ```{}"), "naïve \n🦊 ```{}"); }

TEST(AnswerParser, PromptOpensTheReasoningAndOnlyItsEndComes) {
  EXPECT_EQ(ParseThinking("Hm.\n[/think]\n\nYes."), "(Hm.\n)\n\nYes.");
}

TEST(AnswerParser, ModelOpensTheReasoningItself) {
  EXPECT_EQ(Parse("[think]\nHm.[/think]Yes."), "(\nHm.)Yes.");
  EXPECT_EQ(ParseThinking("[think]Hm.[/think]Yes."), "(Hm.)Yes.") << "twice is no more than once";
  EXPECT_EQ(ParseThinking("\n [think]Hm.[/think]Yes."), "(\n Hm.)Yes.") << "white space comes first in some formats";
}

TEST(AnswerParser, ReasoningWithoutAnEndIsAllThereIs) { EXPECT_EQ(ParseThinking("Hm. Or"), "(Hm. Or)"); }

TEST(AnswerParser, EndOfReasoningThatIsNotOpenIsContent) {
  EXPECT_EQ(Parse("Hmm so[/think]Answer"), "Hmm so[/think]Answer");
  EXPECT_EQ(Parse("[/think]Yes."), "[/think]Yes.");
  EXPECT_EQ(Parse("[think]a[/think]b[/think]c"), "(a)b[/think]c");
  EXPECT_EQ(ParseThinking("a[/think]b[/think]c"), "(a)b[/think]c");
  EXPECT_EQ(ParseThinking("[/think][/think]c"), "[/think]c");
  EXPECT_EQ(ParseThinking("a[cb]f[sep]{}[ce]b[/think]c"), "(a)b[/think]c|call_0=f:{}|");
  EXPECT_EQ(Parse("a[CB][/think]b"), "a[CB][/think]b");
  EXPECT_EQ(Parse("a[cb]f[/think]b"), "a[cb]f[/think]b");
}

TEST(AnswerParser, BeginOfReasoningThatIsOpenIsReasoning) {
  EXPECT_EQ(Parse("[think]a[think]b[/think]c"), "(a[think]b)c");
  EXPECT_EQ(Parse("[think][think]a[/think]b"), "([think]a)b");
  EXPECT_EQ(ParseThinking("a[think]b[/think]c"), "(a[think]b)c");
  EXPECT_EQ(ParseThinking("[think][think]a[/think]b"), "([think]a)b");
}

TEST(AnswerParser, EmptyReasoningIsNone) {
  EXPECT_EQ(Parse("[think][/think]Yes."), "Yes.");
  EXPECT_EQ(ParseThinking("[/think]Yes."), "Yes.");
  EXPECT_EQ(ParseThinking("[think][/think]Yes."), "Yes.");
}

TEST(AnswerParser, ReasoningMayComeAgain) { EXPECT_EQ(Parse("[think]a[/think]b[think]c[/think]d"), "(ac)bd"); }

TEST(AnswerParser, ToolCallEndsTheReasoning) {
  EXPECT_EQ(ParseThinking("I look.[CB][cb]f[sep]{}[ce][CE]Done."), "(I look.)Done.|call_0=f:{}|");
  EXPECT_EQ(ParseThinking("I look.[cb]f[sep]{}[ce]"), "(I look.)|call_0=f:{}|");
}

TEST(AnswerParser, MarkersInReasoningThatBeginNoCallAreItsText) {
  EXPECT_EQ(ParseThinking("a[sep]b[ce]c[CE]d[/think]e"), "(a[sep]b[ce]c[CE]d)e");
}

// ---------------------------------------------------------------------------------------------- calls of each family

TEST(AnswerParser, CallsOfV3AndR1) {
  EXPECT_EQ(Parse("Let me see.\n[CB][cb]function[sep]get_weather\n```json\n{\"city\": \"Köln\"}\n```[ce]\n"
                  "[cb]function[sep]now\n```json\n{}\n```[ce][CE]"),
            "Let me see.\n|call_0=get_weather:{\"city\": \"Köln\"}||call_1=now:{}|");
}

TEST(AnswerParser, CallsOfV31) {
  EXPECT_EQ(Parse("[CB][cb]get_weather[sep]{\"city\": \"Köln\"}[ce][cb]now[sep]{}[ce][CE]"),
            "|call_0=get_weather:{\"city\": \"Köln\"}||call_1=now:{}|");
}

TEST(AnswerParser, CallsOfKimi) {
  EXPECT_EQ(ParseKimi("[CB][cb]functions.get_weather:0[sep]{\"city\": \"Köln\"}[ce][cb]functions.now:1[sep]{}[ce][CE]"),
            "|functions.get_weather:0=get_weather:{\"city\": \"Köln\"}||functions.now:1=now:{}|");
}

TEST(AnswerParser, NameOfKimiMayHoldDotsAndColons) {
  EXPECT_EQ(ParseKimi("[CB][cb] functions.a.b:c:12 [sep] 7 [ce][CE]"), "|functions.a.b:c:12=a.b:c:7|");
}

TEST(AnswerParser, CallsAreNumberedOnFromTheConversation) {
  EXPECT_EQ(Parse("[cb]f[sep]{}[ce][cb]g[sep]{}[ce]", {.calls_before = 5}), "|call_5=f:{}||call_6=g:{}|");
}

TEST(AnswerParser, FunctionNamedFunction) {
  EXPECT_EQ(Parse("[cb]function[sep]{\"a\":1}[ce]"), "|call_0=function:{\"a\":1}|");
}

TEST(AnswerParser, FenceIsOptionalAndItsLanguage) {
  EXPECT_EQ(Parse("[cb]function[sep]f\n{}\n[ce]"), "|call_0=f:{}|");
  EXPECT_EQ(Parse("[cb]function[sep]f\n```\n{}\n```\n[ce]"), "|call_0=f:{}|");
  EXPECT_EQ(Parse("[cb]f[sep]\n```json\n{}\n```[ce]"), "|call_0=f:{}|");
}

TEST(AnswerParser, ArgumentsAreVerbatim) {
  const std::string arguments = R"({ "b":1.50,"a" : "\u00e9 \"```\" [x]",  "c":["`",
  "``"]  })";
  EXPECT_EQ(Parse("[cb]f[sep]  " + arguments + "\n [ce]"), "|call_0=f:" + arguments + "|");
  EXPECT_EQ(Parse("[cb]function[sep]f\n```json\n" + arguments + "\n```[ce]"), "|call_0=f:" + arguments + "|");
}

TEST(AnswerParser, OnlyOneFenceIsStripped) {
  EXPECT_EQ(Parse("[cb]function[sep]f\n```json\n{}\n```\n```[ce]"), "|call_0=f:{}\n```|");
  EXPECT_EQ(Parse("[cb]function[sep]f\n```json\n{}\n``[ce]"), "|call_0=f:{}\n``|");
  EXPECT_EQ(Parse("[cb]f[sep]{}\n```[ce]"), "|call_0=f:{}\n```|") << "none was opened";
}

TEST(AnswerParser, MarkersThatEndNoArgumentsArePartOfThem) {
  EXPECT_EQ(Parse("[cb]f[sep]{\"a\":\"[think]x[/think][sep]\"}[ce]"), "|call_0=f:{\"a\":\"[think]x[/think][sep]\"}|");
}

TEST(AnswerParser, CallWithoutArguments) {
  EXPECT_EQ(Parse("[cb]now[sep] [ce]"), "|call_0=now:|");
  EXPECT_EQ(Parse("[cb]function[sep]now\n[ce]"), "|call_0=now:|");
  EXPECT_EQ(Parse("[cb]function[sep]now\n```json\n```[ce]"), "|call_0=now:|");
  EXPECT_EQ(ParseKimi("[cb]functions.now:0[sep][ce]"), "|functions.now:0=now:|");
}

TEST(AnswerParser, TextStandsBetweenAndBehindCalls) {
  EXPECT_EQ(Parse("a[CB][cb]f[sep]{}[ce][CE]b[CB][cb]g[sep]{}[ce][CE]c"), "abc|call_0=f:{}||call_1=g:{}|");
  EXPECT_EQ(Parse("[CB][cb]f[sep]{}[ce] and [cb]g[sep]{}[ce] [CE] !"), " and  !|call_0=f:{}||call_1=g:{}|");
}

// -------------------------------------------------------------------------------------- what is cut off or left open

TEST(AnswerParser, CallThatIsCutOffKeepsWhatItHas) {
  EXPECT_EQ(Parse("[cb]f[sep]{\"a\": \"x "), "|call_0=f:{\"a\": \"x |");
  EXPECT_EQ(Parse("[cb]function[sep]f\n```json\n{\"a\": \"```"), "|call_0=f:{\"a\": \"```|");
}

TEST(AnswerParser, EveryCutKeepsAPrefixOfTheArguments) {
  const std::string_view begin = "[CB][cb]function[sep]f\n```json\n";
  const std::string_view arguments = R"({"a": "x\" ``` y",
 "b": [1, {}]})";
  const std::string_view end = "\n```\n";
  for (size_t size = 1; size <= arguments.size() + end.size(); ++size) {
    const std::string rest = std::string(arguments) + std::string(end);
    const std::string kept(arguments.substr(0, size));
    EXPECT_EQ(Parse(std::string(begin) + rest.substr(0, size)), "|call_0=f:" + kept + "|") << size;
  }
}

TEST(AnswerParser, OpeningThatIsCutOffIsContent) {
  const std::string_view opening = "a[CB][cb]function[sep]f\n```json\n";
  const std::vector<Unit> units = UnitsOf(opening);
  std::string answer;
  for (const Unit& unit : units) {
    answer += unit.text;
    EXPECT_EQ(Parse(answer), answer);
  }
}

TEST(AnswerParser, NextMarkerEndsArgumentsThatLackTheirEnd) {
  EXPECT_EQ(Parse("[CB][cb]f[sep]{} [cb]g[sep]{} [CE]a"), "a|call_0=f:{}||call_1=g:{}|");
  EXPECT_EQ(Parse("[CB][cb]f[sep]{}\n[CB][cb]g[sep]{}[ce][CE]"), "|call_0=f:{}||call_1=g:{}|");
}

TEST(AnswerParser, WhiteSpaceBehindTheLastCallIsContentWhereNothingElseFollows) {
  EXPECT_EQ(Parse("[CB][cb]f[sep]{}[ce]\n"), "\n|call_0=f:{}|");
}

// ------------------------------------------------------------------------------------------------ malformed: content

class Malformed : public testing::TestWithParam<std::string_view> {};

TEST_P(Malformed, IsContentToTheLastByte) { EXPECT_EQ(Parse(GetParam()), GetParam()); }

INSTANTIATE_TEST_SUITE_P(All, Malformed,
                         testing::Values("[CB]", "[CB] \n", "[CB]x[CE]", "[CB][CE]", "[cb][ce]", "[cb]f[ce]",
                                         "[CB][cb]no separator[ce][CE]", "[CB][cb]two words[sep]{}[ce][CE]",
                                         "[CB][cb]tool[sep]f\n```json\n{\"a\":1}\n```[ce][CE]",
                                         "[CB][cb]function[sep]two words\n```json\n{}\n```[ce][CE]",
                                         "[CB][cb]function[sep]\n```json\n{}\n```[ce][CE]", "[cb]function[sep][ce]",
                                         "[cb][sep]{}[ce]", "[cb]f[sep][1, {\"a\":2}][ce]", "[cb]f[sep]null[ce]",
                                         "[cb]f[sep][sep]{}[ce]", "[ce]", "a[ce]b[CE]c[sep]d", "[CB][CB][cb][cb]",
                                         "[CB][sep][ce]", "[cb]function[CB]", "[cb]function[sep]f[cb]g",
                                         "[cb]`[sep]{}[ce]"));

TEST(AnswerParser, KimiHeadersThatAreNoFunctionIdAreContent) {
  for (const std::string_view header : {"f", "f:0", "functions.f", "functions.:0", "functions.f:", "functions.f:x",
                                        "functions.f g:0", "tools.f:0", "functions:0", "function:0", ""}) {
    const std::string answer = "[CB][cb]" + std::string(header) + "[sep]{}[ce][CE]";
    EXPECT_EQ(ParseKimi(answer), answer);
  }
}

TEST(AnswerParser, CallInsideOfACallLosesNothing) {
  EXPECT_EQ(Parse("[CB][cb]fun[cb]f[sep]{}[ce][CE]"), "[CB][cb]fun|call_0=f:{}|");
  EXPECT_EQ(Parse("[cb]function[sep]a\n[CB][cb]f[sep]{}[ce][CE]"), "[cb]function[sep]a\n|call_0=f:{}|");
}

TEST(AnswerParser, GoodCallBehindABadOne) {
  EXPECT_EQ(Parse("[CB][cb]bad[ce][cb]f[sep]{}[ce][CE]"), "[CB][cb]bad[ce]|call_0=f:{}|");
}

TEST(AnswerParser, BadCallBehindAGoodOne) {
  EXPECT_EQ(Parse("[CB][cb]f[sep]{}[ce]\n[cb]bad[ce]\n[CE]"), "\n[cb]bad[ce]\n|call_0=f:{}|");
}

TEST(AnswerParser, BadCallInReasoningIsContentBehindIt) {
  EXPECT_EQ(ParseThinking("Hm.[cb]bad[ce]"), "(Hm.)[cb]bad[ce]");
  EXPECT_EQ(ParseThinking("Hm.[cb]bad[/think]Yes."), "(Hm.)[cb]bad[/think]Yes.");
}

TEST(AnswerParser, OpeningIsHeldBackUpToABound) {
  const std::string name(900, 'n'), too_long(1100, 'n');
  EXPECT_EQ(Parse("[cb]" + name + "[sep]{}[ce]"), "|call_0=" + name + ":{}|");
  EXPECT_EQ(Parse("[cb]" + too_long + "[sep]{}[ce]"), "[cb]" + too_long + "[sep]{}[ce]");
  const std::string space(1100, ' ');
  EXPECT_EQ(Parse("[cb]f[sep]" + space + "{}[ce]"), "[cb]f[sep]" + space + "{}[ce]");
  EXPECT_EQ(Parse("[cb]f[sep]{}" + space + "[ce]"), "|call_0=f:{}" + std::string(1100 - 1024, ' ') + "|");
}

TEST(AnswerParser, CallsBeyondTheBoundAreContent) {
  std::string answer;
  for (int i = 0; i < kMaxAnswerCalls + 1; ++i) answer += "[cb]f[sep]{}[ce]";
  const AnswerParts parts = ParseCut(UnitsOf(answer), {}, 0, Cuts::kOnlyAtMarkers);
  EXPECT_EQ(parts.tool_calls.size(), static_cast<size_t>(kMaxAnswerCalls));
  EXPECT_EQ(parts.content, "[cb]f[sep]{}[ce]");
}

// ------------------------------------------------------------------------------------------------------- what streams

TEST(AnswerParser, ArgumentsComeAsTheyAreWritten) {
  const AnswerFormat format{.reasoning = {}, .tool_calls = ToolCallMarkers{}};
  AnswerParser parser(format, AnswerStart::kContent, 0);
  AnswerParts opened;
  parser.AppendMarker(AnswerMarker::kCallBegin, "[cb]", opened);
  parser.AppendText("f", opened);
  parser.AppendMarker(AnswerMarker::kSeparator, "[sep]", opened);
  EXPECT_EQ(Said(opened), "") << "nothing is certain yet";
  parser.AppendText("{\"a\":", opened);
  EXPECT_EQ(Said(opened), "|call_0=f:{\"a\":|");
  AnswerParts next;
  parser.AppendText(" 12", next);
  ASSERT_EQ(next.tool_calls.size(), 1u);
  EXPECT_EQ(next.tool_calls[0].index, 0);
  EXPECT_EQ(next.tool_calls[0].name, "") << "only the first fragment names the call";
  EXPECT_EQ(next.tool_calls[0].arguments, " 12");
}

}  // namespace
}  // namespace latentd
