// What a daemon says it takes back as history, and what a template would leave out of a conversation is refused by
// name.
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/text/answer/answer_parser.h"
#include "server/api/chat_checks.h"
#include "tests/server/api/chat_input.h"
#include "tests/server/api/random_answer.h"

namespace latentd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::ChatMessage& AddMessage(v1::ChatInput& chat, const std::string& role, const std::string& content) {
  v1::ChatMessage& message = *chat.add_messages();
  message.set_role(role);
  if (!content.empty()) message.set_content(content);
  return message;
}

v1::ToolCall& AddWeatherCall(v1::ChatMessage& message, const std::string& id, const std::string& arguments) {
  v1::ToolCall& call = *message.add_tool_calls();
  call.set_id(id);
  call.set_name("weather");
  call.set_arguments_json(arguments);
  return call;
}

std::vector<std::string> Refused(std::string_view source, const v1::ChatInput& chat) {
  FieldChecks checks;
  CheckTemplateKnows(chat, "", ModelWith(source), checks);
  return FieldsOf(checks);
}

// ------------------------------------------------------------------------------------------- what the daemon emitted

const std::string kTextCalls =
    "{% for m in messages %}[{{ m.reasoning_content }}|{{ m.content or '' }}{% for c in m.tool_calls %}<{{ "
    "c.function.name + ' ' + c.function.arguments }}>{% endfor %}]{% endfor %}";
const std::string kJsonCalls =
    "{% for m in messages %}[{{ m.reasoning_content }}|{{ m.content or '' }}{% for c in m.tool_calls %}<{{ "
    "c.function.name }} {{ c.function.arguments | tojson }}>{% endfor %}]{% endfor %}";

TEST(ChatHistory, CallWithoutArgumentsIsTakenBack) {
  v1::ChatInput chat;
  AddMessage(chat, "user", "a");
  AddWeatherCall(AddMessage(chat, "assistant", ""), "call_0", "");
  EXPECT_EQ(RenderedBy(kTextCalls, chat), "[|a][|<weather >]");
  EXPECT_EQ(RenderedBy(kJsonCalls, chat), "[|a][|<weather {}>]");
  chat.mutable_messages(1)->mutable_tool_calls(0)->clear_arguments_json();
  EXPECT_EQ(RenderedBy(kTextCalls, chat), "[|a][|<weather {}>]");
}

TEST(ChatHistory, ArgumentsThatAreNoJsonAreTakenBackAsTheyStand) {
  const std::string deep = std::string(100, '[') + std::string(100, ']');
  for (const std::string& arguments :
       {std::string("{\"city\": \"Bern"), std::string("{"), std::string("{'city': 1}"), std::string("{}\n```"),
        std::string("{\"a\": NaN, }"), std::string(300, '['), std::string("\"\\"), deep}) {
    v1::ChatInput chat;
    AddMessage(chat, "user", "a");
    AddWeatherCall(AddMessage(chat, "assistant", ""), "call_0", arguments);
    for (const bool safe_mode : {false, true}) {
      chat.set_safe_mode(safe_mode);
      EXPECT_EQ(RenderedBy(kTextCalls, chat), "[|a][|<weather " + arguments + ">]");
      EXPECT_EQ(RenderedBy(kJsonCalls, chat), "[|a][|<weather " + arguments + ">]");
    }
  }
}

TEST(ChatHistory, EveryAnswerIsTakenBackByteForByte) {
  const ServedModel text_calls = ModelWith(kTextCalls), json_calls = ModelWith(kJsonCalls);
  constexpr unsigned kSeed = 20261130;
  std::mt19937 random(kSeed);
  size_t num_calls = 0, num_empty = 0;
  for (int i = 0; i < 4000; ++i) {
    const AnswerParts answer = RandomAnswer(random, i % 2 == 0 ? ToolCallSyntax::kDeepSeek : ToolCallSyntax::kKimi);
    v1::ChatInput chat;
    chat.set_safe_mode(i % 3 == 0);
    AddMessage(chat, "user", "Hi");
    *chat.add_messages() = MessageOf(answer);
    std::string expected = "[|Hi][" + answer.reasoning + "|" + answer.content;
    for (const ToolCallFragment& call : answer.tool_calls) {
      expected += "<" + call.name + " " + call.arguments + ">";
      num_empty += call.arguments.empty() ? 1 : 0;
    }
    num_calls += answer.tool_calls.size();
    ASSERT_EQ(RenderedBy(text_calls, chat), expected + "]") << "seed " << kSeed << ", answer " << i;
    const std::string as_json = RenderedBy(json_calls, chat);
    ASSERT_THAT(as_json, ::testing::StartsWith("[|Hi][" + answer.reasoning + "|" + answer.content)) << i;
    for (const ToolCallFragment& call : answer.tool_calls) ASSERT_THAT(as_json, HasSubstr("<" + call.name + " "));
  }
  EXPECT_GT(num_calls, 1000u);
  EXPECT_GT(num_empty, 100u);
}

