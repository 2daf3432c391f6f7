#include "tools/load/workload.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::HasSubstr;

constexpr int kManyRequests = 4'000;

v1::Model SmallModel() {
  v1::Model model;
  model.set_vocab_size(10);
  model.set_bos_token_id(0);
  model.add_eos_token_ids(1);
  model.add_eos_token_ids(9);
  model.mutable_limits()->set_max_context_tokens(2048);
  model.mutable_limits()->set_max_message_bytes(4096);
  return model;
}

Workload Make(const WorkloadOptions& options) { return *Workload::Make(options, SmallModel()); }

TEST(Workload, RequestIsAFunctionOfSeedAndIndex) {
  WorkloadOptions options{.seed = 42, .adversaries = *ParseAdversaries("all:0.9")};
  const Workload one = Make(options);
  const Workload other = Make(options);
  for (const uint64_t index : {17u, 3u, 0u, 3u}) {
    const PlannedRequest a = one.Plan(index);
    const PlannedRequest b = other.Plan(index);
    EXPECT_EQ(a.message.SerializeAsString(), b.message.SerializeAsString());
    EXPECT_EQ(a.behaviour, b.behaviour);
    EXPECT_EQ(a.cancel_after_tokens, b.cancel_after_tokens);
    EXPECT_EQ(a.rpc_deadline_seconds, b.rpc_deadline_seconds);
  }
  options.seed = 43;
  EXPECT_NE(Make(options).Plan(3).message.SerializeAsString(), one.Plan(3).message.SerializeAsString());
}

