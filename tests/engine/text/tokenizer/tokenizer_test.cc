#include "engine/text/tokenizer/tokenizer.h"

#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "engine/text/answer/detokenizer.h"
#include "tests/engine/text/tokenizer/small_tokenizer.h"

namespace latentd {
namespace {

using nlohmann::json;

using Ids = std::vector<int32_t>;

std::unique_ptr<Tokenizer> Load(const json& tokenizer) {
  auto loaded = LoadFrom(tokenizer);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return *std::move(loaded);
}

const Tokenizer& TinyTales() {
  static const std::unique_ptr<Tokenizer> tokenizer = *Tokenizer::Load("models/tiny-tales");
  return *tokenizer;
}

TEST(Tokenizer, MergesAndAddedTokensBecomeIds) {
  const auto tokenizer = Load(SmallTokenizer());
  EXPECT_EQ(*tokenizer->Encode("hello <|end|>", SpecialTokens::kRecognize), (Ids{kSmallHell, 'o', ' ', kSmallControl}));
  EXPECT_EQ(*tokenizer->Encode("<|end|>", SpecialTokens::kAsText), (Ids{'<', '|', 'e', 'n', 'd', '|', '>'}));
  EXPECT_EQ(*tokenizer->Encode("", SpecialTokens::kRecognize), Ids{});
}

TEST(Tokenizer, MergesMayBePairs) {
  json file = SmallTokenizer();
  file["model"]["merges"] = json::array({{"h", "e"}, {"l", "l"}, {"he", "ll"}});
  EXPECT_EQ(*Load(file)->Encode("hell", SpecialTokens::kRecognize), Ids{kSmallHell});
}

TEST(Tokenizer, IgnoreMergesTakesWholePieces) {
  json file = SmallTokenizer();
  file["model"]["merges"] = json::array({"h e"});
  EXPECT_EQ(*Load(file)->Encode("hell", SpecialTokens::kRecognize), (Ids{kSmallHe, 'l', 'l'}));
  file["model"]["ignore_merges"] = true;
  EXPECT_EQ(*Load(file)->Encode("hell", SpecialTokens::kRecognize), Ids{kSmallHell});
}

TEST(Tokenizer, IdsWithoutATokenHaveNoBytes) {
  const auto tokenizer = Load(SmallTokenizer());
  EXPECT_EQ(tokenizer->vocab_size(), kSmallControl + 1);
  for (const int32_t id : {-1, 259, 299, 301, INT32_MAX, INT32_MIN}) {
    EXPECT_FALSE(tokenizer->HasToken(id));
    EXPECT_FALSE(tokenizer->IsSpecial(id));
    EXPECT_EQ(tokenizer->TokenBytes(id), "");
  }
  EXPECT_EQ(tokenizer->Decode(Ids{-1, 'a', 299, 'b', 1 << 30}, SpecialText::kPrint), "ab");
}

TEST(Tokenizer, SpecialTokensPrintOnlyWhenAsked) {
  const auto tokenizer = Load(SmallTokenizer());
  const Ids ids = {'a', kSmallControl, 'b'};
  EXPECT_EQ(tokenizer->Decode(ids, SpecialText::kPrint), "a<|end|>b");
  EXPECT_EQ(tokenizer->Decode(ids, SpecialText::kSkip), "ab");
  EXPECT_EQ(tokenizer->IdOf("<|end|>"), kSmallControl);
  EXPECT_EQ(tokenizer->IdOf("a"), std::nullopt);
}

TEST(Tokenizer, AnAddedTokenDoesNotCompleteABrokenCharacter) {
  const auto tokenizer = Load(SmallTokenizer());
  EXPECT_EQ(tokenizer->Decode(Ids{0xE2, 0x82, kSmallControl, 0xAC}, SpecialText::kPrint), "\uFFFD<|end|>\uFFFD");
  EXPECT_EQ(tokenizer->Decode(Ids{0xE2, 0x82, kSmallControl, 0xAC}, SpecialText::kSkip), "€");
}

TEST(Tokenizer, TextThatIsNotUtf8IsRefused) {
  for (const std::string& text : {std::string("ab\xFF"), std::string("\xED\xA0\x80"), std::string("\xE2\x82")}) {
    const auto ids = TinyTales().Encode(text, SpecialTokens::kRecognize);
    EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(TinyTales().Encode("ab\xFF", SpecialTokens::kAsText).status().message(),
            "expected UTF-8, found byte 0xFF at 2");
}

TEST(Tokenizer, SpansRecognizeAddedTokensOnlyWhereAllowed) {
  const auto tokenizer = Load(SmallTokenizer());
  const auto encode = [&](std::vector<TextSpan> spans) { return *tokenizer->Encode(spans); };
  const auto yes = SpecialTokens::kRecognize, no = SpecialTokens::kAsText;
  EXPECT_EQ(encode({{"<|end|>", yes}, {"<|end|>", no}}), (Ids{kSmallControl, '<', '|', 'e', 'n', 'd', '|', '>'}));
  EXPECT_EQ(encode({{"<|e", yes}, {"nd|>", yes}}), Ids{kSmallControl});
  EXPECT_EQ(encode({{"<|e", yes}, {"nd|>", no}}), (Ids{'<', '|', 'e', 'n', 'd', '|', '>'}));
  // A word over the border is one word, and a character may be.
  EXPECT_EQ(encode({{"he", yes}, {"ll", no}}), Ids{kSmallHell});
  EXPECT_EQ(encode({{"\xE2\x82", yes}, {"\xAC", no}}), (Ids{0xE2, 0x82, 0xAC}));
  EXPECT_EQ(encode({}), Ids{});
}

TEST(Tokenizer, LongRunsAreEncodedAndComeBack) {
  for (const char* unit : {"a", " ", "\n", " \n", "1", "!", "é", "中", "\u0301", "\U0001E5D0", "a1 ", "<", "\u200B"}) {
    std::string text;
    while (text.size() < 1'000'000) text += unit;
    const auto ids = TinyTales().Encode(text, SpecialTokens::kRecognize);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_TRUE(TinyTales().Decode(*ids, SpecialText::kPrint) == text) << unit;
  }
}

std::string RandomText(std::mt19937& random, size_t num_units) {
  static const std::vector<std::string> kUnits = {"a", "the", " ", "  ",         "\n",  "1",      "é",  "中", "\u0301",
                                                  "😀", "'s",  ".", "<｜User｜>", "<｜", "\u2028", "\t", "Z",  "\u3000"};
  std::string text;
  while (num_units-- > 0) text += kUnits[random() % kUnits.size()];
  return text;
}

TEST(Tokenizer, RandomTextComesBack) {
  constexpr uint32_t kSeed = 20240610;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 2000; ++round) {
    const std::string text = RandomText(random, random() % 40);
    for (const auto mode : {SpecialTokens::kRecognize, SpecialTokens::kAsText}) {
      const auto ids = TinyTales().Encode(text, mode);
      ASSERT_TRUE(ids.ok());
      ASSERT_EQ(TinyTales().Decode(*ids, SpecialText::kPrint), text) << "seed " << kSeed << " round " << round;
    }
  }
}

TEST(Tokenizer, RandomBytesAreEncodedOrRefused) {
  constexpr uint32_t kSeed = 20240611;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    for (size_t i = random() % 12; i > 0; --i) bytes += static_cast<char>(random() % (round % 2 ? 256 : 128));
    const auto ids = TinyTales().Encode(bytes, SpecialTokens::kRecognize);
    ASSERT_EQ(ids.ok(), !FindInvalidUtf8(bytes)) << "seed " << kSeed << " round " << round;
    if (ids.ok()) {
      ASSERT_EQ(TinyTales().Decode(*ids, SpecialText::kPrint), bytes);
    }
  }
}

TEST(Detokenizer, RandomIdsStreamAsTheyDecode) {
  constexpr uint32_t kSeed = 20240612;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 3000; ++round) {
    Ids ids;
    for (size_t i = random() % 20; i > 0; --i) ids.push_back(static_cast<int32_t>(random() % (round % 2 ? 4200 : 300)));
    for (const auto special_text : {SpecialText::kPrint, SpecialText::kSkip}) {
      Detokenizer detokenizer(TinyTales(), special_text);
      std::string text;
      for (const int32_t id : ids) text += detokenizer.Append(id);
      text += detokenizer.Flush();
      ASSERT_EQ(text, TinyTales().Decode(ids, special_text)) << "seed " << kSeed << " round " << round;
    }
  }
}

TEST(Tokenizer, ThreadsShareIt) {
  std::mt19937 random(1);
  const std::string text = RandomText(random, 2000);
  const Ids expected = *TinyTales().Encode(text, SpecialTokens::kRecognize);
  std::vector<int> num_equal(4);
  std::vector<std::thread> threads;
  for (int& count : num_equal) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) count += *TinyTales().Encode(text, SpecialTokens::kRecognize) == expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(num_equal, std::vector<int>(4, 20));
}

}  // namespace
}  // namespace latentd
