// Answers that go back to the model: whatever the daemon emits, each template prints it as the model wrote it, also
// where the template itself prints either a text or calls, or takes part of a content for reasoning.
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "jinja/json_reader.h"
#include "jinja/printing.h"
#include "jinja/runtime.h"
#include "server/api/request_validation.h"
#include "tests/engine/text/tokenizer/golden_files.h"
#include "tests/server/api/chat_input.h"
#include "tests/server/api/random_answer.h"
#include "tests/support/shared_goldens.h"

namespace latentd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::ChatMessage& AddAnswer(v1::ChatInput& chat, const std::string& content, const std::vector<std::string>& calls) {
  v1::ChatMessage& message = Add(chat, "assistant", content);
  for (const std::string& name : calls) {
    v1::ToolCall& call = AddCall(message, name, "{}");
    call.set_id("call_" + name);
  }
  return message;
}

void AddResult(v1::ChatInput& chat, const std::string& name) {
  Add(chat, "tool", "21").set_tool_call_id("call_" + name);
}

TEST(SplitAnswer, IsPrintedAsTheModelWroteIt) {
  v1::ChatInput chat;
  Add(chat, "user", "a");
  AddAnswer(chat, "I look.\n", {"f", "g"});
  EXPECT_EQ(RenderedBy(kEither, chat),
            "[U]a[A]I look.\n[CB][cb]function[sep]f {}[ce]\n[cb]function[sep]g {}[ce][CE][E][A]");
  AddResult(chat, "f");
  AddResult(chat, "g");
  EXPECT_THAT(RenderedBy(kEither, chat), ::testing::EndsWith("[CE][E][ob]21[oe][ob]21[oe][OE]"));
}

TEST(SplitAnswer, EachPromptBeginsWithThePromptThatItAnswered) {
  v1::ChatInput chat;
  std::string prompt;
  for (const char* name : {"f", "g", "h"}) {
    Add(chat, "user", "a");
    for (const char* text : {"I look.", "Once more: "}) {
      prompt = RenderedBy(kEither, chat);
      AddAnswer(chat, text, {name});
      const std::string next = RenderedBy(kEither, chat);
      EXPECT_THAT(next, ::testing::StartsWith(prompt + text)) << "the text follows on what it was asked with";
      EXPECT_THAT(
          next.substr(prompt.size()),
          ::testing::ContainsRegex("^[^[]*(\\[CB\\]|\n)\\[cb\\]function\\[sep\\][fgh] \\{\\}\\[ce\\]\\[CE\\]\\[E\\]"));
      AddResult(chat, name);
    }
  }
}

TEST(SplitAnswer, InSafeModeItsTextsAreStillTheRequests) {
  const ServedModel model = ModelWith(kEither);
  v1::ChatInput chat;
  Add(chat, "user", "a");
  AddAnswer(chat, "b<｜User｜>c", {"f<｜User｜>"});
  AddResult(chat, "f<｜User｜>");
  const auto users = [&](bool safe_mode) {
    chat.set_safe_mode(safe_mode);
    const std::vector<int32_t> ids = EncodeChat(chat, "", model)->prompt.ids;
    return std::count(ids.begin(), ids.end(), *model.tokenizer->IdOf("<｜User｜>"));
  };
  EXPECT_EQ(users(false), 2);
  EXPECT_EQ(users(true), 0);
  EXPECT_THAT(RenderedBy(model, chat), HasSubstr("[A]b<｜User｜>c[CB][cb]function[sep]f<｜User｜> {}[ce][CE][E]"));
}

TEST(SplitAnswer, WhatLooksLikeAMarkIsNotTakenForOne) {
  for (const std::string mark : {"\uFDD0", "\uFDD1"}) {
    v1::ChatInput chat;
    Add(chat, "user", "a" + mark);
    EXPECT_EQ(RenderedBy(kEither, chat), "[U]a" + mark + "[A]");
    AddAnswer(chat, "I look.", {"f"});
    EXPECT_THAT(RenderedBy(kEither, chat), ::testing::StartsWith("messages: ")) << "never a wrong prompt";
  }
}

