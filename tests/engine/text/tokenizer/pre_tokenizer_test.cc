// Stages of a pre-tokenizer. The expected pieces come from the Rust library `tokenizers` 0.23.3.
#include "engine/text/tokenizer/pre_tokenizer.h"

#include <gtest/gtest.h>

namespace latentd {
namespace {

using Strings = std::vector<std::string>;
using Kind = SplitStage::PatternKind;
constexpr auto kIsolated = SplitBehavior::kIsolated;
constexpr auto kRemoved = SplitBehavior::kRemoved;
constexpr auto kMergedWithPrevious = SplitBehavior::kMergedWithPrevious;
constexpr auto kMergedWithNext = SplitBehavior::kMergedWithNext;
constexpr auto kContiguous = SplitBehavior::kContiguous;

Strings Split(const std::vector<PreTokenizerStage>& stages, std::string_view text) {
  const auto pre_tokenizer = PreTokenizer::Create(stages);
  EXPECT_TRUE(pre_tokenizer.ok()) << pre_tokenizer.status();
  if (!pre_tokenizer.ok()) return {};
  const auto pieces = pre_tokenizer->Split(text);
  EXPECT_TRUE(pieces.ok()) << pieces.status();
  return pieces.ok() ? Strings(pieces->views.begin(), pieces->views.end()) : Strings();
}

SplitStage Stage(std::string pattern, SplitBehavior behavior = kIsolated, bool invert = false) {
  return {.kind = Kind::kRegex, .pattern = std::move(pattern), .behavior = behavior, .invert = invert};
}

TEST(PreTokenizer, SplitBehaviorsTreatMatchesAsTheirNamesSay) {
  EXPECT_EQ(Split({Stage("-", kIsolated)}, "a--b-c-"), (Strings{"a", "-", "-", "b", "-", "c", "-"}));
  EXPECT_EQ(Split({Stage("-", kRemoved)}, "a--b-c-"), (Strings{"a", "b", "c"}));
  EXPECT_EQ(Split({Stage("-", kMergedWithPrevious)}, "a--b-c-"), (Strings{"a-", "-", "b-", "c-"}));
  EXPECT_EQ(Split({Stage("-", kMergedWithNext)}, "a--b-c-"), (Strings{"a", "-", "-b", "-c", "-"}));
  EXPECT_EQ(Split({Stage("-", kContiguous)}, "a--b-c-"), (Strings{"a", "--", "b", "-", "c", "-"}));
  EXPECT_EQ(Split({Stage("-", kMergedWithPrevious)}, "-a"), (Strings{"-", "a"}));
  EXPECT_EQ(Split({Stage("-", kMergedWithNext)}, "-a"), (Strings{"-a"}));
}

TEST(PreTokenizer, InvertSwapsMatchesAndGaps) {
  EXPECT_EQ(Split({Stage("-", kIsolated, true)}, "a--b-c-"), (Strings{"a", "-", "-", "b", "-", "c", "-"}));
  EXPECT_EQ(Split({Stage("-", kRemoved, true)}, "a--b-c-"), (Strings{"-", "-", "-", "-"}));
  EXPECT_EQ(Split({Stage("-", kMergedWithPrevious, true)}, "a--b-c-"), (Strings{"a", "-", "-b", "-c", "-"}));
  EXPECT_EQ(Split({Stage("-", kMergedWithNext, true)}, "a--b-c-"), (Strings{"a-", "-", "b-", "c-"}));
  EXPECT_EQ(Split({Stage("-", kContiguous, true)}, "a--b-c-"), (Strings{"a", "--", "b", "-", "c", "-"}));
}

TEST(PreTokenizer, EmptyMatchesCut) {
  EXPECT_EQ(Split({Stage("(?=[A-Z])")}, "fooBarBAZ"), (Strings{"foo", "Bar", "B", "A", "Z"}));
  EXPECT_EQ(Split({Stage("x*")}, "axxb"), (Strings{"a", "xx", "b"}));
  EXPECT_EQ(Split({Stage("x*", kMergedWithPrevious)}, "axxb"), (Strings{"axx", "b"}));
  EXPECT_EQ(Split({Stage("x*", kRemoved, true)}, "axxb"), (Strings{"xx"}));
}

TEST(PreTokenizer, LiteralPatternsHaveNoSyntax) {
  const SplitStage stage{.kind = Kind::kLiteral, .pattern = "a.", .behavior = kContiguous};
  EXPECT_EQ(Split({stage}, "xa.a.ab"), (Strings{"x", "a.a.", "ab"}));
  EXPECT_EQ(Split({SplitStage{.kind = Kind::kLiteral, .pattern = ""}}, "ab"), (Strings{"ab"}));
}

TEST(PreTokenizer, DigitsAreAllNumbersOfUnicode) {
  EXPECT_EQ(Split({DigitsStage{.individual = true}}, "12a٣²Ⅷx"), (Strings{"1", "2", "a", "٣", "²", "Ⅷ", "x"}));
  EXPECT_EQ(Split({DigitsStage{.individual = false}}, "12a٣²Ⅷx"), (Strings{"12", "a", "٣²Ⅷ", "x"}));
}

TEST(PreTokenizer, ByteLevelSplitsAsGpt2AndPrefixesABlank) {
  EXPECT_EQ(Split({ByteLevelStage{.add_prefix_space = true, .use_regex = true}}, "it's 20 'llama  x\n y"),
            (Strings{" it", "'s", " 20", " '", "llama", " ", " x", "\n", " y"}));
  EXPECT_EQ(Split({ByteLevelStage{.add_prefix_space = true, .use_regex = true}}, " Hi"), (Strings{" Hi"}));
  EXPECT_EQ(Split({Stage("[0-9]"), ByteLevelStage{.add_prefix_space = true, .use_regex = false}}, "a1 b"),
            (Strings{" a", " 1", " b"}));
}

TEST(PreTokenizer, AStageSeesOnlyThePieceThatItSplits) {
  EXPECT_EQ(Split({Stage("[0-9]"), Stage(R"(\s+(?!\S)|\s)")}, "a  1"), (Strings{"a", "  ", "1"}));
  EXPECT_EQ(Split({Stage(R"(\s+(?!\S)|\s)")}, "a  1"), (Strings{"a", " ", " ", "1"}));
}

TEST(PreTokenizer, NothingInNothingOut) { EXPECT_EQ(Split({Stage("x*")}, ""), Strings{}); }

std::string Repeat(std::string_view text, int times) {
  std::string repeated;
  while (times-- > 0) repeated += text;
  return repeated;
}

struct DialectCase {
  const char* pattern;
  const char* text;
  Strings pieces;
};

TEST(RegexDialect, PatternsMeanWhatTheyMeanToOniguruma) {
  const std::vector<DialectCase> cases = {
      {"[a-z&&[^aeiou]]+", "abc aab", {"a", "bc", " aa", "b"}},
      {"[a-c&&b-d]+", "abc d", {"a", "bc", " d"}},
      {"[b&&]", "abc", {"abc"}},
      {"[a[0-9]]+", "abc 12 a", {"a", "bc ", "12", " ", "a"}},
      {"[^a[0-9]]+", "abc 12", {"a", "bc ", "12"}},
      {"[a\\-c]+", "abc-", {"a", "b", "c-"}},
      {"[a-c-e]+", "abd-e", {"ab", "d", "-e"}},
      {"[--/]+", "a-./b", {"a", "-./", "b"}},
      {"[^^]+", "ab^c", {"ab", "^", "c"}},
      {"\\x{41}+|\\u0042", "AAB C", {"AA", "B", " C"}},
      {"a{,2}b", "aaab", {"a", "aab"}},
      {"a{b}", "a{b}aab", {"a{b}", "aab"}},
      {"a{,}", "a{,}a", {"a{,}", "a"}},
      {"(?i:'s|ab)", "abc AB'S", {"ab", "c ", "AB", "'S"}},
      {"\\p{^L}+|[\\p{^L}]", "ab12c", {"ab", "12", "c"}},
      {"$", "a\nb\n", {"a", "\nb", "\n"}},
      {"^", "a\nb\n", {"a\n", "b\n"}},
      {"\\s+$", "a  \n \n b  c  ", {"a", "  \n ", "\n b  c", "  "}},
      {"[ab]+$", "xab\nabxaab", {"x", "ab", "\nabx", "aab"}},
      {"[^x]+$", "ab\ncdx\nx", {"ab", "\ncdx\nx"}},
      {".+", "ab\nc", {"ab", "\n", "c"}},
      {"b\\z|\\Aa", "aab b", {"a", "ab ", "b"}},
      {"(?<=a)b(?!c)|(?>c+)", "abbcc", {"a", "b", "b", "cc"}},
  };
  for (const DialectCase& each : cases) EXPECT_EQ(Split({Stage(each.pattern)}, each.text), each.pieces) << each.pattern;
}

TEST(RegexDialect, ClassesAreThoseOfUnicode16) {
  // U+180E was white space, U+1E5D0 (Ol Onal) was not assigned, U+2E5D is punctuation since Unicode 14.
  EXPECT_EQ(Split({Stage("\\s")}, "a\u180Eb"), (Strings{"a\u180Eb"}));
  EXPECT_EQ(Split({Stage("\\S+")}, "a\u180E\u2003"), (Strings{"a\u180E", "\u2003"}));
  EXPECT_EQ(Split({Stage("\\p{L}")}, "1\U0001E5D0"), (Strings{"1", "\U0001E5D0"}));
  EXPECT_EQ(Split({Stage("[^\\p{L}]")}, "1\U0001E5D0\U0001E5D0"), (Strings{"1", "\U0001E5D0\U0001E5D0"}));
}

TEST(RegexDialect, WhatTheDialectsDisagreeAboutIsRefused) {
  const Strings patterns = {"(",
                            ")",
                            "[a",
                            "[]a]",
                            "a**",
                            "\\",
                            "\\w",
                            "\\d",
                            "\\h",
                            "\\b",
                            "\\R",
                            "\\1",
                            "\\p{Greek}",
                            "\\p{L",
                            "\\pL",
                            "\\x{110000}",
                            "\\x{41",
                            "\\xE9",
                            "\\u12",
                            "[z-a]",
                            "[a-\\s]",
                            "[[:alpha:]]",
                            "(?i)a",
                            "(?<name>a)",
                            "(?#x)",
                            "a{2}+",
                            "a{2}?",
                            "a{3,2}",
                            "a{99999}",
                            "(?<=a+)b",
                            "*",
                            std::string(100000, 'a'),
                            std::string(60000, '('),
                            Repeat("\\p{L}", 10000),
                            "[" + Repeat("\\p{L}a-b", 6000),
                            std::string(100, '[')};
  for (const std::string& pattern : patterns) {
    const auto created = PreTokenizer::Create({Stage(pattern)});
    ASSERT_EQ(created.status().code(), absl::StatusCode::kInvalidArgument) << pattern.substr(0, 40);
    EXPECT_EQ(created.status().message().find('\n'), absl::string_view::npos);
    EXPECT_LT(created.status().message().size(), 200u);
  }
}

TEST(RegexDialect, ARunawayPatternEndsInAStatus) {
  const auto pre_tokenizer = PreTokenizer::Create({Stage("(?:a+)+$")});
  ASSERT_TRUE(pre_tokenizer.ok());
  const auto pieces = pre_tokenizer->Split(std::string(60, 'a') + "b");
  EXPECT_EQ(pieces.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(pre_tokenizer->Split("aaa").ok());
}

TEST(RegexDialect, ALongRunThatDoesNotMatchIsTriedOnce) {
  const std::string text = std::string(4'000'000, ' ') + "1";
  EXPECT_EQ(Split({Stage("\\s+$")}, text), Strings{text});
}

TEST(RegexDialect, ManyBacktrackPointsNeedNoMachineStack) {
  const std::string text(1'000'000, 'a');
  EXPECT_EQ(Split({Stage("(?:a|b)+")}, text).size(), 1u);
}

// The sequence of DeepSeek-V2 without its long list of letters: the stages and the golden pieces of its specification.
TEST(PreTokenizer, DeepSeekV2SequenceGivesItsPieces) {
  const std::vector<PreTokenizerStage> stages = {Stage("[\\r\\n]"),
                                                 Stage("\\s?[A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA]+"),
                                                 Stage("\\s?[!-/:-~！-／：-～‘-‟　-。]+"),
                                                 Stage("\\s+$"),
                                                 Stage("[一-龥ࠀ-一가-퟿]+"),
                                                 DigitsStage{.individual = true},
                                                 ByteLevelStage{.add_prefix_space = false, .use_regex = false}};
  EXPECT_EQ(Split(stages, "Hello, world!  How's it going?\n\n"),
            (Strings{"Hello", ",", " world", "!", " ", " How", "'", "s", " it", " going", "?", "\n", "\n"}));
  EXPECT_EQ(Split(stages, "3.14159 and 1234567"),
            (Strings{"3", ".", "1", "4", "1", "5", "9", " and", " ", "1", "2", "3", "4", "5", "6", "7"}));
  EXPECT_EQ(Split(stages, "x = foo_bar(1,22)\n    return y\n"),
            (Strings{"x", " =", " foo", "_", "bar", "(", "1", ",", "2", "2", ")", "\n", "   ", " return", " y", "\n"}));
  EXPECT_EQ(Split(stages, "DeepSeek-V3模型很强大,ひらがな混在"),
            (Strings{"DeepSeek", "-", "V", "3", "模型很强大", ",", "ひらがな混在"}));
  EXPECT_EQ(Split(stages, "café naïve"), (Strings{"caf", "é", " na", "ï", "ve"}));
  EXPECT_EQ(Split(stages, "  \n\n  a"), (Strings{"  ", "\n", "\n", " ", " a"}));
}

}  // namespace
}  // namespace latentd
