#include "tools/load/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::HasSubstr;

TEST(Trace, ReadsPublishedLinesByTime) {
  const auto entries = *ParseTrace(
      R"({"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, 2353]}

{"timestamp": 27000, "input_length": 10, "output_length": 1, "more": "is passed over"})",
      "f", kTraceBlockTokens);
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].seconds, 0.0);
  EXPECT_EQ(entries[0].input_tokens, 10u);
  EXPECT_NEAR(entries[1].seconds, 0.482, 1e-9);
  EXPECT_EQ(entries[1].input_tokens, 6955u);
  EXPECT_EQ(entries[1].output_tokens, 52u);
  EXPECT_EQ(entries[1].block_ids, (std::vector<uint64_t>{46, 47, 2353}));
}

TEST(Trace, LengthsShrinkWithTheBlocksToAtLeastOneToken) {
  const auto entries = *ParseTrace(R"({"timestamp": 0, "input_length": 6955, "output_length": 3})", "f", 64);
  EXPECT_EQ(entries[0].input_tokens, 869u);
  EXPECT_EQ(entries[0].output_tokens, 1u);
}

TEST(Trace, WrongLineIsNamedWithWhatIsWrong) {
  const auto refusal = [](const char* line) {
    const auto entries = ParseTrace(std::string("\n") + line, "f", 512);
    return std::string(entries.status().message());
  };
  EXPECT_THAT(refusal("[]"), HasSubstr("f:2: expected a JSON object"));
  EXPECT_THAT(refusal(R"({"input_length": 1, "output_length": 1})"), HasSubstr("f:2: timestamp"));
  EXPECT_THAT(refusal(R"({"timestamp": 1, "output_length": 1})"), HasSubstr("input_length"));
  EXPECT_THAT(refusal(R"({"timestamp": 1, "input_length": "9", "output_length": 1})"), HasSubstr("found \"9\""));
  EXPECT_THAT(refusal(R"({"timestamp": 1, "input_length": 1, "output_length": -1})"), HasSubstr("output_length"));
  EXPECT_THAT(refusal(R"({"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": [-1]})"),
              HasSubstr("hash_ids"));
  EXPECT_THAT(refusal(""), HasSubstr("expected requests, found none"));
}

}  // namespace
}  // namespace latentd