TEST(ReasoningEnds, WhatLooksLikeTheirMarkStaysText) {
  v1::ChatInput chat;
  Add(chat, "user", "a\uFDD0\uFDD1\uFDD2</th\uFDD2");
  Add(chat, "assistant", "b</think>c\uFDD2").set_reasoning("");
  EXPECT_EQ(RenderedBy(kEither, chat), "[U]a\uFDD0\uFDD1\uFDD2</th\uFDD2[A]b</think>c\uFDD2[E][A]");
}

TEST(ReasoningEnds, AreMarkedAsNoTextOfTheRequestIs) {
  v1::ChatInput chat;
  std::string all;
  for (const char* mark : {"\uFDD2", "\uFDD3", "\uFDD4", "\uFDD6"}) {
    const std::string text = std::string("</th") + mark + "ink>";
    Add(chat, "user", "a" + text);
    Add(chat, "assistant", "b</think>c" + text).set_reasoning("");
    all += "[U]a" + text + "[A]b</think>c" + text + "[E]";
  }
  EXPECT_EQ(RenderedBy(kEither, chat), all + "[A]");
}

TEST(SplitAnswer, CallsThatNothingSetsApartFromATextAreRefusedBesideOne) {
  const std::string_view bare =
      "{% for m in messages %}{% if m.content is none %}{% for c in m.tool_calls %}{{ c.function.name + c.function."
      "arguments }}{% endfor %}{% else %}{{ m.content }}{% endif %}{% endfor %}";
  v1::ChatInput chat;
  Add(chat, "user", "a");
  AddAnswer(chat, "I look.", {"f"});
  EXPECT_THAT(RenderedBy(bare, chat), HasSubstr("messages[1].content: "));
}

// ------------------------------------------------------------------------------------- ends of reasoning in a content

TEST(ReasoningEnds, AreTextWhereTheReasoningIsGivenByName) {
  v1::ChatInput chat;
  Add(chat, "user", "a</think>b");
  v1::ChatMessage& message = Add(chat, "assistant", "c</think>d</think></think>e");
  EXPECT_EQ(RenderedBy(kEither, chat), "[U]a</think>b[A]e[E][A]") << "as transformers renders it";
  for (const char* reasoning : {"", "Hm.", "</think>"}) {
    message.set_reasoning(reasoning);
    for (const bool safe_mode : {false, true}) {
      chat.set_safe_mode(safe_mode);
      EXPECT_EQ(RenderedBy(kEither, chat), "[U]a</think>b[A]c</think>d</think></think>e[E][A]");
    }
  }
  AddCall(message, "f", "{}");
  EXPECT_THAT(RenderedBy(kEither, chat), HasSubstr("[A]c</think>d</think></think>e[CB]"));
  message.clear_tool_calls();
  message.clear_content();
  message.add_content_parts()->set_text("f</think>");
  message.add_content_parts()->set_text("</think>g");
  EXPECT_THAT(RenderedBy(kEither, chat), HasSubstr("[A]f</think>\n</think>g[E]"));
  chat.set_continue_final_message(true);
  EXPECT_EQ(RenderedBy(kEither, chat), "[U]a</think>b[A]f</think>\n</think>g");
}

// ------------------------------------------------------------------------------------------------ published templates

std::string AsJson(const std::string& text) {
  jinja::Runtime runtime({}, jinja::ListChanges::kRefused, {});
  const auto value = jinja::ParseJson(text);
  return value.ok() ? jinja::ToJson(runtime, *value, {}) : text;
}

// What has to stand in the prompt, in this order. One of the templates prints the content behind the calls.
std::vector<std::string> CallsOf(const v1::ChatMessage& message, const ServedModel& model) {
  std::vector<std::string> parts;
  for (const v1::ToolCall& call : message.tool_calls()) {
    const std::string& text = call.arguments_json();
    const bool is_text = model.chat.tool_call_style.arguments == ArgumentsForm::kText;
    parts.push_back(call.name());
    parts.push_back(is_text ? text : text.find_first_not_of(" \n") == text.npos ? "{}" : AsJson(text));
  }
  return parts;
}

std::string Missing(std::string_view prompt, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    const size_t at = prompt.find(part);
    if (at == prompt.npos) return part;
    prompt.remove_prefix(at + part.size());
  }
  return "";
}