TEST(ChatHistory, AsManyCallsAndNamesAsLongAsAnAnswerHas) {
  AnswerParser parser({.reasoning = {}, .tool_calls = ToolCallMarkers{.syntax = ToolCallSyntax::kKimi}},
                      AnswerStart::kContent, 0);
  AnswerParts answer;
  const std::string longest = "functions." + std::string(990, 'n') + ":0";
  for (int i = 0; i < kMaxAnswerCalls; ++i) {
    parser.AppendMarker(AnswerMarker::kCallBegin, "<|tool_call_begin|>", answer);
    parser.AppendText(i == 0 ? longest : "functions.f:" + std::to_string(i), answer);
    parser.AppendMarker(AnswerMarker::kSeparator, "<|tool_call_argument_begin|>", answer);
    parser.AppendMarker(AnswerMarker::kCallEnd, "<|tool_call_end|>", answer);
  }
  parser.Finish(answer);
  ASSERT_EQ(answer.tool_calls.size(), static_cast<size_t>(kMaxAnswerCalls));
  EXPECT_EQ(answer.tool_calls[0].id, longest);
  v1::ChatInput chat;
  *chat.add_messages() = MessageOf(answer);
  EXPECT_THAT(RenderedBy(kTextCalls, chat), HasSubstr("<f ><f ><f >"));
}

// --------------------------------------------------------------------------------------- what a template leaves out

// Prints a call's id only, as Kimi-K2's template does.
const std::string kIdsOnly =
    "{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls %}{{ c.id }}{{ c.function.arguments }}"
    "{% endfor %}{% endfor %}";

TEST(ChatDrops, NameOfACallWhereOnlyItsIdIsPrinted) {
  v1::ChatInput chat;
  AddMessage(chat, "user", "a");
  AddWeatherCall(AddMessage(chat, "assistant", ""), "call_0", "{}");
  EXPECT_THAT(Refused(kIdsOnly, chat), ElementsAre("messages[1].tool_calls[0].name"));
  EXPECT_THAT(RenderedBy(kIdsOnly, chat), HasSubstr("functions.weather:0"));
  chat.mutable_messages(1)->mutable_tool_calls(0)->set_id("functions.weather:0");
  EXPECT_EQ(RenderedBy(kIdsOnly, chat), "afunctions.weather:0{}");
  // The name elsewhere in the conversation says nothing about the call.
  chat.mutable_messages(1)->mutable_tool_calls(0)->set_id("call_0");
  chat.mutable_messages(0)->set_content("weather");
  v1::Tool& tool = *chat.add_tools();
  tool.set_name("weather");
  EXPECT_THAT(Refused(kIdsOnly + "{{ tools }}", chat), ElementsAre("messages[1].tool_calls[0].name"));
}

TEST(ChatDrops, ArgumentsAndWhatIsInThem) {
  const std::string_view keys_only =
      "{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls %}{{ c.function.name }}{% if loop.first "
      "%}{{ c.function.arguments }}{% endif %}{% endfor %}{% endfor %}";
  v1::ChatInput chat;
  v1::ChatMessage& message = AddMessage(chat, "assistant", "");
  AddWeatherCall(message, "call_0", R"({"city": "Bern"})");
  EXPECT_THAT(Refused(keys_only, chat), ElementsAre());
  AddWeatherCall(message, "call_1", "{}");
  EXPECT_THAT(Refused(keys_only, chat), ElementsAre());
  AddWeatherCall(message, "call_2", R"({"city": "Bern"})");
  EXPECT_THAT(Refused(keys_only, chat), ElementsAre("messages[0].tool_calls[2].arguments_json"));
}

