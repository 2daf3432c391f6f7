#include "tools/load/workload.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

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
  return model;
}

Workload Make(const WorkloadOptions& options) { return *Workload::Make(options, SmallModel()); }

TEST(Workload, RequestIsAFunctionOfSeedAndIndex) {
  WorkloadOptions options{.seed = 42, .cancel_fraction = 0.3, .deadline_fraction = 0.3};
  const Workload one = Make(options);
  const Workload other = Make(options);
  for (const uint64_t index : {17u, 3u, 0u, 3u}) {
    const PlannedRequest a = one.Plan(index);
    const PlannedRequest b = other.Plan(index);
    EXPECT_EQ(a.message.SerializeAsString(), b.message.SerializeAsString());
    EXPECT_EQ(a.planned_end, b.planned_end);
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
  const Workload mixed = Make({.seed = 5, .cancel_fraction = 1.0});
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

TEST(Workload, MixHasItsFractionsAndBothKindsOfEach) {
  const Workload workload =
      Make({.seed = 4, .cancel_fraction = 0.2, .deadline_fraction = 0.1, .min_deadline_seconds = 0.05});
  int early_cancels = 0, late_cancels = 0, rpc_deadlines = 0, server_timeouts = 0;
  for (uint64_t index = 0; index < kManyRequests; ++index) {
    const PlannedRequest request = workload.Plan(index);
    const bool cancels = request.planned_end == PlannedEnd::kCancel;
    early_cancels += cancels && request.cancel_after_tokens == 0 ? 1 : 0;
    late_cancels += cancels && request.cancel_after_tokens > 0 ? 1 : 0;
    EXPECT_LT(request.cancel_after_tokens, request.message.stopping().max_tokens());
    if (request.planned_end == PlannedEnd::kRpcDeadline) {
      ++rpc_deadlines;
      EXPECT_GE(request.rpc_deadline_seconds, 0.05);
      EXPECT_LE(request.rpc_deadline_seconds, 0.2);
    }
    const bool has_timeout = request.message.scheduling().has_timeout();
    EXPECT_EQ(has_timeout, request.planned_end == PlannedEnd::kServerTimeout);
    if (!has_timeout) continue;
    ++server_timeouts;
    EXPECT_GE(request.message.scheduling().timeout().nanos(), 50'000'000 - 1);
  }
  const auto near = [](int count, double fraction) {
    return std::abs(count - fraction * kManyRequests) < 0.03 * kManyRequests;
  };
  EXPECT_TRUE(near(early_cancels, 0.1)) << early_cancels;
  EXPECT_TRUE(near(late_cancels, 0.1)) << late_cancels;
  EXPECT_TRUE(near(rpc_deadlines, 0.05)) << rpc_deadlines;
  EXPECT_TRUE(near(server_timeouts, 0.05)) << server_timeouts;
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

TEST(ParseLengths, TakesItsThreeForms) {
  const LengthDistribution fixed = *ParseLengths("--f", "128");
  EXPECT_EQ(fixed.min, 128u);
  EXPECT_EQ(fixed.max, 128u);
  const LengthDistribution normal = *ParseLengths("--f", "100:10");
  EXPECT_EQ(normal.min, 1u);
  EXPECT_EQ(normal.max, 140u);
  const LengthDistribution bounded = *ParseLengths("--f", "100:10:80:120");
  EXPECT_EQ(bounded.deviation, 10.0);
  EXPECT_EQ(bounded.min, 80u);
  EXPECT_EQ(bounded.max, 120u);
}

TEST(ParseLengths, RefusesWhatIsNoLength) {
  for (const char* text :
       {"", "0", "x", "1:2:3", "10:1:20:30", "10:1:0:30", "10:1:1:5", "-1", "1e9", "1:2:3:4:5", "nan"}) {
    EXPECT_FALSE(ParseLengths("--f", text).ok()) << text;
  }
}

}  // namespace
}  // namespace latentd
