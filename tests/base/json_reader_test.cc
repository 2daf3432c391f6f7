#include "base/json_reader.h"

#include <string>

#include <absl/strings/str_join.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::HasSubstr;

std::string Walked(std::string_view text) {
  std::string lines;
  const absl::Status status = WalkJson(text, 4, [&](std::span<const std::string> path, const JsonValue& value) {
    lines += absl::StrJoin(path, "/") + "=" + Describe(value) + ";";
    return absl::OkStatus();
  });
  return status.ok() ? lines : std::string(status.message());
}

TEST(JsonWalk, NamesEveryValueByItsPath) {
  EXPECT_EQ(Walked(R"({"a": {"b": [1, [-2], 2.5]}, "c": null, "d": true, "e": "x"})"),
            "=an object;a=an object;a/b=a list;a/b/0=1;a/b/1=a list;a/b/1/0=-2;a/b/2=2.5;c=null;d=true;e='x';");
  EXPECT_EQ(Walked("[]"), "=a list;");
}

TEST(JsonWalk, SameKeyInTwoObjectsIsFine) {
  EXPECT_EQ(Walked(R"({"a": {"x": 1}, "b": {"x": 2}})"), "=an object;a=an object;a/x=1;b=an object;b/x=2;");
}

TEST(JsonWalk, IntegersBeyondInt64AreNotIntegers) {
  EXPECT_EQ(Walked("9223372036854775807"), "=9223372036854775807;");
  EXPECT_EQ(Walked("9223372036854775808"), "=9.223372036854776e+18;");
  EXPECT_EQ(Walked("-9223372036854775809"), "=-9.223372036854776e+18;");
}

TEST(JsonWalk, RefusesWhatIsNotOneStrictText) {
  EXPECT_THAT(Walked(R"({"a": 1, "a": 1})"), HasSubstr("found 'a' twice"));
  EXPECT_THAT(Walked("[[[[1]]]]"), HasSubstr("=1;"));
  EXPECT_THAT(Walked("[[[[[1]]]]]"), HasSubstr("nested at most 4 deep"));
  for (const char* text :
       {"", " ", "{", "{} {}", "[1,]", "{\"a\":}", "nan", "1e999", "\"\xff\"", "\"\n\"", "'a'", "{a:1}"}) {
    EXPECT_THAT(Walked(text), HasSubstr("expected valid JSON")) << text;
  }
  EXPECT_EQ(Walked(std::string_view("{}\0{\"a\":1}", 10)), "expected valid JSON, found a NUL at byte 3 of it");
  EXPECT_EQ(Walked("\xEF\xBB\xBF{}"), "expected valid JSON, found a byte order mark before it");
}

TEST(JsonWalk, VisitorsErrorEndsTheWalk) {
  int visits = 0;
  const absl::Status status = WalkJson("[1, 2, 3]", 4, [&](std::span<const std::string>, const JsonValue& value) {
    ++visits;
    return value == JsonValue(int64_t{2}) ? absl::InvalidArgumentError("two") : absl::OkStatus();
  });
  EXPECT_EQ(status.message(), "two");
  EXPECT_EQ(visits, 3);
}

TEST(JsonWalk, DescriptionsStayOnOneShortLine) {
  EXPECT_EQ(Describe(std::string("a\nb\0c", 5)).find('\n'), std::string::npos);
  EXPECT_LT(Describe(std::string(100'000, 'x')).size(), 400u);
}

TEST(JsonWalk, RealNumbersDoNotLookLikeIntegers) {
  EXPECT_EQ(Describe(int64_t{50}), "50");
  EXPECT_EQ(Describe(50.0), "50.0");
  EXPECT_EQ(Describe(-0.0), "-0.0");
  EXPECT_EQ(Describe(1e30), "1e+30");
}

}  // namespace
}  // namespace latentd
