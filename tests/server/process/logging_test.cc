#include "server/process/logging.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/quoting.h"

namespace latentd {
namespace {

TEST(LogFields, PlainValuesStandBareAndOthersInQuotes) {
  LogFields fields;
  fields.Add("id", "a-1");
  fields.Add("peer", "ipv4:127.0.0.1:1");
  fields.Add("blank", "a b");
  fields.Add("equals", "a=b");
  fields.Add("none", "");
  fields.Add("count", 3);
  fields.AddSeconds("seconds", 0.25);
  EXPECT_EQ(fields.rendered(),
            "id=a-1 peer=ipv4:127.0.0.1:1 blank=\"a b\" equals=\"a=b\" none=\"\" count=3 seconds=0.250000");
}

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

TEST(SetLogLevel, UnknownNameListsTheNames) {
  const absl::StatusOr<std::string> result = SetLogLevel("lo\nud");
  EXPECT_TRUE(absl::IsInvalidArgument(result.status()));
  EXPECT_THAT(std::string(result.status().message()), testing::HasSubstr("trace, debug, info, warning, error, off"));
  EXPECT_THAT(std::string(result.status().message()), testing::Not(testing::HasSubstr("\n")));
}

}  // namespace
}  // namespace latentd
