#include "tools/load/stream_grammar.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

v1::GenerateEvent Started() {
  v1::GenerateEvent event;
  event.mutable_started()->set_prompt_tokens(3);
  return event;
}

v1::GenerateEvent Delta(uint32_t tokens_so_far) {
  v1::GenerateEvent event;
  event.mutable_delta()->set_tokens_so_far(tokens_so_far);
  return event;
}

v1::GenerateEvent End(uint32_t output_tokens) {
  v1::GenerateEvent event;
  event.mutable_sequence_end()->set_reason(v1::END_REASON_MAX_TOKENS);
  event.mutable_sequence_end()->set_output_tokens(output_tokens);
  return event;
}

v1::GenerateEvent Completed(uint32_t generated) {
  v1::GenerateEvent event;
  event.mutable_completed()->mutable_usage()->set_prompt_tokens(3);
  event.mutable_completed()->mutable_usage()->set_generated_tokens(generated);
  return event;
}

// The violation in a stream of these events that ends with OK.
std::string ViolationIn(const std::vector<v1::GenerateEvent>& events) {
  StreamGrammar grammar;
  for (const v1::GenerateEvent& event : events) grammar.Check(event);
  grammar.CheckSuccess();
  return grammar.violation();
}

TEST(StreamGrammar, WholeStreamIsFine) {
  EXPECT_THAT(ViolationIn({Started(), Delta(1), Delta(4), Delta(4), End(4), Completed(4)}), IsEmpty());
}

TEST(StreamGrammar, EveryBreachIsFound) {
  EXPECT_THAT(ViolationIn({Delta(1), Started(), End(1), Completed(1)}), HasSubstr("Deltas between"));
  EXPECT_THAT(ViolationIn({Started(), Started(), End(0), Completed(0)}), HasSubstr("Started once"));
  EXPECT_THAT(ViolationIn({Started(), Delta(2), Delta(1), End(1), Completed(1)}), HasSubstr("never to fall"));
  EXPECT_THAT(ViolationIn({Started(), Delta(2), End(3), Completed(2)}), HasSubstr("SequenceEnd.output_tokens"));
  EXPECT_THAT(ViolationIn({Started(), Delta(2), End(2), End(2), Completed(2)}), HasSubstr("one SequenceEnd"));
  EXPECT_THAT(ViolationIn({Started(), Delta(2), End(2), Delta(3), Completed(3)}), HasSubstr("one elsewhere"));
  EXPECT_THAT(ViolationIn({Started(), Delta(2), Completed(2)}), HasSubstr("one Completed"));
  EXPECT_THAT(ViolationIn({Started(), Delta(2), End(2), Completed(1)}), HasSubstr("generated_tokens"));
  EXPECT_THAT(ViolationIn({Started(), Delta(2), End(2), Completed(2), Completed(2)}), HasSubstr("one Completed"));
  EXPECT_THAT(ViolationIn({Started(), Delta(2), End(2)}), HasSubstr("before the status OK"));
  EXPECT_THAT(ViolationIn({Started(), v1::GenerateEvent()}), HasSubstr("empty event"));
}

TEST(StreamGrammar, IdsAreAsManyAsTheCountSays) {
  v1::GenerateEvent delta = Delta(2);
  delta.mutable_delta()->add_token_ids(7);
  EXPECT_THAT(ViolationIn({Started(), delta, End(2), Completed(2)}), HasSubstr("token_ids"));
  delta.mutable_delta()->add_token_ids(8);
  EXPECT_THAT(ViolationIn({Started(), delta, End(2), Completed(2)}), IsEmpty());
}

v1::GenerateEvent Of(uint32_t index, v1::GenerateEvent event) {
  if (event.has_delta()) event.mutable_delta()->set_index(index);
  if (event.has_sequence_end()) event.mutable_sequence_end()->set_index(index);
  return event;
}

std::string ViolationOfTwo(const std::vector<v1::GenerateEvent>& events) {
  StreamGrammar grammar(2);
  for (const v1::GenerateEvent& event : events) grammar.Check(event);
  grammar.CheckSuccess();
  return grammar.violation();
}

TEST(StreamGrammar, AnswersInterleaveAndEachHasItsOwnOrderAndEnd) {
  EXPECT_THAT(ViolationOfTwo({Started(), Of(0, Delta(2)), Of(1, Delta(1)), Of(1, End(1)), Of(0, Delta(3)),
                              Of(0, End(3)), Completed(4)}),
              IsEmpty());
  EXPECT_THAT(ViolationOfTwo({Started(), Of(1, Delta(1)), Of(1, End(1)), Completed(1)}), HasSubstr("one Completed"));
  EXPECT_THAT(ViolationOfTwo({Started(), Of(1, Delta(1)), Of(1, End(1)), Of(1, Delta(2))}), HasSubstr("one elsewhere"));
  EXPECT_THAT(ViolationOfTwo({Started(), Of(1, End(0)), Of(1, End(0)), Completed(0)}), HasSubstr("one SequenceEnd"));
  EXPECT_THAT(ViolationOfTwo({Started(), Of(2, Delta(1))}), HasSubstr("below the number of answers"));
  EXPECT_THAT(ViolationOfTwo({Started(), Of(0, Delta(2)), Of(0, End(2)), Of(1, Delta(1)), Of(1, End(1)), Completed(2)}),
              HasSubstr("generated_tokens"));
}

TEST(StreamGrammar, StreamThatIsCutShortIsNoBreach) {
  StreamGrammar grammar;
  grammar.Check(Started());
  grammar.Check(Delta(1));
  EXPECT_THAT(grammar.violation(), IsEmpty());
}

}  // namespace
}  // namespace latentd
