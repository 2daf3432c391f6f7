#include "server/admin/request_list.h"

#include <chrono>
#include <memory>

#include <gtest/gtest.h>

namespace latentd {
namespace {

const TimePoint kNow{std::chrono::seconds(1000)};

LiveRequest Live(RequestId id, std::shared_ptr<TokenStream> stream) {
  return {.request_id = "name-" + std::to_string(id),
          .method = "Generate",
          .id = id,
          .received = kNow - std::chrono::seconds(9),
          .prompt_tokens = 5,
          .priority = -3,
          .tenant = "alpha",
          .stream = std::move(stream)};
}

std::shared_ptr<TokenStream> EmptyStream() { return std::make_shared<TokenStream>(nullptr, 1024); }

TEST(MergeStatus, EngineSaysWhereASequenceStands) {
  const SequenceStatus status{.id = {.request = 7},
                              .phase = Phase::kDecode,
                              .phase_began = kNow - std::chrono::seconds(2),
                              .prompt_tokens = 5,
                              .computed_tokens = 8,
                              .generated_tokens = 4,
                              .kv_blocks = 1};
  const v1::ListRequestsResult result = MergeStatus({Live(7, EmptyStream())}, {status}, kNow);
  ASSERT_EQ(result.requests_size(), 1);
  const v1::LiveRequest& entry = result.requests(0);
  EXPECT_EQ(entry.request_id(), "name-7");
  EXPECT_EQ(entry.phase(), v1::REQUEST_PHASE_DECODE);
  EXPECT_EQ(entry.age().seconds(), 9);
  EXPECT_EQ(entry.phase_age().seconds(), 2);
  EXPECT_EQ(entry.computed_tokens(), 8u);
  EXPECT_EQ(entry.generated_tokens(), 4u);
  EXPECT_EQ(entry.kv_blocks(), 1u);
  EXPECT_EQ(entry.priority(), -3);
  EXPECT_EQ(entry.tenant(), "alpha");
}

TEST(MergeStatus, SequencesOfOneRequestAreOneEntry) {
  const SequenceStatus first{.id = {.request = 7},
                             .phase = Phase::kPrefill,
                             .phase_began = kNow - std::chrono::seconds(1),
                             .computed_tokens = 4,
                             .kv_blocks = 1};
  SequenceStatus second = first;
  second.id.index = 1;
  second.phase = Phase::kDecode;
  second.phase_began = kNow - std::chrono::seconds(3);
  second.generated_tokens = 2;
  SequenceStatus third = second;
  third.id.index = 2;
  third.phase_began = kNow - std::chrono::seconds(5);
  const v1::ListRequestsResult result = MergeStatus({Live(7, EmptyStream())}, {first, second, third}, kNow);
  ASSERT_EQ(result.requests_size(), 1);
  EXPECT_EQ(result.requests(0).phase(), v1::REQUEST_PHASE_DECODE);
  EXPECT_EQ(result.requests(0).phase_age().seconds(), 5);
  EXPECT_EQ(result.requests(0).computed_tokens(), 12u);
  EXPECT_EQ(result.requests(0).generated_tokens(), 4u);
  EXPECT_EQ(result.requests(0).kv_blocks(), 3u);
}

TEST(MergeStatus, WhatTheEngineHasLeftIsBeingDelivered) {
  const std::shared_ptr<TokenStream> stream = EmptyStream();
  StreamChunk last{.text = "all of it", .tokens_so_far = 3};
  last.end = StreamEnd{.output_tokens = 3};
  last.end->timings.finished = kNow - std::chrono::seconds(4);
  stream->Append(std::move(last));
  const v1::ListRequestsResult result = MergeStatus({Live(7, stream)}, {}, kNow);
  const v1::LiveRequest& entry = result.requests(0);
  EXPECT_EQ(entry.phase(), v1::REQUEST_PHASE_OUTPUT);
  EXPECT_EQ(entry.phase_age().seconds(), 4);
  EXPECT_EQ(entry.generated_tokens(), 3u);
  EXPECT_EQ(entry.pending_output_bytes(), 9u);
  EXPECT_EQ(entry.kv_blocks(), 0u);
}

TEST(MergeStatus, OldestComesFirstAndStrangersAreLeftOut) {
  const v1::ListRequestsResult result =
      MergeStatus({Live(9, EmptyStream()), Live(2, EmptyStream())}, {{.id = 2}, {.id = 5}, {.id = 9}}, kNow);
  ASSERT_EQ(result.requests_size(), 2);
  EXPECT_EQ(result.requests(0).request_id(), "name-2");
  EXPECT_EQ(result.requests(1).request_id(), "name-9");
}

}  // namespace
}  // namespace latentd
