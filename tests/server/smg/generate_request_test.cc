// Requests of the gateway smg in the words of latentd.v1: what proto3's zeros mean, and statuses with its names.
#include "server/smg/generate_request.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/api/request_validation.h"
#include "server/api/status.h"
#include "smg/vllm_engine.pb.h"
#include "tests/server/api/fake_model.h"
#include "tests/server/api/request_bytes.h"

namespace latentd {
namespace {

namespace pb = vllm::grpc::engine;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

pb::GenerateRequest Request() {
  pb::GenerateRequest request;
  request.mutable_tokenized()->add_input_ids(7);
  return request;
}

absl::StatusOr<SmgGenerate> Read(const pb::GenerateRequest& request) {
  return ReadSmgGenerate(BufferOf(request.SerializeAsString()), FakeModel({}));
}

TEST(SmgGenerate, ZerosOfWhatWasNotSentAreSaidOutLoud) {
  const absl::StatusOr<SmgGenerate> read = Read(Request());
  ASSERT_TRUE(read.ok()) << read.status();
  const v1::Sampling& sampling = read->request.sampling();
  EXPECT_FALSE(sampling.has_temperature()) << "its absence can be told, so the model's default counts";
  EXPECT_EQ(sampling.top_p(), 1.0f);
  EXPECT_EQ(sampling.repetition_penalty(), 1.0f);
  EXPECT_TRUE(sampling.has_top_k() && sampling.has_min_p() && sampling.has_presence_penalty());
  EXPECT_FALSE(sampling.has_seed());
  EXPECT_FALSE(sampling.has_n());
  EXPECT_FALSE(read->request.stopping().has_max_tokens());
  EXPECT_TRUE(read->request.stopping().has_min_tokens());
  EXPECT_FALSE(read->request.has_request_id());
  EXPECT_FALSE(read->is_streamed);
  EXPECT_THAT(read->request.token_ids().ids(), ElementsAre(7u));
}

TEST(SmgGenerate, GreedyAndANegativeSeedArrive) {
  pb::GenerateRequest request = Request();
  request.set_stream(true);
  request.mutable_sampling_params()->set_temperature(0.0f);
  request.mutable_sampling_params()->set_seed(-1);
  const absl::StatusOr<SmgGenerate> read = Read(request);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->request.sampling().has_temperature());
  EXPECT_EQ(read->request.sampling().seed(), UINT64_MAX);
  EXPECT_TRUE(read->is_streamed);
}

TEST(SmgGenerate, BytesThatAreNoMessageAreRefused) {
  const ServedModel model = FakeModel({});
  EXPECT_EQ(ReasonOf(ReadSmgGenerate(BufferOf("\x22\x7f"), model).status()), "INVALID_FIELD");
}

TEST(SmgGenerate, StatusesNameFieldsAsTheirClientDoes) {
  pb::GenerateRequest request = Request();
  request.mutable_sampling_params()->set_top_p(2.0f);
  request.mutable_sampling_params()->set_max_tokens(0);
  const absl::StatusOr<SmgGenerate> read = Read(request);
  ASSERT_TRUE(read.ok()) << read.status();
  const absl::Status status = CheckFields(read->request, FakeModel({}).description);
  const absl::Status renamed = WithSmgFieldNames(status);
  EXPECT_EQ(renamed.code(), status.code());
  EXPECT_THAT(std::string(renamed.message()), HasSubstr("sampling_params.top_p: "));
  EXPECT_THAT(std::string(renamed.message()), HasSubstr("; sampling_params.max_tokens: "));
  EXPECT_THAT(ViolationsOf(renamed).field_violations(0).field(), "sampling_params.top_p");
}

TEST(SmgGenerate, StatusesWithoutFieldsStayAsTheyAre) {
  const absl::Status full = IntakeFull();
  EXPECT_EQ(WithSmgFieldNames(full), full);
  const absl::Status context = WithSmgFieldNames(ContextLengthExceeded("token_ids.ids", 9, 1, 8));
  EXPECT_EQ(ReasonOf(context), "CONTEXT_LENGTH_EXCEEDED");
  EXPECT_THAT(std::string(context.message()), HasSubstr("tokenized.input_ids: "));
}

}  // namespace
}  // namespace latentd