TEST(ChatDrops, MessagesByRoleAndPlace) {
  v1::ChatInput chat;
  AddMessage(chat, "system", "be brief");
  AddMessage(chat, "user", "a");
  AddMessage(chat, "system", "be long");
  EXPECT_THAT(Refused("{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}{% endif %}{% endfor %}", chat),
              ElementsAre("messages[0].content", "messages[2].content"));
  EXPECT_THAT(Refused("{{ messages[0].content }}{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}"
                      "{% endif %}{% endfor %}",
                      chat),
              ElementsAre("messages[2].content"));
  EXPECT_THAT(Refused("{{ messages[-1].content }}", chat), ElementsAre("messages[0].content", "messages[1].content"));
  EXPECT_THAT(Refused("{% for m in messages %}{{ m.content | upper }}{% endfor %}", chat), ElementsAre());
}

TEST(ChatDrops, NamesOfSpeakers) {
  const std::string_view source = "{% for m in messages %}{{ m.content }}{% endfor %}";
  v1::ChatInput chat;
  AddMessage(chat, "user", "Bob says hello").set_name("Bob");
  EXPECT_THAT(Refused(source, chat), ElementsAre("messages[0].name"));
  EXPECT_THAT(Refused("{% for m in messages %}{{ m.name }}{{ m.content }}{% endfor %}", chat), ElementsAre());
}

TEST(ChatDrops, PartsOfATool) {
  v1::ChatInput chat;
  AddMessage(chat, "user", "a");
  v1::Tool& tool = *chat.add_tools();
  tool.set_name("weather");
  tool.set_description("of a city");
  tool.set_parameters_json(R"({"type": "object", "properties": {"city": {"type": "string"}}})");
  const std::string user = "{{ messages[0].content }}";
  EXPECT_THAT(Refused(user + "{{ tools | tojson }}", chat), ElementsAre());
  EXPECT_THAT(Refused(user + "{{ tools | map(attribute='function') | map(attribute='name') | join }}", chat),
              ElementsAre("tools[0].description", "tools[0].parameters_json"));
  EXPECT_THAT(Refused(user + "{% for t in tools %}{{ t.function.description }}{{ t.function.parameters.properties | "
                             "join }}{% endfor %}",
                      chat),
              ElementsAre("tools[0].name", "tools[0].parameters_json"));
  EXPECT_THAT(Refused(user + "{% if tools %}There are tools.{% endif %}", chat),
              ElementsAre("tools[0].name", "tools[0].description", "tools[0].parameters_json"));
  EXPECT_THAT(Refused(user, chat), ElementsAre("tools"));
}

TEST(ChatDrops, ResultsOutOfOrderWhereTheirIdsAreNotPrinted) {
  const std::string without_ids =
      "{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls %}{{ c.function.name + "
      "c.function.arguments }}{% endfor %}{% endfor %}";
  v1::ChatInput chat;
  v1::ChatMessage& message = AddMessage(chat, "assistant", "");
  AddWeatherCall(message, "call_0", "{}");
  AddWeatherCall(message, "call_1", "{}");
  AddMessage(chat, "tool", "first").set_tool_call_id("call_0");
  AddMessage(chat, "tool", "second").set_tool_call_id("call_1");
  EXPECT_THAT(Refused(without_ids, chat), ElementsAre());
  chat.mutable_messages()->SwapElements(1, 2);
  EXPECT_THAT(Refused(without_ids, chat), ElementsAre("messages[1].tool_call_id", "messages[2].tool_call_id"));
  EXPECT_THAT(Refused("{% for m in messages %}{{ m.content or '' }}{{ m.tool_call_id }}{% for c in m.tool_calls %}"
                      "{{ c.id }}{{ c.function.name + c.function.arguments }}{% endfor %}{% endfor %}",
                      chat),
              ElementsAre());
}

TEST(ChatDrops, ReasoningIsTheTemplatesToDrop) {
  v1::ChatInput chat;
  AddMessage(chat, "assistant", "a").set_reasoning("Hm.");
  EXPECT_THAT(Refused("{% for m in messages %}{{ m.content }}{% endfor %}", chat), ElementsAre());
}

TEST(ChatDrops, TemplateThatPrintsNoMessagesDropsNone) {
  v1::ChatInput chat;
  AddMessage(chat, "user", "a").set_name("Bob");
  EXPECT_EQ(RenderedBy("Go.", chat), "Go.");
}

}  // namespace
}  // namespace latentd
