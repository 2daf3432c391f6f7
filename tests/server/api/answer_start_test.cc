// Whether an answer begins with reasoning where its prompt does not say so: found out from the chat template.
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "server/api/request_validation.h"
#include "tests/engine/text/tokenizer/golden_files.h"
#include "tests/server/api/chat_input.h"
#include "tests/support/shared_goldens.h"

namespace latentd {
namespace {

TEST(AnswerStart, IsTheFormatsWhereThePromptSaysNothing) {
  const std::filesystem::path folder = SharedGoldens("goldens/templates");
  if (!AreThere(folder)) GTEST_SKIP();
  const std::map<std::string, std::string> expected = {{"deepseek-r1-0528", "reasoning cuts"},
                                                       {"deepseek-r1-distill-qwen-32b.llamacpp", "cuts"},
                                                       {"deepseek-r1", "reasoning cuts"},
                                                       {"deepseek-r1.llamacpp", "reasoning cuts"},
                                                       {"deepseek-r1.vllm-tools", "reasoning cuts"},
                                                       {"deepseek-v2.5", ""},
                                                       {"deepseek-v2", ""},
                                                       {"deepseek-v3-0324", ""},
                                                       {"deepseek-v3.1.llamacpp", "cuts"},
                                                       {"deepseek-v3.1.vllm-tools", "cuts"},
                                                       {"deepseek-v3.1.xinference", "cuts"},
                                                       {"deepseek-v3.2-exp", "cuts"},
                                                       {"deepseek-v3.2.llamacpp", ""},
                                                       {"deepseek-v3", ""},
                                                       {"deepseek-v3.vllm-tools", ""},
                                                       {"glm-4.6", "reasoning cuts"},
                                                       {"glm-4.7-flash", "cuts"},
                                                       {"kimi-k2-instruct", ""},
                                                       {"kimi-k2-thinking", "reasoning"},
                                                       {"kimi-k2.moonshotai", ""},
                                                       {"moonlight-16b-a3b-instruct", ""},
                                                       {"tiny-tales", ""}};
  for (const auto& [name, style] : expected) {
    const AnswerStyle found =
        FindAnswerStyle(*ChatTemplate::Parse(ReadMaybeCompressed(folder / (name + ".jinja"))), {});
    std::string shown = found.begins_with_reasoning ? "reasoning" : "";
    if (found.cuts_reasoning) shown += shown.empty() ? "cuts" : " cuts";
    EXPECT_EQ(shown, style) << name;
  }
}

std::string Style(std::string_view source) {
  const AnswerStyle style = FindAnswerStyle(*ChatTemplate::Parse(source), {});
  return std::string(style.begins_with_reasoning ? "r" : "-") + (style.cuts_reasoning ? "c" : "-");
}

TEST(AnswerStart, IsFoundByTrying) {
  const std::string plain = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";
  const std::string cut = "{% for m in messages %}[{{ m.role }}]{{ m.content.split('</think>')[-1] }}{% endfor %}";
  const std::string both =
      "{% for m in messages %}{{ '<think></think>\\n' if m.role == 'assistant' }}{{ m.content }}{% endfor %}";
  EXPECT_EQ(Style(plain), "--");
  EXPECT_EQ(Style(cut), "rc");
  EXPECT_EQ(Style(both), "r-");
  EXPECT_EQ(Style(plain + "<think>\n"), "r-") << "whatever the template is told, answers begin with reasoning";
  EXPECT_EQ(Style(cut + "<think>"), "rc");
  EXPECT_EQ(Style(cut + "{{ '<think>' if thinking else '</think>' }}"), "-c");
  EXPECT_EQ(Style(cut + "{{ '</think>' if enable_thinking is defined and not enable_thinking else '<think>' }}"), "-c");
  EXPECT_EQ(Style(both + "<think></think>"), "--");
  EXPECT_EQ(Style("{{ raise_exception('no') }}"), "--");
  EXPECT_EQ(Style(""), "--");
}

bool StartsInReasoning(const ServedModel& model, v1::ChatRequest chat, std::string_view prompt) {
  if (chat.messages().empty()) chat.add_messages()->set_role("user");
  const std::vector<int32_t> ids = OrDie(model.tokenizer->Encode(prompt, SpecialTokens::kRecognize));
  return ChatAnswerOf(chat, ids, model).starts_in_reasoning;
}

TEST(AnswerStart, ThePromptsEndComesFirst) {
  const ServedModel r1 = MarkedModel(kEither), other = MarkedModel("{{ messages[0].content }}");
  for (const char* prompt : {"Hi", "Hi</think>x", "Hi<think>x", ""}) {
    EXPECT_TRUE(StartsInReasoning(r1, {}, prompt)) << prompt;
    EXPECT_FALSE(StartsInReasoning(other, {}, prompt)) << prompt;
  }
  for (const ServedModel* model : {&r1, &other}) {
    EXPECT_TRUE(StartsInReasoning(*model, {}, "Hi<think>\n"));
    EXPECT_FALSE(StartsInReasoning(*model, {}, "Hi</think>"));
    EXPECT_FALSE(StartsInReasoning(*model, {}, "Hi</think>\n\n"));
  }
  ServedModel unmarked = ModelWith(kEither);
  unmarked.answer_format.reasoning.reset();
  EXPECT_FALSE(StartsInReasoning(unmarked, {}, "Hi")) << "no token could end it";
}

TEST(AnswerStart, OfAContinuedMessageIsWhereItsTextIs) {
  const ServedModel r1 = MarkedModel(kEither);
  v1::ChatRequest chat;
  chat.set_continue_final_message(true);
  v1::ChatMessage& message = *chat.add_messages();
  message.set_role("assistant");
  for (const auto& [text, expected] : {std::pair("It is", false), std::pair("<think>Hm", true),
                                       std::pair("<think>Hm</think>It", false), std::pair("", false)}) {
    message.set_content(text);
    EXPECT_EQ(StartsInReasoning(r1, chat, std::string("Hi") + text), expected) << text;
  }
  message.set_content("<think>Hm");
  chat.set_safe_mode(true);
  EXPECT_FALSE(StartsInReasoning(r1, chat, "Hi")) << "a text's markers are no markers";
}

}  // namespace
}  // namespace latentd
