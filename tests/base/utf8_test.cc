#include "base/utf8.h"

#include <random>

#include <gtest/gtest.h>

namespace latentd {
namespace {

std::string RepairWhole(std::string_view bytes) {
  std::string text;
  Utf8Repair repair;
  repair.Append(bytes, text);
  repair.Flush(text);
  return text;
}

TEST(Utf8, EachMaximalBadSubpartBecomesOneReplacement) {
  EXPECT_EQ(RepairWhole("\xF0\x9F\x98"), "\uFFFD");
  EXPECT_EQ(RepairWhole("\xF0\x9F\x98 "), "\uFFFD ");
  EXPECT_EQ(RepairWhole("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(RepairWhole("\xC0\xAF"), "\uFFFD\uFFFD");
  EXPECT_EQ(RepairWhole("\xE0\x9F\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(RepairWhole("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(RepairWhole("\xE2\x82\xE2\x82\xAC"), "\uFFFD€");
  EXPECT_EQ(RepairWhole("a\xFF\x80z"), "a\uFFFD\uFFFDz");
  EXPECT_EQ(RepairWhole("F\xC3\xBCr 😀"), "Für 😀");
}

TEST(Utf8, AnyChunksGiveTheSameText) {
  constexpr uint32_t kSeed = 20240607;
  std::mt19937 random(kSeed);
  const std::string alphabet("a\x80\x9F\xA0\xBF\xC2\xE0\xE2\x82\xAC\xED\xF0\x90\x98\xF4\xFF", 16);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    for (size_t i = random() % 12; i > 0; --i) bytes += alphabet[random() % alphabet.size()];
    std::string text;
    Utf8Repair repair;
    for (size_t at = 0; at < bytes.size();) {
      const size_t length = 1 + random() % 4;
      const size_t before = text.size();
      repair.Append(std::string_view(bytes).substr(at, length), text);
      ASSERT_EQ(FindInvalidUtf8(std::string_view(text).substr(before)), std::nullopt) << "seed " << kSeed;
      at += length;
    }
    repair.Flush(text);
    ASSERT_EQ(text, RepairWhole(bytes)) << "seed " << kSeed << " round " << round;
  }
}

TEST(Utf8, WrittenCodePointsReadBack) {
  for (uint32_t code_point = 0; code_point <= 0x10FFFF; ++code_point) {
    if (code_point >= 0xD800 && code_point <= 0xDFFF) continue;
    std::string text;
    AppendUtf8(code_point, text);
    const Utf8Unit unit = NextUtf8Unit(text);
    ASSERT_EQ(unit.kind, Utf8Unit::Kind::kCharacter);
    ASSERT_EQ(unit.code_point, code_point);
    ASSERT_EQ(unit.length, text.size());
  }
}

TEST(Utf8, TheFirstBadByteIsFound) {
  EXPECT_EQ(FindInvalidUtf8("grüße"), std::nullopt);
  EXPECT_EQ(FindInvalidUtf8("ü\xFF"), 2u);
  EXPECT_EQ(FindInvalidUtf8("abc\xE2\x82"), 3u);
}

}  // namespace
}  // namespace latentd
