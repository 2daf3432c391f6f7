#include "tools/load/jsonl.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string ErrorOf(const std::string& contents) {
  const auto requests = ParseJsonl(contents, "f.jsonl");
  return requests.ok() ? "" : std::string(requests.status().message());
}

TEST(Jsonl, ReadsPromptsIdsAndParameters) {
  const auto requests = ParseJsonl(
      "{\"prompt\": \"Once\", \"max_tokens\": 5}\n\n"
      "{\"token_ids\": [3, 4], \"ignore_eos\": false, \"sampling\": {\"temperature\": 0, \"top_k\": 7}, "
      "\"max_drafts\": 0}\r\n",
      "f.jsonl");
  ASSERT_TRUE(requests.ok()) << requests.status();
  ASSERT_EQ(requests->size(), 2u);
  EXPECT_EQ((*requests)[0].text(), "Once");
  EXPECT_EQ((*requests)[0].stopping().max_tokens(), 5u);
  EXPECT_THAT((*requests)[1].token_ids().ids(), ElementsAre(3u, 4u));
  EXPECT_FALSE((*requests)[1].stopping().ignore_eos());
  EXPECT_TRUE((*requests)[1].sampling().has_temperature());
  EXPECT_EQ((*requests)[1].sampling().top_k(), 7u);
  EXPECT_FALSE((*requests)[0].has_speculation());
  EXPECT_TRUE((*requests)[1].speculation().has_max_drafts());
}

TEST(Jsonl, ErrorsNameFileLineAndWhatWasFound) {
  const std::string good = "{\"prompt\": \"a\"}\n";
  EXPECT_THAT(ErrorOf(good + "{\"prompt\": "), HasSubstr("f.jsonl:2: expected a JSON object"));
  EXPECT_THAT(ErrorOf(good + "\n[1]"), HasSubstr("f.jsonl:3: expected a JSON object"));
  EXPECT_THAT(ErrorOf("{}"), HasSubstr("f.jsonl:1: expected \"prompt\" or \"token_ids\""));
  EXPECT_THAT(ErrorOf("{\"prompt\": \"a\", \"token_ids\": [1]}"), HasSubstr("found both"));
  EXPECT_THAT(ErrorOf("{\"token_ids\": [1, -2]}"), HasSubstr("found -2"));
  EXPECT_THAT(ErrorOf("{\"token_ids\": []}"), HasSubstr("at least one"));
  EXPECT_THAT(ErrorOf("{\"prompt\": \"a\", \"max_tokens\": 0}"), HasSubstr("max_tokens"));
  EXPECT_THAT(ErrorOf("{\"prompt\": \"a\", \"max_token\": 3}"), HasSubstr("\"max_token\""));
  EXPECT_THAT(ErrorOf("{\"prompt\": \"a\", \"max_drafts\": -1}"), HasSubstr("max_drafts: expected a whole number"));
  EXPECT_THAT(ErrorOf("{\"prompt\": \"a\", \"sampling\": {\"heat\": 3}}"), HasSubstr("f.jsonl:1: sampling"));
  EXPECT_THAT(ErrorOf("\n"), HasSubstr("expected requests, found none"));
}

TEST(Jsonl, MissingFileIsNamed) {
  const auto requests = ReadJsonl("/nowhere/f.jsonl");
  ASSERT_FALSE(requests.ok());
  EXPECT_THAT(std::string(requests.status().message()), HasSubstr("/nowhere/f.jsonl"));
}

}  // namespace
}  // namespace latentd
