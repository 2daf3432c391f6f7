// Texts that a template would leave out in part, or by what they say, are refused by name; what it writes in another
// way is not.
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/api/chat_input.h"

namespace latentd {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;

std::vector<std::string> Refused(const std::string& source, const v1::ChatInput& chat) {
  const absl::StatusOr<ChatPrompt> prompt = EncodeChat(chat, "", ModelWith(source));
  if (prompt.ok()) return {};
  google::rpc::BadRequest bad;
  const auto payload = prompt.status().GetPayload("type.googleapis.com/google.rpc.BadRequest");
  if (!payload || !bad.ParseFromString(std::string(*payload))) return {prompt.status().ToString()};
  std::vector<std::string> fields;
  for (const auto& violation : bad.field_violations()) fields.push_back(violation.field());
  return fields;
}

// The template prints the content m.content by this expression.
std::string Printing(const std::string& expression) {
  return "{% for m in messages %}<{{ m.role }}>{{ " + expression + " }}{% endfor %}";
}

v1::ChatInput Saying(const std::string& content, const std::string& role = "user") {
  v1::ChatInput chat;
  Add(chat, role, content);
  return chat;
}

const std::string kLong =
    "First line, of more than twenty characters.\nA second <line>, \"quoted\", with \\ and é — 42.";

TEST(ChatArrival, WhatIsCutByItsTextIsRefusedByName) {
  for (const char* expression :
       {"m.content[:10]", "m.content[:40]", "m.content[5:]", "m.content|truncate(50)", "m.content.split('\\n')[0]",
        "m.content.splitlines()|last", "m.content if m.content|length < 20", "m.content|replace('second', '')",
        "m.content|first", "m.content.split('quoted')[0]"}) {
    SCOPED_TRACE(expression);
    EXPECT_THAT(Refused(Printing(expression), Saying(kLong)), ElementsAre("messages[0].content"));
    v1::ChatInput two = Saying("7");
    Add(two, "assistant", kLong);
    EXPECT_THAT(Refused(Printing(expression), two), Contains("messages[1].content"));
  }
  EXPECT_THAT(Refused(Printing("m.content|int"), Saying("abc")), ElementsAre("messages[0].content"));
}

TEST(ChatArrival, WhatIsShortEnoughIsServed) {
  for (const char* expression : {"m.content[:40]", "m.content|truncate(50)", "m.content.split('\\n')[0]",
                                 "m.content if m.content|length < 20"}) {
    EXPECT_THAT(Refused(Printing(expression), Saying("Once upon a time")), ElementsAre()) << expression;
  }
  EXPECT_THAT(Refused(Printing("m.content|int"), Saying("42")), ElementsAre());
}

TEST(ChatArrival, OtherWaysToWriteAreNoLoss) {
  for (const char* expression :
       {"m.content|trim", "m.content.strip()", "m.content|upper", "m.content.lower()", "m.content|tojson",
        "m.content|tojson(ensure_ascii=true)", "m.content|e", "m.content|replace('\\n', ' ')", "m.content|indent(4)",
        "m.content.split()|join(' ')", "m|tojson", "m", "[m.content]", "m.content.split('</think>')[-1].lstrip('\\n')",
        "'(' ~ m.content ~ ')'"}) {
    for (const char* ending : {"\u3000\n", "'", "\u200b\x01\U000E0001 it's"}) {
      EXPECT_THAT(Refused(Printing(expression), Saying(" \n" + kLong + ending)), ElementsAre()) << expression;
    }
    EXPECT_THAT(Refused(Printing(expression), Saying("It's\na\\ day")), ElementsAre()) << expression;
  }
  EXPECT_THAT(Refused(Printing("m.content|trim"), Saying(" \n")), ElementsAre());
}

TEST(ChatArrival, ReasoningInAContentIsTheTemplatesToDrop) {
  const std::string answer = "<think>\nHm, two?\n</think>\n\nTwo.";
  const std::string last = Printing("m.content.split('</think>')[-1]");
  EXPECT_THAT(Refused(last, Saying(answer, "assistant")), ElementsAre());
  EXPECT_THAT(Refused(last, Saying(answer, "user")), ElementsAre("messages[0].content")) << "a user has none";
  EXPECT_THAT(Refused(Printing("m.content.split('</think>')[0]"), Saying(answer, "assistant")),
              ElementsAre("messages[0].content"));
}

TEST(ChatArrival, PartsAndResultsAndTools) {
  v1::ChatInput parts;
  v1::ChatMessage& message = *parts.add_messages();
  message.set_role("user");
  for (const std::string& text : {std::string("7"), kLong}) message.add_content_parts()->set_text(text);
  EXPECT_THAT(
      Refused("{% for m in messages %}{% for p in m.content %}{{ p.text[:20] }}{% endfor %}{% endfor %}", parts),
      ElementsAre("messages[0].content_parts[1]"));

  v1::ChatInput tools = Saying("x");
  v1::Tool& tool = *tools.add_tools();
  tool.set_name("f");
  tool.set_description(kLong);
  EXPECT_THAT(
      Refused("{{ tools[0].function.name }}{{ tools[0].function.description[:20] }}{{ messages[0].content }}", tools),
      ElementsAre("tools[0].description"));
}

TEST(ChatArrival, ArgumentsThatALoopLeavesOut) {
  v1::ChatInput chat = Saying("x");
  v1::ChatMessage& calls = *chat.add_messages();
  calls.set_role("assistant");
  AddCall(calls, "f", R"({"a": "one", "b": "two words, long ones"})");
  const auto printing = [](const std::string& body) {
    return "{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls %}{{ c.function.name }}"
           "{% for k, v in c.function.arguments.items() %}" +
           body + "{% endfor %}{% endfor %}{% endfor %}";
  };
  const std::string field = "messages[1].tool_calls[0].arguments_json";
  EXPECT_THAT(Refused(printing("{{ k }}={{ v }};"), chat), ElementsAre());
  EXPECT_THAT(Refused(printing("{{ k }}={{ v|tojson }};"), chat), ElementsAre());
  EXPECT_THAT(Refused("{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls %}{{ c.function.name }}"
                      "{{ c.function.arguments }}{% endfor %}{% endfor %}",
                      chat),
              ElementsAre());
  EXPECT_THAT(Refused(printing("{{ k }}={{ v }}{% break %}"), chat), ElementsAre(field));
  EXPECT_THAT(Refused(printing("{% if loop.first %}{{ k }}={{ v }}{% endif %}"), chat), ElementsAre(field));
  EXPECT_THAT(Refused(printing("{{ k }}={{ v[:15] }};"), chat), ElementsAre(field));
  EXPECT_THAT(Refused(printing("{{ k }}={{ v.split(',')[0] }};"), chat), ElementsAre(field));
}

TEST(ChatArrival, AnotherOrderIsFine) {
  v1::ChatInput chat;
  for (int i = 0; i < 20; ++i) {
    Add(chat, "user", "question " + std::to_string(i));
    Add(chat, "system", "rule " + std::to_string(i));
  }
  EXPECT_THAT(Refused("{% for m in messages if m.role == 'system' %}{{ m.content }}\n{% endfor %}"
                      "{% for m in messages if m.role != 'system' %}{{ m.content }}\n{% endfor %}",
                      chat),
              ElementsAre());
  EXPECT_THAT(Refused("{% for m in messages|reverse %}{{ m.content }}\n{% endfor %}", chat), ElementsAre());
}

TEST(ChatArrival, ATemplateThatPrintsNoMessagesIsItsOwnAffair) {
  EXPECT_THAT(Refused("{{ messages|length }}", Saying(kLong)), ElementsAre());
}

}  // namespace
}  // namespace latentd
