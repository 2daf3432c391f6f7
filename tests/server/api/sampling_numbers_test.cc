// No field of Sampling and Stopping is ignored: each one reaches the engine or is refused by name. By descriptor, so
// that a field which is added to the schema and forgotten fails here.
#include "server/api/sampling_numbers.h"

#include <string>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "server/api/request_validation.h"
#include "server/api/status.h"

namespace latentd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

v1::Model SomeModel() {
  v1::Model model;
  model.set_vocab_size(4096);
  model.set_has_tokenizer(true);
  model.mutable_limits()->set_max_context_tokens(100);
  model.mutable_limits()->set_kv_blocks(3);
  *model.mutable_sampling_defaults() = {};
  SetDefaultNumbers({}, model.mutable_sampling_defaults());
  return model;
}

v1::GenerateRequest SomeRequest() {
  v1::GenerateRequest request;
  request.set_text("Once");
  request.mutable_sampling()->set_seed(1);
  request.mutable_stopping()->set_max_tokens(10);
  return request;
}

absl::StatusOr<ValidRequest> Admit(const v1::GenerateRequest& request) {
  const v1::Model model = SomeModel();
  if (absl::Status status = CheckFields(request, model); !status.ok()) return status;
  return MakeRequest(request, model, {.field = "text", .ids = {1, 2, 3}}, TimePoint{});
}

// To something within every range that is no default.
void SetAnyhow(const FieldDescriptor* field, Message* message) {
  const auto& reflection = *message->GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_FLOAT:
      return reflection.SetFloat(message, field, 0.5f);
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection.SetUInt64(message, field, 7);
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.SetBool(message, field, true);
    case FieldDescriptor::CPPTYPE_UINT32:
      return field->is_repeated() ? reflection.AddUInt32(message, field, 3) : reflection.SetUInt32(message, field, 3);
    case FieldDescriptor::CPPTYPE_STRING:
      ASSERT_TRUE(field->is_repeated());
      return reflection.AddString(message, field, "x");
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      ASSERT_TRUE(field->is_map());
      Message* entry = reflection.AddMessage(message, field);
      SetAnyhow(field->message_type()->map_key(), entry);
      return SetAnyhow(field->message_type()->map_value(), entry);
    }
    default:
      FAIL() << field->full_name() << ": teach the test this kind of field";
  }
}

bool ReachesTheEngine(const Request& with, const Request& without) {
  return with.sampling != without.sampling || with.logit_bias != without.logit_bias ||
         with.allowed != without.allowed || with.stopping != without.stopping ||
         with.num_sequences != without.num_sequences;
}

// `group` is a field of GenerateRequest.
void ExpectNoFieldIsIgnored(const std::string& group) {
  const FieldDescriptor* group_field = v1::GenerateRequest::descriptor()->FindFieldByName(group);
  const absl::StatusOr<ValidRequest> without = Admit(SomeRequest());
  ASSERT_TRUE(without.ok()) << without.status();
  for (int i = 0; i < group_field->message_type()->field_count(); ++i) {
    const FieldDescriptor* field = group_field->message_type()->field(i);
    v1::GenerateRequest request = SomeRequest();
    SetAnyhow(field, request.GetReflection()->MutableMessage(&request, group_field));
    const absl::StatusOr<ValidRequest> with = Admit(request);
    if (with.ok()) {
      EXPECT_TRUE(ReachesTheEngine(with->request, without->request)) << field->full_name() << " is ignored";
    } else {
      EXPECT_EQ(CauseOf(with.status()), Cause::kUnsupportedFeature) << with.status();
      EXPECT_NE(with.status().message().find(group + "." + field->name()), std::string::npos) << with.status();
    }
  }
}

TEST(SamplingNumbers, EachFieldOfSamplingReachesTheEngineOrIsRefused) { ExpectNoFieldIsIgnored("sampling"); }

TEST(SamplingNumbers, EachFieldOfStoppingReachesTheEngineOrIsRefused) { ExpectNoFieldIsIgnored("stopping"); }

TEST(SamplingNumbers, EachNumberHasItsDefaultUnderTheSameName) {
  v1::SamplingDefaults defaults;
  SetDefaultNumbers({}, &defaults);
  v1::Sampling resolved;
  ResolveNumbers(defaults, &resolved);
  for (int i = 0; i < v1::SamplingDefaults::descriptor()->field_count(); ++i) {
    const FieldDescriptor* field =
        v1::Sampling::descriptor()->FindFieldByName(v1::SamplingDefaults::descriptor()->field(i)->name());
    if (field == nullptr) continue;  // one of Stopping's
    EXPECT_TRUE(resolved.GetReflection()->HasField(resolved, field)) << field->name();
  }
  EXPECT_EQ(RuleOf(resolved), SamplingRule{}) << "what changes nothing is the engine's default, too";
}

}  // namespace
}  // namespace latentd
