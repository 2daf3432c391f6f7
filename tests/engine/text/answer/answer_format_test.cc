#include "engine/text/answer/answer_format.h"

#include <memory>

#include <gtest/gtest.h>

#include "tests/engine/text/tokenizer/small_tokenizer.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

constexpr int32_t kFirst = kSmallControl + 1;  // of what was added

std::unique_ptr<Tokenizer> With(const std::vector<std::string>& markers) {
  return OrDie(LoadFrom(SmallTokenizerWith(markers)));
}

TEST(AnswerFormat, IsFoundInTheVocabulary) {
  for (const auto& [markers, syntax] :
       {std::pair(DeepSeekMarkers(), ToolCallSyntax::kDeepSeek), std::pair(KimiMarkers(), ToolCallSyntax::kKimi)}) {
    const AnswerFormat format = FindAnswerFormat(*With(markers));
    ASSERT_TRUE(format.reasoning && format.tool_calls);
    EXPECT_EQ(format.tool_calls->syntax, syntax);
    const std::vector<AnswerMarker> expected = {AnswerMarker::kReasoningBegin, AnswerMarker::kReasoningEnd,
                                                AnswerMarker::kSectionBegin,   AnswerMarker::kSectionEnd,
                                                AnswerMarker::kCallBegin,      AnswerMarker::kCallEnd,
                                                AnswerMarker::kSeparator,      AnswerMarker::kNone};
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(MarkerOf(format, kFirst + static_cast<int32_t>(i)), expected[i]) << i;
    }
  }
}

TEST(AnswerFormat, VocabularyWithoutMarkersHasNone) {
  const AnswerFormat format = FindAnswerFormat(*With({}));
  EXPECT_FALSE(format.reasoning || format.tool_calls);
  for (int32_t id = -1; id < 310; ++id) EXPECT_EQ(MarkerOf(format, id), AnswerMarker::kNone);
}

TEST(AnswerFormat, HalfASyntaxIsNone) {
  std::vector<std::string> markers = DeepSeekMarkers();
  markers.pop_back();
  markers.erase(markers.begin());
  const AnswerFormat format = FindAnswerFormat(*With(markers));
  EXPECT_FALSE(format.reasoning || format.tool_calls);
}

TEST(AnswerFormat, PromptThatEndsInTheBeginOfReasoningStartsThere) {
  const std::unique_ptr<Tokenizer> tokenizer = With(DeepSeekMarkers());
  const AnswerFormat format = FindAnswerFormat(*tokenizer);
  const auto start = [&](std::string_view prompt, SpecialTokens special = SpecialTokens::kRecognize) {
    return AnswerStartOf(format, *tokenizer, OrDie(tokenizer->Encode(prompt, special)));
  };
  EXPECT_EQ(start("Hi<think>"), AnswerStart::kReasoning);
  EXPECT_EQ(start("Hi<think>\n"), AnswerStart::kReasoning);
  EXPECT_EQ(start("Hi<think> \n\n"), AnswerStart::kReasoning);
  EXPECT_EQ(start("<think>Hi"), AnswerStart::kContent);
  EXPECT_EQ(start("<think><|end|>"), AnswerStart::kContent);
  EXPECT_EQ(start("Hi<think></think>"), AnswerStart::kContent);
  EXPECT_EQ(start("Hi<think>", SpecialTokens::kAsText), AnswerStart::kContent);
  EXPECT_EQ(start("\n"), AnswerStart::kContent);
  EXPECT_EQ(start(""), AnswerStart::kContent);
  EXPECT_EQ(AnswerStartOf({}, *tokenizer, OrDie(tokenizer->Encode("<think>", SpecialTokens::kRecognize))),
            AnswerStart::kContent);
}

TEST(AnswerFormat, PromptThatEndsInNoMarkerLeavesItUntold) {
  const std::unique_ptr<Tokenizer> tokenizer = With(DeepSeekMarkers());
  const AnswerFormat format = FindAnswerFormat(*tokenizer);
  const auto start = [&](std::string_view prompt) {
    return AnswerStartOf(format, *tokenizer, OrDie(tokenizer->Encode(prompt, SpecialTokens::kRecognize)),
                         AnswerStart::kReasoning);
  };
  for (const char* prompt : {"", "Hi", "\n", "<think>Hi", "</think>Hi", "</think><|end|>"}) {
    EXPECT_EQ(start(prompt), AnswerStart::kReasoning) << prompt;
  }
  EXPECT_EQ(start("Hi</think>"), AnswerStart::kContent);
  EXPECT_EQ(start("Hi<think></think> \n"), AnswerStart::kContent);
  EXPECT_EQ(AnswerStartOf({}, *tokenizer, {}, AnswerStart::kReasoning), AnswerStart::kContent)
      << "nothing would end it";
}

}  // namespace
}  // namespace latentd