TEST(Workload, EachRequestHasASeedOfItsOwn) {
  const Workload workload = Make({.seed = 1});
  std::set<uint64_t> seeds;
  for (uint64_t index = 0; index < 1'000; ++index) seeds.insert(workload.Plan(index).message.sampling().seed());
  EXPECT_EQ(seeds.size(), 1'000u);
}

TEST(Workload, DraftsAreAskedForWhereTheOptionsSay) {
  EXPECT_FALSE(Make({.seed = 1}).Plan(0).message.has_speculation());
  const PlannedRequest none = Make({.seed = 1, .max_drafts = 0}).Plan(0);
  EXPECT_TRUE(none.message.speculation().has_max_drafts());
  EXPECT_EQ(none.message.speculation().max_drafts(), 0u);
  EXPECT_EQ(Make({.seed = 1, .max_drafts = 3}).Plan(0).message.speculation().max_drafts(), 3u);
}

TEST(Workload, MixChangesNeitherPromptsNorSeeds) {
  const Workload plain = Make({.seed = 5});
  const Workload mixed = Make({.seed = 5, .adversaries = *ParseAdversaries("cancel:1")});
  for (uint64_t index = 0; index < 20; ++index) {
    EXPECT_EQ(plain.Plan(index).message.SerializeAsString(), mixed.Plan(index).message.SerializeAsString());
  }
}

TEST(Workload, RandomIdsAvoidSpecialOnesAndUseAllOthers) {
  const Workload workload = Make({.seed = 2});
  std::set<uint32_t> used;
  for (uint64_t index = 0; index < 50; ++index) {
    const PlannedRequest request = workload.Plan(index);
    const auto& ids = request.message.token_ids().ids();
    EXPECT_EQ(ids.size(), 64);
    used.insert(ids.begin(), ids.end());
  }
  EXPECT_EQ(used, (std::set<uint32_t>{2, 3, 4, 5, 6, 7, 8}));
}

TEST(Workload, NormalLengthsHaveTheirMeanAndStayInTheirRange) {
  const Workload workload = Make({.seed = 3,
                                  .prompt_tokens = {.mean = 100, .deviation = 20, .min = 60, .max = 140},
                                  .output_tokens = {.mean = 50, .deviation = 10, .min = 1, .max = 90}});
  double prompt_sum = 0.0;
  double output_sum = 0.0;
  for (uint64_t index = 0; index < kManyRequests; ++index) {
    const v1::GenerateRequest message = workload.Plan(index).message;
    ASSERT_GE(message.token_ids().ids_size(), 60);
    ASSERT_LE(message.token_ids().ids_size(), 140);
    prompt_sum += message.token_ids().ids_size();
    output_sum += message.stopping().max_tokens();
  }
  EXPECT_NEAR(prompt_sum / kManyRequests, 100.0, 2.0);
  EXPECT_NEAR(output_sum / kManyRequests, 50.0, 1.0);
}

TEST(Workload, MixHasItsFractionsOfEachKind) {
  const Workload workload = Make({.seed = 4,
                                  .adversaries = *ParseAdversaries("cancel:0.3,deadline:0.2,oversize:0.1"),
                                  .min_deadline_seconds = 0.05});
  std::map<Behaviour, int> counts;
  for (uint64_t index = 0; index < kManyRequests; ++index) {
    const PlannedRequest request = workload.Plan(index);
    ++counts[request.behaviour];
    EXPECT_EQ(request.may_be_refused, request.behaviour != Behaviour::kWell);
    EXPECT_EQ(request.cancel_after_tokens > 0, request.behaviour == Behaviour::kCancelDecode);
    EXPECT_LE(request.cancel_after_tokens, request.message.stopping().max_tokens());
    if (request.behaviour == Behaviour::kRpcDeadline) {
      EXPECT_GE(request.rpc_deadline_seconds, 0.05);
      EXPECT_LE(request.rpc_deadline_seconds, 0.2);
    }
    EXPECT_EQ(request.message.scheduling().has_timeout(), request.behaviour == Behaviour::kServerTimeout);
  }
  const auto expect_near = [&counts](Behaviour behaviour, double fraction) {
    EXPECT_NEAR(counts[behaviour], fraction * kManyRequests, 0.03 * kManyRequests) << NameOf(behaviour);
  };
  expect_near(Behaviour::kWell, 0.4);
  expect_near(Behaviour::kCancelQueued, 0.1);
  expect_near(Behaviour::kCancelPrefill, 0.1);
  expect_near(Behaviour::kCancelDecode, 0.1);
  expect_near(Behaviour::kRpcDeadline, 0.1);
  expect_near(Behaviour::kServerTimeout, 0.1);
  expect_near(Behaviour::kOversize, 0.1);
  EXPECT_EQ(counts.size(), 7u);
}

v1::GenerateRequest PlanOf(const char* adversaries, uint64_t index) {
  return Make({.seed = 4, .adversaries = *ParseAdversaries(adversaries)}).Plan(index).message;
}

TEST(Workload, MalformedRequestHasOneFieldThatIsWrong) {
  std::set<int> kinds;
  for (uint64_t index = 0; index < 40; ++index) {
    const v1::GenerateRequest message = PlanOf("malformed:1", index);
    const int wrong[] = {message.has_token_ids() ? 0 : 1, message.sampling().temperature() < 0.0f ? 1 : 0,
                         message.stopping().max_tokens() == 0 ? 1 : 0,
                         message.has_token_ids() && message.token_ids().ids(0) >= 10 ? 1 : 0};
    EXPECT_EQ(std::accumulate(std::begin(wrong), std::end(wrong), 0), 1);
    kinds.insert(static_cast<int>(std::find(std::begin(wrong), std::end(wrong), 1) - std::begin(wrong)));
  }
  EXPECT_EQ(kinds.size(), 4u);
}

TEST(Workload, OversizeRequestIsBeyondTheContextOrTheMessagesBound) {
  std::set<bool> kinds;
  for (uint64_t index = 0; index < 20; ++index) {
    const v1::GenerateRequest message = PlanOf("oversize:1", index);
    kinds.insert(message.has_text());
    EXPECT_TRUE(message.has_text() ? message.text().size() > 4096 : message.token_ids().ids_size() == 2049);
  }
  EXPECT_EQ(kinds.size(), 2u);
}

TEST(Workload, DuplicatesShareAnIdAndBadReadersAskForMuch) {
  EXPECT_EQ(PlanOf("duplicate-id:1", 0).request_id(), PlanOf("duplicate-id:1", 1).request_id());
  EXPECT_FALSE(PlanOf("duplicate-id:1", 0).request_id().empty());
  EXPECT_EQ(PlanOf("reader:1", 0).output().logprobs(), 32u);
}

TEST(ParseAdversaries, GroupDealsItsFractionOut) {
  const std::vector<BehaviourShare> shares = *ParseAdversaries("cancel:0.3,slow-reader:0.1");
  ASSERT_EQ(shares.size(), 4u);
  EXPECT_EQ(shares[0].behaviour, Behaviour::kCancelQueued);
  EXPECT_DOUBLE_EQ(shares[0].share, 0.1);
  EXPECT_EQ(shares[3].behaviour, Behaviour::kSlowReader);
  EXPECT_EQ(ParseAdversaries("all:1")->size(), 10u);
  for (const char* text : {"", "cancel", "cancel:", "cancel:-0.1", "cancel:1.1", "cancel:0.6,deadline:0.6", "x:0.1"}) {
    EXPECT_FALSE(ParseAdversaries(text).ok()) << text;
  }
}

TEST(Workload, TextsAreUsedInTurn) {
  const Workload workload = Make({.texts = {"a", "b"}});
  EXPECT_EQ(workload.Plan(2).message.text(), "a");
  EXPECT_EQ(workload.Plan(3).message.text(), "b");
}

TEST(Workload, LengthsBeyondTheContextAreRefusedWithNumbers) {
  const auto workload = Workload::Make({.prompt_tokens = *ParseLengths("--prompt-tokens", "2000")}, SmallModel());
  ASSERT_FALSE(workload.ok());
  EXPECT_THAT(std::string(workload.status().message()), HasSubstr("2048"));
}

std::vector<uint32_t> IdsOf(const PlannedRequest& request) {
  const auto& ids = request.message.token_ids().ids();
  return {ids.begin(), ids.end()};
}

LengthDistribution Fixed(uint32_t tokens) { return *ParseLengths("--f", std::to_string(tokens)); }

TEST(Workload, RequestsOfAGroupBeginWithItsPrefix) {
  const Workload workload =
      Make({.seed = 6, .prompt_tokens = Fixed(20), .prefix_tokens = Fixed(40), .prefix_groups = 3});
  std::set<std::vector<uint32_t>> prefixes, prompts;
  for (uint64_t index = 0; index < 100; ++index) {
    const std::vector<uint32_t> ids = IdsOf(workload.Plan(index));
    ASSERT_EQ(ids.size(), 60u);
    prefixes.insert({ids.begin(), ids.begin() + 40});
    prompts.insert(ids);
  }
  EXPECT_EQ(prefixes.size(), 3u);
  EXPECT_EQ(prompts.size(), 100u);
}

TEST(Workload, TurnRepeatsWhatWasSaidAndAddsToIt) {
  const Workload workload =
      Make({.seed = 7, .prompt_tokens = Fixed(5), .prefix_tokens = Fixed(3), .turns = 2, .tenants = {{"a"}, {"b"}}});
  const PlannedRequest first = workload.Plan(2);
  EXPECT_EQ(IdsOf(first).size(), 8u);
  const std::optional<Turn> turn = workload.Next(first, {4, 4});
  ASSERT_TRUE(turn);
  EXPECT_EQ(turn->index, 3u);
  const PlannedRequest second = workload.Plan(*turn);
  std::vector<uint32_t> expected = IdsOf(first);
  expected.insert(expected.end(), {4, 4});
  const std::vector<uint32_t> ids = IdsOf(second);
  ASSERT_EQ(ids.size(), 15u);
  EXPECT_EQ(std::vector<uint32_t>(ids.begin(), ids.begin() + 10), expected);
  EXPECT_EQ(first.tenant, second.tenant);
  EXPECT_FALSE(workload.Next(second, {4, 4}));
}

TEST(Workload, TurnsCountAgainstTheContext) {
  const auto workload =
      Workload::Make({.prompt_tokens = Fixed(100), .output_tokens = Fixed(100), .turns = 11}, SmallModel());
  EXPECT_THAT(std::string(workload.status().message()), HasSubstr("11 times"));
}

TEST(Workload, TenantsAndPrioritiesHaveTheirShares) {
  const Workload workload = Make({.seed = 8, .tenants = {{"a", 3.0}, {"b", 1.0}}, .priorities = {{-2, 1.0}, {5, 1.0}}});
  int of_a = 0;
  int high = 0;
  for (uint64_t index = 0; index < kManyRequests; ++index) {
    const PlannedRequest request = workload.Plan(index);
    of_a += request.tenant == 0 ? 1 : 0;
    high += request.message.scheduling().priority() == 5 ? 1 : 0;
  }
  EXPECT_NEAR(of_a, 0.75 * kManyRequests, 0.03 * kManyRequests);
  EXPECT_NEAR(high, 0.5 * kManyRequests, 0.03 * kManyRequests);
}

class TraceWorkload : public ::testing::Test {
 protected:
  TraceWorkload() {
    std::ofstream(file_) << R"({"timestamp": 0, "input_length": 1500, "output_length": 64, "hash_ids": [1, 2, 3]})"
                         << "\n"
                         << R"({"timestamp": 9, "input_length": 1100, "output_length": 128, "hash_ids": [1, 2, 9]})"
                         << "\n";
  }
  ~TraceWorkload() override { std::filesystem::remove(file_); }

  const std::string file_ = ::testing::TempDir() + "trace.jsonl";
};

TEST_F(TraceWorkload, SharesTheTokensOfSharedBlocks) {
  const Workload workload = Make({.seed = 9, .trace_file = file_, .trace_block_tokens = 64});
  const std::vector<uint32_t> first = IdsOf(workload.Plan(0));
  const std::vector<uint32_t> second = IdsOf(workload.Plan(1));
  ASSERT_EQ(first.size(), 188u);   // an eighth of 1500
  ASSERT_EQ(second.size(), 138u);  // and of 1100
  EXPECT_TRUE(std::equal(first.begin(), first.begin() + 128, second.begin()));
  EXPECT_FALSE(std::equal(second.begin() + 128, second.end(), first.begin() + 128));
  EXPECT_EQ(workload.Plan(1).message.stopping().max_tokens(), 16u);
  EXPECT_NEAR(workload.RecordedSeconds()[1], 0.009, 1e-12);
}

TEST_F(TraceWorkload, BeyondTheContextIsRefusedWithNumbers) {
  v1::Model model = SmallModel();
  model.mutable_limits()->set_max_context_tokens(1300);
  const auto workload = Workload::Make({.trace_file = file_}, model);
  EXPECT_THAT(std::string(workload.status().message()), HasSubstr("1300 tokens, found 1 of 2"));
}

}  // namespace
}  // namespace latentd
