// The order in which a request is looked at, and that nothing of one that is refused stays behind.
#include "server/call/admission.h"

#include <functional>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "latentd/v1/generation.pb.h"
#include "server/api/status.h"
#include "tests/server/api/request_bytes.h"
#include "tests/server/model_free_daemon.h"

namespace latentd {
namespace {

class IdleSink final : public TextSink {
 public:
  void Wake() override {}
};

class AdmissionTest : public testing::Test {
 protected:
  static v1::GenerateRequest Request(const std::string& request_id) {
    v1::GenerateRequest request;
    request.mutable_token_ids()->add_ids(7);
    request.mutable_stopping()->set_max_tokens(3);
    request.set_request_id(request_id);
    return request;
  }

  using Reserve = std::function<absl::Status(const ValidRequest&)>;
  static absl::Status HasRoom(const ValidRequest&) { return absl::OkStatus(); }

  absl::StatusOr<std::unique_ptr<LiveCall>> Admit(const std::string& bytes, const Reserve& reserve = HasRoom) {
    return admission_.Admit<v1::GenerateRequest>(
        BufferOf(bytes), {.record = record_, .received = daemon_.clock.Now(), .sink = &sink_, .reserve = reserve});
  }
  std::string ReasonFor(const std::string& bytes, const Reserve& reserve = HasRoom) {
    return ReasonOf(Admit(bytes, reserve).status());
  }

  IdleSink sink_;
  ModelFreeDaemon daemon_;
  CallRecord record_{{.peer = "ipv4:1.1.1.1:1", .traceparent = ""}, daemon_.metrics, "Generate"};
  Admission admission_{daemon_.gate};
};

TEST_F(AdmissionTest, ServerThatShutsDownDoesNotAskWhetherTheModelIsThere) {
  EXPECT_EQ(ReasonFor(""), "LOADING");
  admission_.Stop();
  EXPECT_EQ(ReasonFor(""), "DRAINING");
  daemon_.OpenGate();
  EXPECT_EQ(ReasonFor(Request("a").SerializeAsString()), "DRAINING");
  EXPECT_EQ(ReasonOf(admission_.FindModel().status()), "DRAINING");
}

TEST_F(AdmissionTest, BytesAreParsedBeforeFieldsAreChecked) {
  daemon_.OpenGate();
  const absl::StatusOr<std::unique_ptr<LiveCall>> refused = Admit("\x07");
  EXPECT_EQ(ReasonOf(refused.status()), "INVALID_FIELD");
  EXPECT_NE(refused.status().message().find("expected the bytes of"), std::string::npos) << refused.status();
}

TEST_F(AdmissionTest, FieldsAreCheckedBeforeThePromptIsEncoded) {
  daemon_.OpenGate();
  v1::GenerateRequest request = Request("a");
  request.set_text("needs a tokenizer, of which this model has none");
  EXPECT_EQ(ReasonFor(request.SerializeAsString()), "NO_TOKENIZER");
  request.mutable_sampling()->set_temperature(-1.0f);
  EXPECT_EQ(ReasonFor(request.SerializeAsString()), "INVALID_FIELD");
}

TEST_F(AdmissionTest, RoomForTheAnswerIsTakenForValidRequestsOnlyAndBeforeTheEngineKnows) {
  daemon_.OpenGate();
  int num_asked = 0;
  const Reserve has_none = [&](const ValidRequest& request) {
    ++num_asked;
    EXPECT_EQ(request.request.prompt.size(), 1u);
    return AnswersFull();
  };
  EXPECT_EQ(ReasonFor("\x07", has_none), "INVALID_FIELD");
  EXPECT_EQ(num_asked, 0);
  EXPECT_EQ(ReasonFor(Request("a").SerializeAsString(), has_none), "ANSWERS_FULL");
  EXPECT_EQ(num_asked, 1);
  EXPECT_EQ(daemon_.live.size(), 0u);
  EXPECT_EQ(record_.facts().request_id, "");
}

TEST_F(AdmissionTest, TenantIsKnownBeforeTheMessageIsLookedAt) {
  daemon_.OpenGate();
  std::string found;
  const AdmissionRequest arrival = {.record = record_,
                                    .received = daemon_.clock.Now(),
                                    .tenant = std::string("alpha"),
                                    .sink = &sink_,
                                    .reserve = [&found](const ValidRequest& request) {
                                      found = request.request.scheduling.tenant;
                                      return absl::OkStatus();
                                    }};
  const absl::StatusOr<std::unique_ptr<LiveCall>> call =
      admission_.Admit<v1::GenerateRequest>(BufferOf(Request("a").SerializeAsString()), arrival);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(found, "alpha");
  EXPECT_EQ(record_.facts().tenant, "alpha");
  EXPECT_EQ(daemon_.live.List().at(0).tenant, "alpha");

  AdmissionRequest nameless = arrival;
  nameless.tenant = InvalidField("metadata x-latentd-tenant", "expected another one");
  EXPECT_EQ(ReasonOf(admission_.Admit<v1::GenerateRequest>(BufferOf("\x07"), nameless).status()), "INVALID_FIELD");
  EXPECT_EQ(admission_.Admit<v1::GenerateRequest>(BufferOf("\x07"), nameless).status(), nameless.tenant.status());
}

TEST_F(AdmissionTest, AdmittedRequestHasItsNameUntilItsCallGoes) {
  daemon_.OpenGate();
  const std::string bytes = Request("a").SerializeAsString();
  {
    const absl::StatusOr<std::unique_ptr<LiveCall>> first = Admit(bytes);
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_EQ((*first)->request_id(), "a");
    EXPECT_EQ((*first)->prompt_tokens(), 1);
    EXPECT_EQ(ReasonFor(bytes), "DUPLICATE_REQUEST_ID");
    EXPECT_EQ(daemon_.live.size(), 1u) << "the refused one took nothing away";
  }
  EXPECT_EQ(daemon_.live.size(), 0u);
}

TEST_F(AdmissionTest, RequestThatTheEngineRefusesLeavesNoName) {
  daemon_.OpenGate();
  daemon_.engine.StopAdmitting();
  EXPECT_EQ(ReasonFor(Request("a").SerializeAsString()), "DRAINING");
  EXPECT_EQ(daemon_.live.size(), 0u);
}

}  // namespace
}  // namespace latentd
