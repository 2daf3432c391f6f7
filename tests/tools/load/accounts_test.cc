#include "tools/load/accounts.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tools/load/run_record.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;

RequestRecord CutAfter(uint32_t tokens) {
  RequestRecord record = Failed(grpc::StatusCode::CANCELLED, "", Behaviour::kCancelDecode);
  record.was_admitted = record.was_answered = true;
  record.prompt_tokens = 10;
  record.output_tokens = tokens;
  if (tokens > 0) record.first_token = kMillisecond;
  return record;
}

std::vector<Verdict> VerdictsOf(const ServerAccounts& after, const std::vector<RequestRecord>& records) {
  std::vector<Verdict> verdicts;
  for (const CheckOutcome& outcome : CompareAccounts({}, after, Expect(records))) {
    verdicts.push_back(outcome.verdict);
  }
  return verdicts;
}

TEST(Accounts, AreExactWhereTheClientSawEverything) {
  const ExpectedAccounts expected = Expect({Succeeded({.first_token = 1, .ended = 2}, 7)});
  EXPECT_EQ(expected.received.low, 1.0);
  EXPECT_EQ(expected.received.high, 1.0);
  EXPECT_EQ(expected.finished_ok.high, 1.0);
  EXPECT_EQ(expected.prompt_tokens.low, 10.0);
  EXPECT_EQ(expected.prompt_tokens.high, 10.0);
  EXPECT_EQ(expected.delivered_tokens.low, 7.0);
  EXPECT_EQ(expected.delivered_tokens.high, 7.0);
}

TEST(Accounts, CutAnswerHasAtLeastWhatTheClientSawAndAtMostMaxTokens) {
  const ExpectedAccounts expected = Expect({CutAfter(5)});
  EXPECT_EQ(expected.delivered_tokens.low, 5.0);
  EXPECT_EQ(expected.delivered_tokens.high, 20.0);
  EXPECT_EQ(expected.prompt_tokens.low, 10.0);
  EXPECT_EQ(Expect({CutAfter(0)}).prompt_tokens.low, 0.0);
}

TEST(Accounts, RequestThatGotNoAnswerMayNeverHaveArrived) {
  RequestRecord lost = Failed(grpc::StatusCode::DEADLINE_EXCEEDED, "", Behaviour::kRpcDeadline);
  lost.prompt_ids = 64;
  const ExpectedAccounts expected = Expect({lost});
  EXPECT_EQ(expected.received.low, 0.0);
  EXPECT_EQ(expected.received.high, 1.0);
  EXPECT_EQ(expected.prompt_tokens.high, 64.0);  // of the request as it was sent
}

TEST(Accounts, RefusalCostsNoTokens) {
  RequestRecord refused = Failed(grpc::StatusCode::RESOURCE_EXHAUSTED, "QUEUE_FULL");
  refused.was_answered = true;
  const ExpectedAccounts expected = Expect({refused});
  EXPECT_EQ(expected.received.low, 1.0);
  EXPECT_EQ(expected.finished_ok.high, 0.0);
  EXPECT_EQ(expected.prompt_tokens.high, 0.0);
  EXPECT_EQ(expected.delivered_tokens.high, 0.0);
}

TEST(Accounts, EachCounterThatIsOffFailsItsOwnCheck) {
  const std::vector<RequestRecord> records = {Succeeded({.first_token = 1, .ended = 2}, 7)};
  const ServerAccounts right = {
      .received = 1, .finished = 1, .finished_ok = 1, .prompt_tokens = 10, .delivered_tokens = 7};
  EXPECT_EQ(VerdictsOf(right, records), std::vector<Verdict>(5, Verdict::kPassed));
  const std::vector<double ServerAccounts::*> fields = {&ServerAccounts::finished, &ServerAccounts::finished_ok,
                                                        &ServerAccounts::prompt_tokens,
                                                        &ServerAccounts::delivered_tokens};
  for (size_t i = 0; i < fields.size(); ++i) {
    for (const double error : {-1.0, 1.0}) {
      ServerAccounts wrong = right;
      wrong.*fields[i] += error;
      EXPECT_EQ(VerdictsOf(wrong, records)[i + 1], Verdict::kFailed) << i;
    }
  }
}

TEST(Accounts, PageWithoutTheSeriesIsRefused) {
  const auto accounts = AccountsOf(*MetricsPage::Parse("other 1\n"));
  ASSERT_FALSE(accounts.ok());
  EXPECT_THAT(std::string(accounts.status().message()), HasSubstr("latentd_requests_received_total"));
}

}  // namespace
}  // namespace latentd
