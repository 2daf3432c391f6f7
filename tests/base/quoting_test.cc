#include "base/quoting.h"

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/utf8.h"

namespace latentd {
namespace {

TEST(QuoteForLog, AllBytesBecomeOneLineOfPrintableAsciiThatJsonReads) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const std::string quoted = QuoteForLog(all);
  for (const char c : quoted) EXPECT_TRUE(c >= ' ' && c <= '~') << static_cast<int>(c);
  EXPECT_TRUE(nlohmann::json::parse(quoted).is_string());
}

TEST(QuoteForLog, Utf8ComesBackAsItWas) {
  const std::string text = "naïve \"Füchse\" 🦊\n\x1b[0m";
  EXPECT_EQ(nlohmann::json::parse(QuoteForLog(text)).get<std::string>(), text);
}

TEST(OnOneLine, EscapesWhatEndsLinesOrSpeaksToTerminals) {
  EXPECT_EQ(OnOneLine("naïve \"Füchse\" \\ 🦊 é"), "naïve \"Füchse\" \\ 🦊 é");
  EXPECT_EQ(OnOneLine(std::string_view("a\nb\rc\td\0e\x1b[2J\x7f", 14)), "a\\nb\\rc\\td\\x00e\\x1b[2J\\x7f");
  EXPECT_EQ(OnOneLine("a\xc2\x85"
                      "b\xe2\x80\xa8"
                      "c\xe2\x80\xa9"),
            "a\\xc2\\x85b\\xe2\\x80\\xa8"
            "c\\xe2\\x80\\xa9");
  EXPECT_EQ(OnOneLine("\xc2"), "\xc2") << "cut off";
  EXPECT_EQ(OnOneLine("\xe2\x80"), "\xe2\x80");
}

TEST(Quoted, IsCutInWholeCharacters) {
  const std::string text = std::string(299, 'a') + "üü";  // the first of the two ends behind byte 300
  EXPECT_EQ(Quoted(text), "'" + std::string(299, 'a') + "...'");
  EXPECT_EQ(Quoted(text.substr(1)), "'" + std::string(298, 'a') + "ü...'");
  EXPECT_EQ(Quoted(text.substr(3)), "'" + text.substr(3) + "'") << "300 bytes are not cut";
  EXPECT_FALSE(FindInvalidUtf8(Quoted(text)));
}

}  // namespace
}  // namespace latentd
