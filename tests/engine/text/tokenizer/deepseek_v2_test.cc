// The pre-tokenizer of the DeepSeek-V2 family. The expected pieces come from the Rust library `tokenizers` 0.23.3.
#include "tests/engine/text/tokenizer/deepseek_v2.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/utf8.h"
#include "engine/text/tokenizer/code_point_set.h"
#include "tests/engine/text/tokenizer/small_tokenizer.h"

namespace latentd {
namespace {

using Strings = std::vector<std::string>;

const Tokenizer& V2() {
  static const std::unique_ptr<Tokenizer> tokenizer = *LoadFrom(DeepSeekV2Tokenizer());
  return *tokenizer;
}

Strings Pieces(std::string_view text) {
  const auto pieces = V2().pre_tokenizer().Split(text);
  EXPECT_TRUE(pieces.ok()) << pieces.status();
  return pieces.ok() ? Strings(pieces->views.begin(), pieces->views.end()) : Strings();
}

std::string Utf8(uint32_t code_point) {
  std::string text;
  AppendUtf8(code_point, text);
  return text;
}

TEST(DeepSeekV2, GivesThePiecesOfItsSpecification) {
  EXPECT_EQ(Pieces("Hello, world!  How's it going?\n\n"),
            (Strings{"Hello", ",", " world", "!", " ", " How", "'", "s", " it", " going", "?", "\n", "\n"}));
  EXPECT_EQ(Pieces("3.14159 and 1234567"),
            (Strings{"3", ".", "1", "4", "1", "5", "9", " and", " ", "1", "2", "3", "4", "5", "6", "7"}));
  EXPECT_EQ(Pieces("x = foo_bar(1,22)\n    return y\n"),
            (Strings{"x", " =", " foo", "_", "bar", "(", "1", ",", "2", "2", ")", "\n", "   ", " return", " y", "\n"}));
  EXPECT_EQ(Pieces("DeepSeek-V3模型很强大,ひらがな混在"),
            (Strings{"DeepSeek", "-", "V", "3", "模型很强大", ",", "ひらがな混在"}));
  EXPECT_EQ(Pieces("café naïve"), (Strings{"caf", "é", " na", "ï", "ve"}));
  EXPECT_EQ(Pieces("  \n\n  a"), (Strings{"  ", "\n", "\n", " ", " a"}));
}

// Between two characters that no stage looks at, a letter is a piece of its own, and so is a run of two.
TEST(DeepSeekV2, LettersAreThoseOfTheList) {
  const CodePointSet later({{'!', '~'}, {0x800, 0x9FA5}, {0xAC00, 0xD7FF}, {0xFF01, 0xFF0F}, {0xFF1A, 0xFF5E}});
  const std::string other = Utf8(0xE000);
  for (const CodePointRange& range : DeepSeekV2Letters()) {
    for (const uint32_t letter : {range.first, range.last}) {
      EXPECT_EQ(Pieces(other + Utf8(letter) + other), (Strings{other, Utf8(letter), other})) << letter;
    }
    for (const uint32_t neighbour : {range.first - 1, range.last + 1}) {
      if (later.Contains(neighbour) || CodePointSet::OfClass("N").Contains(neighbour)) continue;
      EXPECT_EQ(Pieces(other + Utf8(neighbour) + other), Strings{other + Utf8(neighbour) + other}) << neighbour;
    }
  }
}

TEST(DeepSeekV2, TakesOneBlankBeforeWordsAndPunctuationOnly) {
  EXPECT_EQ(Pieces("a\u3000b \t!  5 中"), (Strings{"a", "\u3000", "b", " ", "\t!", "  ", "5", " ", "中"}));
}

TEST(DeepSeekV2, CutsEveryLineBreakOfAsciiAlone) {
  EXPECT_EQ(Pieces("a\r\n\r\rb\u2028\u2029\u0085c"), (Strings{"a", "\r", "\n", "\r", "\r", "b", "\u2028\u2029",
                                                              "\u0085"
                                                              "c"}));
}

TEST(DeepSeekV2, NumbersOfAllKindsStandAlone) {
  EXPECT_EQ(Pieces("12٣²½Ⅷ①𝟘〇"), (Strings{"1", "2", "٣", "²", "½", "Ⅷ", "①", "𝟘", "〇"}));
}

TEST(DeepSeekV2, ALongRunOfBlanksBeforeADigitTakesLinearTime) {
  const std::string blanks(2'000'000, ' ');
  EXPECT_EQ(Pieces(blanks + "1"), (Strings{blanks, "1"}));
  EXPECT_EQ(Pieces(blanks + "\n1"), (Strings{blanks, "\n", "1"}));
}

}  // namespace
}  // namespace latentd
