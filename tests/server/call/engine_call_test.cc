// A call that runs the model, from its bytes to its status, on a transport that only notes and an engine without
// weights.
#include "server/call/engine_call.h"

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "latentd/v1/generation.pb.h"
#include "server/api/v1_renderings.h"
#include "server/call/admission.h"
#include "tests/server/call/fake_call_wire.h"
#include "tests/server/model_free_daemon.h"

namespace latentd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int kPrompt = 7;
constexpr int kSeed = 1;
constexpr int kTokens = 3;

class EngineCallTest : public testing::Test {
 protected:
  EngineCallTest() {
    daemon_.OpenGate();
    v1::GenerateRequest request;
    request.mutable_token_ids()->add_ids(kPrompt);
    request.mutable_sampling()->set_seed(kSeed);
    request.mutable_stopping()->set_max_tokens(kTokens);
    wire_.message = request.SerializeAsString();
  }
  ~EngineCallTest() override {
    if (call_ != nullptr) call_->Done();
    egress_.AwaitEmpty(kNever);
    const MetricsData data = daemon_.metrics.Snapshot();
    for (const int64_t in_flight : data.requests_in_flight.counts()) EXPECT_EQ(in_flight, 0);
    EXPECT_EQ(daemon_.live.size(), 0u);
  }

  // Its whole message is there.
  void Arrive(const std::string& method, std::unique_ptr<Rendering> rendering) {
    auto call = std::make_unique<EngineCall>(
        CallStart{.wire = wire_, .method = method, .origin = {.peer = "ipv4:1.1.1.1:1", .traceparent = ""}},
        CallParts{.intake = intake_, .pool = pool_, .answers = answers_, .egress = egress_, .metrics = daemon_.metrics},
        daemon_.model.description,
        [this](MessageBytes bytes, const AdmissionRequest& request) {
          return admission_.Admit<v1::GenerateRequest>(bytes, request);
        },
        std::move(rendering));
    call_ = call.get();
    wire_.Own(std::move(call));
    call_->Receive();
    call_->Received(wire_.message.size());
  }

  ModelFreeDaemon daemon_;
  Admission admission_{daemon_.gate};
  Intake intake_{IntakeOptions{}};
  ByteBudget answers_{size_t{64} << 20};
  WorkPool pool_{WorkPoolOptions{}};
  Egress egress_{1};
  FakeCallWire wire_;
  EngineCall* call_ = nullptr;
};

TEST_F(EngineCallTest, WholeResultIsOneMessageAndItsStatusFollowsTheWrite) {
  Arrive("GenerateOnce", std::make_unique<WholeResult>());
  const FakeCallWire::Notes notes = wire_.AwaitWrite();
  ASSERT_EQ(notes.writes.size(), 1u);
  EXPECT_EQ(notes.writes[0].second, Wire::Next::kEnd);
  EXPECT_EQ(notes.num_sent_metadata, 1);
  v1::GenerateResult result;
  ASSERT_TRUE(result.ParseFromString(notes.writes[0].first));
  ASSERT_EQ(result.sequences_size(), 1);
  const auto& ids = result.sequences(0).output().token_ids();
  EXPECT_EQ(std::vector<int32_t>(ids.begin(), ids.end()),
            FakeTokens({kPrompt}, kSeed, kTokens, ModelFreeDaemon::kLimits.vocab_size));
  EXPECT_THAT(wire_.notes().ends, IsEmpty());
  call_->Written();
  EXPECT_THAT(wire_.notes().ends, ElementsAre(""));
  EXPECT_EQ(daemon_.metrics.Snapshot().outcomes["MAX_TOKENS"].request_seconds.count(), 1u);
}

TEST_F(EngineCallTest, SeveralAnswersAreOneResultByIndex) {
  v1::GenerateRequest request;
  ASSERT_TRUE(request.ParseFromString(wire_.message));
  request.mutable_sampling()->set_n(3);
  wire_.message = request.SerializeAsString();
  Arrive("GenerateOnce", std::make_unique<WholeResult>());
  v1::GenerateResult result;
  ASSERT_TRUE(result.ParseFromString(wire_.AwaitWrite().writes.at(0).first));
  ASSERT_EQ(result.sequences_size(), 3);
  for (int index = 0; index < 3; ++index) {
    const auto& ids = result.sequences(index).output().token_ids();
    EXPECT_EQ(std::vector<int32_t>(ids.begin(), ids.end()),
              FakeTokens({kPrompt}, FakeSeed(kSeed, static_cast<uint32_t>(index)), kTokens,
                         ModelFreeDaemon::kLimits.vocab_size));
    EXPECT_EQ(result.sequences(index).end().reason(), v1::END_REASON_MAX_TOKENS);
  }
  EXPECT_EQ(result.completed().usage().prompt_tokens(), 1u);
  EXPECT_EQ(result.completed().usage().generated_tokens(), 3u * kTokens);
  call_->Written();
  EXPECT_EQ(daemon_.metrics.Snapshot().outcomes["MAX_TOKENS"].request_seconds.count(), 1u) << "one request";
}

TEST_F(EngineCallTest, ComputedAnswerOfAClientThatLeftIsItsCancellation) {
  Arrive("GenerateOnce", std::make_unique<WholeResult>());
  wire_.AwaitWrite();
  call_->WriteFailed();
  EXPECT_THAT(wire_.notes().ends, ElementsAre("CLIENT_CANCEL"));
  EXPECT_EQ(daemon_.metrics.Snapshot().outcomes["CLIENT_CANCEL"].queue_seconds.count(), 1u) << "it ran";
}

TEST_F(EngineCallTest, RequestThatTheEngineRefusesHasNeitherMetadataNorMessages) {
  daemon_.engine.StopAdmitting();
  Arrive("Generate", std::make_unique<EventStream>());
  const FakeCallWire::Notes notes = wire_.AwaitEnd();
  EXPECT_THAT(notes.ends, ElementsAre("DRAINING"));
  EXPECT_EQ(notes.num_sent_metadata, 0);
  EXPECT_THAT(notes.writes, IsEmpty());
}

}  // namespace
}  // namespace latentd
