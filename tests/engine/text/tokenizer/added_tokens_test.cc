#include "engine/text/tokenizer/added_tokens.h"

#include <gtest/gtest.h>

namespace latentd {
namespace {

// "[…]" around each match.
std::string Mark(const std::vector<AddedToken>& tokens, std::string_view text) {
  std::string marked;
  size_t covered = 0;
  for (const auto& match : AddedTokenFinder(tokens).Find(text)) {
    marked.append(text.substr(covered, match.begin - covered)).append(1, '[');
    marked.append(text.substr(match.begin, match.end - match.begin)).append(1, ']');
    covered = match.end;
  }
  return marked.append(text.substr(covered));
}

TEST(AddedTokens, TheLeftmostThenTheLongestMatches) {
  const std::vector<AddedToken> tokens = {
      {.id = 1, .content = "<a"}, {.id = 2, .content = "<a>"}, {.id = 3, .content = "a>b"}};
  EXPECT_EQ(Mark(tokens, "x<a>b<a<a>a>b"), "x[<a>]b[<a][<a>][a>b]");
  EXPECT_EQ(AddedTokenFinder(tokens).Find("<a>").at(0).id, 2);
  EXPECT_EQ(Mark(tokens, "<"), "<");
  EXPECT_EQ(Mark({}, "<a>"), "<a>");
}

TEST(AddedTokens, NormalizedOnesGetWhatTheOthersLeave) {
  const std::vector<AddedToken> tokens = {{.id = 1, .content = "abc", .normalized = true}, {.id = 2, .content = "cd"}};
  EXPECT_EQ(Mark(tokens, "abcd abc"), "ab[cd] [abc]");
}

TEST(AddedTokens, StripTakesTheWhiteSpaceAround) {
  EXPECT_EQ(Mark({{.id = 1, .content = "<m>", .lstrip = true}}, "a \u2003\n<m> b"), "a[ \u2003\n<m>] b");
  EXPECT_EQ(Mark({{.id = 1, .content = "<m>", .rstrip = true}}, "a <m> \t\u2003b"), "a [<m> \t\u2003]b");
  EXPECT_EQ(Mark({{.id = 1, .content = "<m>", .lstrip = true, .rstrip = true}}, "<m> <m> "), "[<m> ][<m> ]");
}

TEST(AddedTokens, ASingleWordStandsAlone) {
  const std::vector<AddedToken> tokens = {{.id = 1, .content = "tok", .single_word = true}};
  EXPECT_EQ(Mark(tokens, "tok token _tok étok tok,tok"), "[tok] token _tok étok [tok],[tok]");
  EXPECT_EQ(Mark(tokens, "Ⓐtok 3tok Ⅷtok \u0301tok \u200Dtok ‿tok"), "Ⓐtok 3tok Ⅷtok \u0301tok \u200Dtok ‿tok");
  EXPECT_EQ(Mark(tokens, "½tok² ①tok €tok\u200B"), "½[tok]² ①[tok] €[tok]\u200B");
}

TEST(AddedTokens, CountOnlyWhereAllOfThemMay) {
  // The text with ~ between its parts; every second part recognizes tokens.
  const auto mark = [](const std::vector<AddedToken>& tokens, std::string_view parts) {
    std::string text;
    std::vector<AddedTokenFinder::Range> ranges;
    size_t index = 0;
    for (size_t begin = 0; begin <= parts.size(); ++index) {
      const size_t end = std::min(parts.find('~', begin), parts.size());
      const size_t at = text.size();
      text += parts.substr(begin, end - begin);
      if (index % 2 == 0) ranges.push_back({at, text.size()});
      begin = end + 1;
    }
    std::string marked;
    size_t covered = 0;
    for (const auto& match : AddedTokenFinder(tokens).Find(text, ranges)) {
      marked += text.substr(covered, match.begin - covered) + "[" + text.substr(match.begin, match.end - match.begin);
      marked += "]";
      covered = match.end;
    }
    return marked + text.substr(covered);
  };
  const std::vector<AddedToken> tokens = {{.id = 1, .content = "<a>"}, {.id = 2, .content = "<a>b"}};
  EXPECT_EQ(mark(tokens, "<a>~<a>~<a>"), "[<a>]<a>[<a>]");
  EXPECT_EQ(mark(tokens, "<~a~>"), "<a>");
  EXPECT_EQ(mark(tokens, "<a>~b<a>b~<a>b"), "[<a>]b<a>b[<a>b]");
  EXPECT_EQ(mark(tokens, "~<a~>"), "<a>");
  EXPECT_EQ(mark(tokens, ""), "");
  // The white space around, and the words, are those of the whole text.
  EXPECT_EQ(mark({{.id = 1, .content = "<m>", .lstrip = true, .rstrip = true}}, "~a ~<m>~ b"), "a[ <m> ]b");
  EXPECT_EQ(mark({{.id = 1, .content = "tok", .single_word = true}}, "tok~en, ~tok"), "token, [tok]");
  EXPECT_EQ(mark({{.id = 1, .content = "abc", .normalized = true}, {.id = 2, .content = "cd"}}, "abc~ ~abcd~abc"),
            "[abc] ab[cd]abc");
}

}  // namespace
}  // namespace latentd