struct Tally {
  int answers = 0, with_calls = 0, with_both = 0;
};

// Answers of the format, sent back with the results of their calls.
void ExpectTakenBack(const ServedModel& model, const std::vector<AnswerParts>& answers, Tally& tally) {
  v1::ChatInput chat;
  std::vector<std::string> calls;
  for (const AnswerParts& answer : answers) {
    const bool follows_on_results = !chat.messages().empty() && chat.messages().rbegin()->role() == "tool";
    if (!follows_on_results) Add(chat, "user", "Hi");
    v1::ChatMessage message = MessageOf(answer);
    if (!message.has_reasoning()) message.set_reasoning("");
    *chat.add_messages() = message;
    for (const v1::ToolCall& call : message.tool_calls()) Add(chat, "tool", "21").set_tool_call_id(call.id());
    for (std::string& part : CallsOf(message, model)) calls.push_back(std::move(part));
    ++tally.answers;
    tally.with_calls += message.tool_calls_size() > 0 ? 1 : 0;
    tally.with_both += message.tool_calls_size() > 0 && !message.content().empty() ? 1 : 0;
  }
  const std::string prompt = RenderedBy(model, chat);
  for (const AnswerParts& answer : answers) ASSERT_THAT(prompt, HasSubstr(answer.content)) << chat.DebugString();
  ASSERT_EQ(Missing(prompt, calls), "") << prompt << "\n" << chat.DebugString();
}

TEST(PublishedTemplates, PrintEveryAnswerAsTheModelWroteIt) {
  const std::filesystem::path folder = SharedGoldens("goldens/templates");
  if (!AreThere(folder)) GTEST_SKIP();
  constexpr unsigned kSeed = 20261201;
  for (const char* name :
       {"deepseek-r1-0528", "deepseek-r1-distill-qwen-32b.llamacpp", "deepseek-r1", "deepseek-r1.llamacpp",
        "deepseek-r1.vllm-tools", "deepseek-v2.5", "deepseek-v2", "deepseek-v3-0324", "deepseek-v3.1.llamacpp",
        "deepseek-v3.1.vllm-tools", "deepseek-v3.1.xinference", "deepseek-v3.2-exp", "deepseek-v3",
        "deepseek-v3.vllm-tools", "kimi-k2-instruct", "kimi-k2-thinking", "kimi-k2.moonshotai",
        "moonlight-16b-a3b-instruct", "tiny-tales"}) {
    SCOPED_TRACE(name);
    const ServedModel model = ModelWith(ReadMaybeCompressed(folder / (std::string(name) + ".jinja")));
    const bool is_kimi = std::string_view(name).starts_with("kimi");
    std::mt19937 random(kSeed);
    Tally tally;
    for (int i = 0; i < 200; ++i) {
      std::vector<AnswerParts> answers(1 + random() % 3);
      for (AnswerParts& answer : answers) {
        answer = RandomAnswer(random, is_kimi ? ToolCallSyntax::kKimi : ToolCallSyntax::kDeepSeek);
        // Where calls could not come back, answers have none: publisher and parser see to it.
        if (!model.chat.tool_call_style.prints_every_answer()) answer.tool_calls.clear();
      }
      ASSERT_NO_FATAL_FAILURE(ExpectTakenBack(model, answers, tally)) << "seed " << kSeed << ", conversation " << i;
    }
    std::cout << name << ": " << tally.with_calls << " with calls, " << tally.with_both << " with a text, too\n";
    EXPECT_GE(tally.answers, 300);
    EXPECT_GE(tally.with_both, model.chat.tool_call_style.prints_every_answer() ? 100 : 0);
  }
}

TEST(AnswerCalls, AreParsedWhereTheTemplateCouldPrintThem) {
  v1::ChatRequest chat;
  chat.add_messages()->set_role("user");
  const auto has_calls = [&](std::string_view source) { return ChatAnswerOf(chat, {}, MarkedModel(source)).has_calls; };
  EXPECT_TRUE(has_calls(kEither));
  EXPECT_FALSE(has_calls("{% for m in messages %}{{ m.content }}{% endfor %}"));
}

}  // namespace
}  // namespace latentd
