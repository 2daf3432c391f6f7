// A JSON text has a shape exactly where values can be made of it, and the shape is theirs.
#include "jinja/json_shape.h"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/utf8.h"
#include "jinja/json_reader.h"

namespace latentd::jinja {
namespace {

void ExpectSame(const std::string& text) {
  SCOPED_TRACE(text.substr(0, 200));
  const auto shape = ShapeOfJson(text);
  const auto value = ParseJson(text);
  ASSERT_EQ(shape.ok(), value.ok()) << shape.status() << " " << value.status();
  if (!shape.ok()) return;
  EXPECT_EQ(shape->is_object, value->is_object());
  EXPECT_EQ(shape->depth, value->depth());
}

const std::vector<std::string> kTexts = {
    R"({"type": "object", "properties": {"a": {"type": ["string", "null"]}, "b": {}}, "required": []})",
    R"([1, -2.5e-3, 0, -0, 1E+2, 0.0e0, true, false, null, "x", "", [[], {}], {"a": [{}]}])",
    R"( {"a" : [ 1 , 2 ] , "a" : "again", "": {"b": [[[1]]]} } )",
    R"("\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t ä😀")",
    "\xef\xbb\xbf[1]",
    "[1,\t\r\n2]",
};
const std::vector<std::string> kWrong = {
    "",
    " ",
    "[",
    "]",
    "{",
    "{}}",
    "[1,]",
    "[,1]",
    "{,}",
    "{\"a\"}",
    "{\"a\":}",
    "{1:2}",
    "{\"a\":1,}",
    "01",
    "-",
    "+1",
    "1.",
    ".5",
    "1e",
    "1e+",
    "tru",
    "nulll",
    "True",
    "NaN",
    "Infinity",
    "'a'",
    "\"a",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\n\"",
    "1 2",
    "[1}",
    "{\"a\":1]",
    "// x\n1",
    "\"\\ud800\"",
    "\"\\udc00\"",
    "\"\\ud800\\u0041\"",
    "\"\\ud800x\"",
    "\"\\u-123\"",
    "\"\\",
};

TEST(JsonShape, IsThatOfTheValues) {
  for (const std::string& text : kTexts) {
    EXPECT_TRUE(ShapeOfJson(text).ok()) << text;
    ExpectSame(text);
  }
  EXPECT_EQ(ShapeOfJson(kTexts[0])->depth, 4);
  EXPECT_TRUE(ShapeOfJson(kTexts[0])->is_object);
  EXPECT_EQ(ShapeOfJson("7")->depth, 0);
  EXPECT_EQ(ShapeOfJson("7")->num_values, 1u);
  EXPECT_EQ(ShapeOfJson(R"({"a": [1, "x", {}], "b": null})")->num_values, 8u);
}

TEST(JsonShape, WhatIsNoJsonHasNone) {
  for (const std::string& text : kWrong) {
    EXPECT_FALSE(ShapeOfJson(text).ok()) << text;
    ExpectSame(text);
  }
  EXPECT_EQ(ShapeOfJson(R"({"a" 1})").status().message(), ParseJson(R"({"a" 1})").status().message());
  EXPECT_EQ(ShapeOfJson("[1, tru]").status().message(), ParseJson("[1, tru]").status().message());
  EXPECT_EQ(ShapeOfJson("[1").status().message(), ParseJson("[1").status().message());
}

TEST(JsonShape, NumbersAtTheEdgesOfDoubles) {
  for (const char* text : {"1e308", "1.7976931348623157e308", "1.7976931348623159e308", "1e309", "-1e309", "1e400",
                           "1e-400", "0e999999999999999999999", "1e-999999999999999999999", "1e999999999999999999999",
                           "0.0001e312", "0.0001e313", "5e-324", "1e-324", "10000e305", "0.00000e400", "1000e-400"}) {
    ExpectSame(text);
  }
  for (const size_t digits : {18u, 19u, 20u, 308u, 309u, 310u, 400u, 5000u}) {
    ExpectSame(std::string(digits, '9'));
    ExpectSame("-" + std::string(digits, '1'));
    ExpectSame("0." + std::string(digits, '0') + "1");
    ExpectSame("0." + std::string(digits, '0') + "1e" + std::to_string(digits));
    ExpectSame("0." + std::string(digits, '0') + "1e" + std::to_string(digits + 320));
    ExpectSame("1" + std::string(digits, '0') + "e-" + std::to_string(digits));
  }
}

TEST(JsonShape, DepthsAtTheirBound) {
  for (const size_t depth : {64u, 199u, 200u, 201u, 100'000u}) {
    ExpectSame(std::string(depth, '[') + std::string(depth, ']'));
    ExpectSame(std::string(depth, '['));
  }
  EXPECT_EQ(ShapeOfJson(std::string(201, '[')).status().message(), ParseJson(std::string(201, '[')).status().message());
}

// Bytes changed, left out and doubled; texts that are no UTF-8, or hold a zero byte, never come here.
TEST(JsonShape, WhereverATextBreaks) {
  constexpr uint32_t kSeed = 4;
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  const std::string bytes = "{}[]\",:\\u0dDeE+-.19tfn \n\x7f";
  for (int i = 0; i < 30'000; ++i) {
    std::string text = kTexts[random() % kTexts.size()];
    for (auto edits = 1 + random() % 3; edits > 0; --edits) {
      const size_t at = random() % text.size();
      const char byte = bytes[random() % bytes.size()];
      if (random() % 3 == 0) {
        text[at] = byte;
      } else if (random() % 2 == 0) {
        text.insert(at, 1, byte);
      } else if (text.size() > 1) {
        text.erase(at, 1 + random() % 4);
        if (text.empty()) text = " ";
      }
    }
    if (!FindInvalidUtf8(text)) ExpectSame(text);
  }
}

}  // namespace
}  // namespace latentd::jinja
